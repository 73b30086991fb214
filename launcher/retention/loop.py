"""The loop that keeps the disk usable: a look every few seconds, a whole pass every hour.

When the disk is nearly full, builds wait in the queue and say so, unused environments go, and builds go on by
themselves when there is room. Sessions are left alone.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import structlog

from launcher.errors import LauncherError
from launcher.retention.collector import Collector

logger = structlog.get_logger(__name__)
DISK_FULL = "The disk of this hub is nearly full. Builds go on as soon as there is room."
_LOOK_SECONDS = 15.0
_PASS_SECONDS = 3600.0
_FIRST_PASS_SECONDS = 60.0  # who starts a hub wants to use it, not to wait for its disk
_MEASURE_SECONDS = 600.0
_AGAIN_SECONDS = 60.0  # when there was nothing more to remove
_MORE = 1.25  # room is made for this much of the limit, so that the next build is not held again


def free_bytes(place: Path) -> int:
    """What is free for us on the disk of a directory, which need not be there yet."""
    existing = next(path for path in (place, *place.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


class Retention:
    """Runs a `Collector`, on its parts. free: bytes free on the disk of a directory. Intervals in seconds."""

    def __init__(
        self,
        collector: Collector,
        *,
        free: Callable[[Path], int] = free_bytes,
        look_seconds: float = _LOOK_SECONDS,
        pass_seconds: float = _PASS_SECONDS,
    ) -> None:
        self._collector = collector
        self._store = collector.parts.store
        self._builder = collector.parts.builder
        self._builds = collector.parts.builds
        self._free = free
        self._look_seconds = look_seconds
        self._pass_seconds = pass_seconds
        self._next_pass = time.monotonic() + min(_FIRST_PASS_SECONDS, pass_seconds)
        self._next_measure = 0.0
        self._next_room = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look at the disk once, before the first build, then go on in the background."""
        with suppress(LauncherError, OSError):  # the loop says what is wrong
            self._builds.line.hold(DISK_FULL if await self._missing() > 0 else "")
        self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        """End; again is fine."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def wake(self) -> None:
        """Look now."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._look()
            except (LauncherError, OSError) as error:
                logger.warning("retention_failed", reason=str(error))
            except Exception:  # the disk must be looked after whatever one pass met
                logger.exception("retention_crashed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._look_seconds)

    async def _look(self) -> None:
        await self._look_at_disk()
        for row in self._store.removals_asked():
            await self._collector.remove(row.key)
        if time.monotonic() >= self._next_pass:
            self._next_pass = time.monotonic() + self._pass_seconds
            gone = await self._collector.collect()
            if gone.environments or gone.builds or gone.cache_bytes:
                logger.info("retention_pass", environments=len(gone.environments), builds=len(gone.builds))
        elif time.monotonic() >= self._next_measure and self._store.unmeasured_artefacts():
            self._next_measure = time.monotonic() + min(_MEASURE_SECONDS, self._pass_seconds)
            await self._collector.measure()

    async def _look_at_disk(self) -> None:
        missing = await self._missing()
        if missing > 0:
            self._builds.line.hold(DISK_FULL)
            if time.monotonic() >= self._next_room:
                await self._collector.make_room(missing)
                missing = await self._missing()
                self._next_room = time.monotonic() + (_AGAIN_SECONDS if missing > 0 else 0)
        self._builds.line.hold(DISK_FULL if missing > 0 else "")

    async def _missing(self) -> int:
        """Bytes that must become free before builds begin again; 0 when there is room."""
        limit = self._collector.policy.free_bytes
        free = min(self._free(place) for place in await self._builder.places())
        return 0 if free >= limit else int(limit * _MORE) - free
