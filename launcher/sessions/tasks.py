"""Single flight for launches: one task for each person and server, many listeners, and a memory of what was said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from weakref import WeakValueDictionary

from launcher.models import BuildId, ServerName, Username
from launcher.sessions.base import LaunchEvent

Said = LaunchEvent | BuildId
"""What a launch says: an event, or the build whose log comes next. Logs are kept once, by the build."""
Say = Callable[[Said], None]


class Turn:
    """The right to start or stop one server; ``starts`` counts what happened to it, for those who looked before."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.starts = 0


class Turns:
    """One `Turn` for each person and server, kept as long as a launch holds it.

    Two launches that differ in their trust would otherwise both find nothing running and start different homes.
    """

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[tuple[Username, ServerName], Turn] = WeakValueDictionary()

    def of(self, user: Username, name: ServerName) -> Turn:
        """The turn of a server."""
        return self._turns.setdefault((user, name), Turn())


class LaunchTask:
    """One launch in progress. It goes on when listeners leave; late ones hear it from the start."""

    def __init__(self, run: Callable[[Say], Awaitable[None]]) -> None:
        self._said: list[Said] = []
        self._news = asyncio.Event()
        self._over = False
        self._error: Exception | None = None
        self.task = asyncio.create_task(self._run(run))

    @property
    def over(self) -> bool:
        """Whether everything has been said."""
        return self._over

    def waits_for(self, build_id: BuildId) -> bool:
        """Whether the launch goes on with this build; a string among events is one."""
        return build_id in self._said

    async def _run(self, run: Callable[[Say], Awaitable[None]]) -> None:
        try:
            await run(self._say)
        except Exception as error:  # noqa: BLE001 - every listener is told, see `result`
            self._error = error
        finally:
            self._over = True
            self._wake()

    def _say(self, item: Said) -> None:
        self._said.append(item)
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def listen(self) -> AsyncIterator[Said]:
        """All that was said and will be said, until the launch is over."""
        position = 0
        while True:
            news = self._news
            while position < len(self._said):
                position += 1
                yield self._said[position - 1]
            if self._over and position >= len(self._said):
                return
            if position >= len(self._said) and news is self._news:
                await news.wait()

    async def result(self) -> None:
        """Return when the launch has ended well. Raises what it ended with."""
        await asyncio.wait({self.task})
        if self.task.cancelled():
            raise asyncio.CancelledError
        if self._error is not None:
            raise self._error
