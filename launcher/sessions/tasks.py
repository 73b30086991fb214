"""Single flight for launches: one task for each person and server, many listeners, and a memory of what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from launcher.sessions.base import LaunchEvent

Say = Callable[[LaunchEvent], None]


class LaunchTask:
    """One launch in progress. It goes on when listeners leave; late ones hear it from the start."""

    def __init__(self, run: Callable[[Say], Awaitable[None]]) -> None:
        self._events: list[LaunchEvent] = []
        self._changed = asyncio.Condition()
        self._over = False
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._run(run))

    @property
    def over(self) -> bool:
        """Whether the last event has been said."""
        return self._over

    async def _run(self, run: Callable[[Say], Awaitable[None]]) -> None:
        try:
            await run(self._say)
        finally:
            self._over = True
            self._wake()

    def _say(self, event: LaunchEvent) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def listen(self, *, after: str | None = None) -> AsyncIterator[LaunchEvent]:
        """All events, or those after the one with the id ``after``, until the launch is over."""
        position = self._position_after(after)
        while True:
            news = self._news
            while position < len(self._events):
                position += 1
                yield self._events[position - 1]
            if self._over and position >= len(self._events):
                return
            if position >= len(self._events):
                await news.wait()

    def _position_after(self, after: str | None) -> int:
        if after is not None:
            for index, event in enumerate(self._events):
                if event.id == after:
                    return index + 1
        return 0
