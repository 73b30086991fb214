"""Where the steps of the container runtime run.

Steps without foreign code share one container: they trust each other, and starting one takes three times as long as a
command in one that runs. Every step with foreign code has a container of its own, so that nothing it leaves behind is
there when the next one begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Self

from launcher.builders.container.place import Place, without_layers
from launcher.builders.uv.limits import Watcher, out_of_memory
from launcher.builders.uv.output import Tail, follow
from launcher.builders.uv.runtime import Outcome, View
from launcher.control_groups import memory_kills
from launcher.engine.base import Ended
from launcher.engine.output import Running
from launcher.errors import EngineError, EngineUnavailable


class ContainerRunner:
    """`launcher.builders.uv.runtime.StepRunner` over an engine."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._engine = place.engine
        self._workspace = place.workspace
        self._limits = place.workspace.config.limits
        self._watcher = Watcher(self._limits, place.workspace.written)
        self._kept = AsyncExitStack()
        self._shared: tuple[str, int] | None = None
        self._layers: bool | None = None  # whether the engine can layer directories, when we know

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """The volume goes when the build is reaped."""
        await self._close()

    async def run(self, view: View, command: Sequence[str], write: Callable[[str], None]) -> Outcome:
        """Run a command in a container that shows a view."""
        words = self._workspace.bridged(command, self._limits.resource_limits(count_processes=False))
        if view.foreign:
            outcome = await self._alone(view, words, write)
        else:
            outcome = await self._together(view, words, write)
        await self._watcher.check_disk()
        return outcome

    async def _alone(self, view: View, command: Sequence[str], write: Callable[[str], None]) -> Outcome:
        """A step in a container of its own, which is gone afterwards."""
        async with AsyncExitStack() as stack:
            running = await self._start_alone(stack, view, command)
            tail = Tail()

            async def work() -> Ended:
                await follow(running.output, tail, write, self._limits.idle_seconds)
                return await running.wait()

            ended = await self._watcher.during(work(), await self._pid(running.id))
        if ended.out_of_memory:
            raise out_of_memory(self._limits)
        return Outcome(ended.status, tail.text)

    async def _start_alone(self, stack: AsyncExitStack, view: View, command: Sequence[str]) -> Running:
        if view.layered and self._layers is None:
            (one,) = view.layered
            await self._engine.volumes.make_layered(
                self._place.volume, self._place.labels, lower=one.lower, upper=one.upper, work=one.work
            )
            with suppress(EngineError):
                running = await stack.enter_async_context(self._engine.run(self._place.order(view, command)))
                self._layers = True
                return running
            self._layers = False
            await self._engine.volumes.remove(self._place.volume)
        seen = view if self._layers else without_layers(view)
        return await stack.enter_async_context(self._engine.run(self._place.order(seen, command)))

    async def _together(self, view: View, command: Sequence[str], write: Callable[[str], None]) -> Outcome:
        """A step in the container of all steps without foreign code. It goes when one of them is not let end."""
        try:
            container, pid = self._shared or await self._start_shared(view)
            killed = memory_kills(pid)
            outcome = await self._execute(container, pid, view, command, write)
        except BaseException:
            await asyncio.shield(asyncio.create_task(self._close()))
            raise
        if outcome.status and memory_kills(pid) != killed:
            raise out_of_memory(self._limits)
        return outcome

    async def _execute(
        self, container: str, pid: int, view: View, command: Sequence[str], write: Callable[[str], None]
    ) -> Outcome:
        tail = Tail()
        async with self._engine.execute(
            container, command, environment=self._place.variables(view), working_directory=view.working_directory
        ) as executed:

            async def work() -> int:
                await follow(executed.output, tail, write, self._limits.idle_seconds)
                return await executed.status()

            return Outcome(await self._watcher.during(work(), pid), tail.text)

    async def _start_shared(self, view: View) -> tuple[str, int]:
        await asyncio.to_thread(self._place.make_links, view)
        order = self._place.order(view, ["sleep", "infinity"])
        running = await self._kept.enter_async_context(self._engine.run(order))
        self._shared = (running.id, await self._pid(running.id))
        return self._shared

    async def _close(self) -> None:
        self._shared = None
        await self._kept.aclose()

    async def _pid(self, container: str) -> int:
        """The first process of a container as this machine sees it. Raises EngineUnavailable when it is gone."""
        found = await self._engine.container(container)
        if found is None:
            raise EngineUnavailable("The container engine lost a container of this build.", hint="Try again.")
        return found.pid
