"""One RUN: a command of a stranger in a container, within the limits of the build."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from launcher.builders.container.dockerfile.job import Job
from launcher.builders.uv.limits import Watcher, out_of_memory
from launcher.builders.uv.output import Tail, follow
from launcher.engine.base import ContainerOrder
from launcher.errors import BuildFailed

# What package managers and `chown` need; none of it reaches beyond the container.
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETPCAP", "SETUID")
_SHARED_MEMORY_BYTES = 2**26


@asynccontextmanager
async def run_step(job: Job, order: ContainerOrder, where: str) -> AsyncIterator[str]:
    """Run a container's command to its end; its id, to make an image of it. Afterwards the container is gone.

    Raises BuildFailed for a command that fails, BuildLimitExceeded.
    """
    limits = job.config.limits
    order = replace(
        order,
        capabilities=CAPABILITIES,
        memory_bytes=limits.memory_bytes,
        processes=limits.task_limit,
        shared_memory_bytes=_SHARED_MEMORY_BYTES,
    )
    tail = Tail()
    async with job.engine.run(order) as running:

        async def work() -> int:
            await follow(running.output, tail, job.log.write, limits.idle_seconds)
            ended = await running.wait()
            if ended.out_of_memory:
                raise out_of_memory(limits)
            return ended.status

        watcher = _LayerWatcher(job, running.id)
        found = await job.engine.container(running.id)
        status = await watcher.during(work(), found.pid if found else 0)
        if status:
            raise BuildFailed(
                f"{where} failed with status {status}.", hint="The last lines of the build's log say more."
            )
        job.spend(await job.engine.written(running.id))
        yield running.id


class _LayerWatcher(Watcher):
    """Watches what a container writes to its own layer."""

    def __init__(self, job: Job, container: str) -> None:
        super().__init__(job.config.limits, ())
        self._job = job
        self._container = container

    async def check_disk(self) -> None:
        """One look. Raises BuildLimitExceeded."""
        self._job.require_room(await self._job.engine.written(self._container))
