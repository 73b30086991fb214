"""The line of waiting builds: who is in front of whom, and why nobody is let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager

import structlog

from launcher.models import BuildId
from launcher.store import Store

logger = structlog.get_logger(__name__)


class WaitingLine:
    """Positions of waiting builds, told again when they change. For use on one event loop's thread.

    on_open: called when builds may begin again.
    """

    def __init__(self, store: Store, on_open: Callable[[], None]) -> None:
        self._store = store
        self._on_open = on_open
        self._pauses = 0
        self.held = ""
        """Why no build begins just now, a sentence for people; "" when they do."""
        self._moved = asyncio.Event()  # replaced whenever the line has moved
        self._positions: dict[BuildId, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether builds may begin."""
        return not (self.held or self._pauses)

    def hold(self, reason: str) -> None:
        """Let no build begin, for a reason that people are told, or with "" no longer; those that run go on."""
        if reason != self.held:
            logger.info("builds_held", reason=reason)
            self.held = reason
            self.move()
            self._on_open()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Let no build begin for the moment of the block, without a word."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            self._on_open()

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
