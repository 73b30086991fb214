"""The line of waiting builds: who is in front of whom, and why nobody is let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from launcher.models import BuildId
from launcher.store import Store


class WaitingLine:
    """Positions of waiting builds, told again when they change. For use on one event loop's thread.

    held: why no build begins just now, a sentence for people; "" when they do.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.held = ""
        self._moved = asyncio.Event()  # replaced whenever the line has moved
        self._positions: dict[BuildId, int] | None = None

    def hold(self, reason: str) -> bool:
        """Let no build begin, for this reason, or with "" let them; whether that is new."""
        changed, self.held = reason != self.held, reason
        if changed:
            self.move()
        return changed

    def move(self) -> None:
        """Say that a build came or went."""
        self._positions = None
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def positions(self, build_id: BuildId, is_over: Callable[[], bool]) -> AsyncGenerator[int, None]:
        """How many wait in front of a build, again whenever that or `held` changes; ends when it waits no more."""
        last: tuple[int, str] | None = None
        while not is_over():
            moved = self._moved
            position = self._position(build_id)
            if position is None:
                return
            if (position, self.held) != last:
                last = position, self.held
                yield position
            else:
                await moved.wait()

    def _position(self, build_id: BuildId) -> int | None:
        if self._positions is None:
            self._positions = {waiting: index for index, waiting in enumerate(self._store.waiting_build_ids())}
        return self._positions.get(build_id)
