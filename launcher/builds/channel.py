"""What the watchers of one open build share: the newest records, and a bell that rings for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from launcher.builds.records import LogRecord

_TAIL_BYTES = 256 * 1024
_BATCH_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Batch:
    start: int
    end: int
    records: tuple[LogRecord, ...]


class Channel:
    """The tail of a log that is being written, cut into one batch per tick. Bounded whatever is written.

    For use on the event loop's thread only.
    """

    def __init__(self, tick_seconds: float) -> None:
        self.changed = asyncio.Event()
        """Set at the next tick that brings something, then replaced by a fresh one."""
        self.closed = False
        self._tick_seconds = tick_seconds
        self._last_tick = float("-inf")
        self._timer: asyncio.Handle | None = None
        self._batches: deque[_Batch] = deque()
        self._new: list[LogRecord] = []
        self._new_start = 0
        self._new_end = 0

    def add(self, start: int, record: LogRecord) -> None:
        """A record was written to the file: it begins at byte ``start`` and ends at its id."""
        if not self._new:
            self._new_start = start
        self._new.append(record)
        self._new_end = record.id
        if self._new_end - self._new_start >= _BATCH_BYTES:
            self._seal()
        if self._timer is None:
            # The first line after a pause goes out at once, a flood once per tick.
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._last_tick + self._tick_seconds), self._tick)

    def after(self, position: int) -> tuple[LogRecord, ...] | None:
        """The next batch after a position: empty when there is nothing new yet, None when only the file knows."""
        if not self._batches:
            return None
        if position >= self._batches[-1].end:
            return ()
        for batch in reversed(self._batches):
            if position >= batch.start:
                if position == batch.start:
                    return batch.records
                return tuple(record for record in batch.records if record.id > position)
        return None

    def close(self) -> None:
        """Nothing more will come: wake everybody for the last time."""
        if self._timer is not None:
            self._timer.cancel()
        self.closed = True
        self._tick()

    def _tick(self) -> None:
        self._timer = None
        if not self.closed:
            self._last_tick = asyncio.get_running_loop().time()
        self._seal()
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def _seal(self) -> None:
        if not self._new:
            return
        self._batches.append(_Batch(self._new_start, self._new_end, tuple(self._new)))
        self._new = []
        while self._batches[-1].end - self._batches[0].start > _TAIL_BYTES and len(self._batches) > 1:
            self._batches.popleft()
