"""Where the steps of the process runtime run: each in a bubblewrap sandbox of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

from launcher.builders.process.runner import run_command
from launcher.builders.process.sandbox import Overlay, Sandbox
from launcher.builders.uv.limits import Watcher
from launcher.builders.uv.runtime import Outcome, View
from launcher.builders.uv.workspace import Workspace


class SandboxRunner:
    """`launcher.builders.uv.runtime.StepRunner`: every step is a sandbox of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Every step has ended by itself."""

    async def run(self, view: View, command: Sequence[str], write: Callable[[str], None]) -> Outcome:
        """Run a command in a sandbox that shows a view."""
        limits = self._workspace.config.limits
        sandbox = Sandbox(
            read_only=view.read_only,
            read_write=view.read_write,
            overlays=tuple(Overlay(one.lower, one.upper, one.work, one.target) for one in view.layered),
            links=view.links,
            environment=view.environment,
            working_directory=view.working_directory,
            tmp_bytes=None,  # the build's own directory is there
        )
        return await run_command(
            sandbox.argv(self._workspace.bridged(command, limits.resource_limits(count_processes=True))),
            build_id=self._workspace.build_id,
            write=write,
            limits=limits,
            watcher=Watcher(limits, self._workspace.written),
        )
