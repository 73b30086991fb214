"""Listening to a launch for a moment, where no event stream is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import cast

from launcher.sessions.base import LaunchEvent, LogBatch, events_of

_LOG_LINES = 400


@dataclass
class Told:
    """What a launch has said so far: its phase, the end of its log, its newest event."""

    phase: str = "waiting"
    log: list[str] = field(default_factory=list)
    last: LaunchEvent | None = None
    build_id: str | None = None
    queue_position: int | None = None

    def add(self, event: LaunchEvent) -> None:
        """Take one more event."""
        self.last = event
        self.phase = event.phase or self.phase
        self.build_id = event.data.get("build_id", self.build_id)
        self.queue_position = event.data.get("queue_position")
        if event.message.strip():
            self.log = [*self.log, event.message.rstrip("\n")][-_LOG_LINES:]

    @property
    def failed(self) -> LaunchEvent | None:
        """The last event when it says that the launch failed."""
        return self.last if self.last is not None and self.last.phase == "failed" else None

    @property
    def ready(self) -> LaunchEvent | None:
        """The last event when it says that the session is ready."""
        return self.last if self.last is not None and self.last.phase == "ready" else None


async def listen(
    events: AsyncIterator[LaunchEvent | LogBatch], *, seconds: float, enough: Callable[[LaunchEvent], bool]
) -> Told:
    """Listen to a start until it has said enough or the time is over. Leaving does not stop it."""
    told = Told()
    stream = cast("AsyncGenerator[LaunchEvent | LogBatch, None]", events)
    with suppress(TimeoutError):  # the time is over, which is an answer too
        async with aclosing(stream), asyncio.timeout(seconds):
            async for said in stream:
                for event in events_of(said):
                    told.add(event)
                    if enough(event):
                        return told
    return told


def first_event(_: LaunchEvent) -> bool:
    """Enough: the launch is under way or refused."""
    return True


def last_event(event: LaunchEvent) -> bool:
    """Enough: the launch is over."""
    return event.phase in {"ready", "failed"}
