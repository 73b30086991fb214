"""Starts that JupyterHub asks for with its form: their plans under way, and what is said meanwhile.

The Hub's process asks again and again for news of a start. One that nobody asks about any more is forgotten; a build
that it waited for goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

from launcher.builds import BuildQueue
from launcher.errors import RateLimited
from launcher.models import BuildId, LaunchPlan, Username
from launcher.sessions.base import LaunchEvent
from launcher.sessions.tasks import LaunchTask, Say

_FORGOTTEN_SECONDS = 60
_MOST_OF_ONE_PERSON = 8
_LOG_LINE_SECONDS = 2
"""A person who waits wants to see that a build goes on, not each of its lines."""

MakePlan = Callable[[Say], Awaitable[LaunchPlan]]


@dataclass(frozen=True)
class Line:
    """One thing a start has to say; of_log: it is a line of the build's log."""

    text: str
    build_id: BuildId | None = None
    of_log: bool = False


@dataclass(frozen=True)
class News:
    """Lines that were said after the asked position, the next position, and the plan when there is one."""

    lines: tuple[Line, ...]
    after: int
    plan: LaunchPlan | None


class SpawnStart:
    """One start: goes on by itself, and remembers what it said."""

    def __init__(self, make_plan: MakePlan, builds: BuildQueue) -> None:
        self._make_plan = make_plan
        self._builds = builds
        self._lines: list[Line] = []
        self._news = asyncio.Event()
        self.plan: LaunchPlan | None = None
        self.build_id: BuildId | None = None
        self._flight = LaunchTask(self._run)
        self._listener = asyncio.create_task(self._listen())

    async def _run(self, say: Say) -> None:
        self.plan = await self._make_plan(say)

    async def _listen(self) -> None:
        try:
            async for item in self._flight.listen():
                if isinstance(item, LaunchEvent):
                    self.build_id = item.data.get("build_id", self.build_id)
                    self._add(Line(item.message.strip(), item.data.get("build_id")))
                else:
                    self.build_id = item
                    await self._hear_log(item)
        finally:
            self._wake()

    async def _hear_log(self, build_id: BuildId) -> None:
        """Lines of a build's log, now and then."""
        loop, next_line = asyncio.get_running_loop(), 0.0
        async with aclosing(self._builds.watch_batches(build_id, 0)) as batches:
            async for records in batches:
                if loop.time() >= next_line and records[-1].text.strip():
                    next_line = loop.time() + _LOG_LINE_SECONDS
                    self._add(Line(records[-1].text.strip(), build_id, of_log=True))

    def _add(self, line: Line) -> None:
        if line.text and line not in self._lines[-1:]:
            self._lines.append(line)
            self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self, after: int, *, seconds: float) -> News:
        """What was said since then; waits for it so long. Raises what the plan could not be made for."""
        news = self._news
        if after >= len(self._lines) and not self._listener.done():
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), seconds)
        if self._listener.done():
            await self._flight.result()
        lines = tuple(self._lines[after:])
        return News(lines, after + len(lines), self.plan if self._listener.done() else None)

    def drop(self) -> None:
        """Stop waiting for the plan."""
        for task in (self._flight.task, self._listener):
            task.cancel()


class SpawnStarts:
    """The starts of everybody; each is named by the Hub."""

    def __init__(self, builds: BuildQueue, *, forgotten_seconds: float = _FORGOTTEN_SECONDS) -> None:
        self._builds = builds
        self._forgotten_seconds = forgotten_seconds
        self._starts: dict[tuple[Username, str], tuple[SpawnStart, asyncio.TimerHandle]] = {}

    def of(self, user: Username, name: str, make_plan: MakePlan) -> SpawnStart:
        """The start of that name, begun when it is new; it is kept for a while after the last call.

        Raises RateLimited when the person has too many.
        """
        known = self._starts.get((user, name))
        if known is not None:
            start, timer = known
            timer.cancel()
        else:
            if sum(one == user for one, _ in self._starts) >= _MOST_OF_ONE_PERSON:
                raise RateLimited("Too many of your sessions are being started.", hint="Wait a minute, then try again.")
            start = SpawnStart(make_plan, self._builds)
        later = asyncio.get_running_loop().call_later(self._forgotten_seconds, self.forget, user, name)
        self._starts[user, name] = (start, later)
        return start

    def forget(self, user: Username, name: str) -> None:
        """Keep that start no longer."""
        start, timer = self._starts.pop((user, name))
        timer.cancel()
        start.drop()

    def close(self) -> None:
        """Forget all of them."""
        for user, name in list(self._starts):
            self.forget(user, name)
