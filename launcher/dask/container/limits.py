"""What the container of a cluster may take: as much as its scheduler and the workers it has, not more."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from launcher.dask.base import WorkerOrder
from launcher.engine.client import Engine
from launcher.errors import LauncherError

log = structlog.get_logger(__name__)
ALLOWANCE_BYTES = 256 * 2**20
"""For each worker above its memory, as its own limit has it (``launcher/hub/inside/nursery.py``)."""
_SCHEDULER_CORES = 1
_LOWER_SECONDS = 4.0
"""A worker that was asked to end has ended by then, one way or another."""
_TRIES = 12


@dataclass(frozen=True)
class Room:
    """Bytes and cores."""

    memory_bytes: int
    cores: int


def room_of(scheduler_bytes: int, workers: dict[str, Room]) -> Room:
    """What a cluster takes together."""
    memory = scheduler_bytes + sum(worker.memory_bytes + ALLOWANCE_BYTES for worker in workers.values())
    return Room(memory, _SCHEDULER_CORES + sum(worker.cores for worker in workers.values()))


class ClusterLimits:
    """The limits of one container, raised before a worker starts and lowered after one has ended.

    ``file``: where the workers are written down, for a gateway that is started again.
    """

    def __init__(self, engine: Engine, container: str, file: Path, scheduler_bytes: int) -> None:
        self._engine = engine
        self._container = container
        self._file = file
        self._scheduler_bytes = scheduler_bytes
        self._workers = _read(file)
        self._turn = asyncio.Lock()
        self._lowering: asyncio.Task[None] | None = None
        self._due = 0.0

    async def admit(self, worker: WorkerOrder) -> None:
        """Raise them. Raises LauncherError when the engine will not."""
        self._workers[worker.name] = Room(worker.memory_bytes, worker.cores)
        self._write()
        await self._apply()

    def dismiss(self, worker: str) -> None:
        """Lower them in a while."""
        if self._workers.pop(worker, None) is not None:
            self._write()
            self.lower()

    def lower(self) -> None:
        """Bring them to what they should be, in a while."""
        self._due = time.monotonic() + _LOWER_SECONDS
        if self._lowering is None or self._lowering.done():
            self._lowering = asyncio.create_task(self._lower(), name=f"limits of container {self._container}")

    def close(self) -> None:
        """Leave them as they are."""
        if self._lowering is not None:
            self._lowering.cancel()

    async def _apply(self) -> None:
        async with self._turn:
            room = room_of(self._scheduler_bytes, self._workers)
            await self._engine.limit(self._container, memory_bytes=room.memory_bytes, cpus=room.cores)

    async def _lower(self) -> None:
        """An older kernel does not go below what is used; who keeps on using more than was asked for is ended."""
        for _ in range(_TRIES):
            await self._until_due()
            try:
                await self._apply()
            except LauncherError as error:
                log.info("dask_gateway.limits_not_lowered", container=self._container, reason=error.hint)
                self._due = time.monotonic() + _LOWER_SECONDS
                continue
            return
        log.warning("dask_gateway.cluster_over_its_limits", container=self._container)
        await self._engine.kill(self._container)

    async def _until_due(self) -> None:
        left = self._due - time.monotonic()
        while left > 0:
            await asyncio.sleep(left)
            left = self._due - time.monotonic()

    def _write(self) -> None:
        workers = {name: [room.memory_bytes, room.cores] for name, room in self._workers.items()}
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps(workers))
        partial.replace(self._file)


def _read(file: Path) -> dict[str, Room]:
    try:
        return {name: Room(*room) for name, room in json.loads(file.read_bytes()).items()}
    except (OSError, ValueError, TypeError):
        return {}
