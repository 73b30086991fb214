"""One task of one process at a time, by the name of a lock file. The kernel frees it however the holder ends."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from launcher.errors import SourceUnavailable


class KeyedLocks:
    """Locks by file. timeout: seconds to wait for another holder."""

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._locks: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self, file: Path) -> AsyncIterator[None]:
        """Hold the lock during the block. Raises SourceUnavailable when another holder keeps it too long."""
        lock = self._locks.setdefault(file, asyncio.Lock())
        try:
            async with asyncio.timeout(self._timeout) as waiting, lock:
                descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    await _flock(descriptor)
                    waiting.reschedule(None)
                    yield
                finally:
                    os.close(descriptor)
        except TimeoutError:
            if not waiting.expired():
                raise
            raise SourceUnavailable(
                "Somebody else is still fetching this repository.", hint="Try again in a minute."
            ) from None


async def _flock(descriptor: int) -> None:
    """An exclusive lock among processes.

    Another process holds it rarely (two launchers on one cache): asking again is cheaper than a thread that cannot be
    cancelled.
    """
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        await asyncio.sleep(0.05)
