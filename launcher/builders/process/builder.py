"""`ProcessBuilder`: environments as virtualenvs, for launchers on one machine without a container engine."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.builders.process import interpreters
from launcher.builders.process.bytecode import compile_bytecode
from launcher.builders.process.config import ProcessBuilderConfig
from launcher.builders.process.publisher import StorePublisher
from launcher.builders.process.runner import kill_build
from launcher.builders.process.steps import SandboxRunner
from launcher.builders.process.storage import measure
from launcher.builders.process.store import EnvironmentMeta, EnvironmentStore
from launcher.builders.uv.cache import collect_wheels
from launcher.builders.uv.dask import DaskPackages
from launcher.builders.uv.pipeline import Build
from launcher.builders.uv.pythons import Interpreter, choose
from launcher.builders.uv.workspace import Workspace, builds_on_disk, remove_build, wheels
from launcher.errors import BuildLimitExceeded, PythonUnavailable, RecipeUnsupported
from launcher.models import BuildId, BuildRequest, BuiltEnvironment, Recipe, RecipeKind, Storage

_FORMAT = 1  # of an environment on disk; a new one makes new environments
_UNSUPPORTED = {
    RecipeKind.CONDA: "conda packages",
    RecipeKind.R: "R",
    RecipeKind.JULIA: "Julia",
    RecipeKind.NIX: "Nix",
    RecipeKind.DOCKERFILE: "a container image",
}
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class ProcessBuilder:
    """Makes environments with uv in a bubblewrap sandbox; see `launcher.builders.base.Builder` for the promises."""

    def __init__(self, config: ProcessBuilderConfig) -> None:
        self._config = config
        self._store = EnvironmentStore(config.store)
        self._interpreters: list[Interpreter] = []
        self._publishing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._compiling: dict[str, asyncio.Task[None]] = {}
        self._one_compiler = asyncio.Semaphore()
        base = [str(_FORMAT), *config.kernel_requirements, *config.full_requirements]
        base += [config.index_url or "", *config.extra_index_urls]
        base += ["dask", *DaskPackages(config.dask_requirements).requirements] if config.dask_requirements else []
        digest = hashlib.sha256("\0".join(base).encode()).hexdigest()[:16]
        self.fingerprint = f"process-{_FORMAT}-{digest}"

    def check(self, recipe: Recipe) -> None:
        """Refuse what a virtualenv cannot be. Raises RecipeUnsupported, PythonUnavailable."""
        if recipe.apt is not None:
            raise _unsupported(recipe.apt, "system packages")
        if recipe.kind in _UNSUPPORTED:
            raise _unsupported(recipe.main or recipe.kind.value, _UNSUPPORTED[recipe.kind])
        try:
            self._choose(recipe)
        except PythonUnavailable:
            if not self._config.python_downloads:
                raise

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Make the environment, or find that an equal one is there."""
        if not _BUILD_ID.fullmatch(request.build_id):
            raise ValueError("a build id must be usable as a file name")
        await asyncio.to_thread(self.check, request.recipe)
        interpreter = await asyncio.to_thread(self._obtain, request.recipe)
        await self.reap(request.build_id)
        workspace = Workspace(self._config, request.build_id, interpreter, request.snapshot.cache)
        build = Build(
            request=request,
            log=log,
            config=self._config,
            workspace=workspace,
            runner=SandboxRunner(workspace),
            publisher=StorePublisher(self._store, workspace),
            publishing=self._publishing,
            fingerprint=self.fingerprint,
        )
        try:
            async with asyncio.timeout(self._config.limits.seconds):
                built = await build.run()
        except TimeoutError:
            raise BuildLimitExceeded(
                f"The build took longer than {self._config.limits.seconds:g} seconds.",
                hint="The operator can raise the limits of builds.",
            ) from None
        finally:
            await asyncio.shield(asyncio.create_task(self.reap(request.build_id)))
        self._compile_later(built.reference)
        return built

    def _compile_later(self, reference: str) -> None:
        """Compile a new environment in the background, one after the other, if the operator wants that."""
        meta = self._store.meta(reference)
        if not self._config.compile_bytecode or meta is None or reference in self._compiling:
            return

        async def compile_in_turn() -> None:
            async with self._one_compiler:
                with suppress(TimeoutError, OSError):  # sessions work without
                    await compile_bytecode(self._store.path(reference) / "venv", meta)

        task = asyncio.create_task(compile_in_turn(), name=f"bytecode {reference[:8]}")
        self._compiling[reference] = task
        task.add_done_callback(lambda _: self._compiling.pop(reference, None))

    async def reap(self, build_id: BuildId) -> None:
        """End and remove whatever a build left behind, in this process or in one before."""
        if _BUILD_ID.fullmatch(build_id):
            await asyncio.to_thread(kill_build, build_id)
            await asyncio.to_thread(remove_build, self._config, build_id)

    async def exists(self, reference: str) -> bool:
        """Whether the environment is complete and its Python still on this machine."""
        return await asyncio.to_thread(self._store.built, reference) is not None

    async def remove(self, reference: str) -> None:
        """Delete an environment."""
        if (compiling := self._compiling.get(reference)) is not None:
            compiling.cancel()
            await asyncio.wait([compiling])
        await asyncio.to_thread(self._store.remove, reference)

    async def references(self) -> frozenset[str]:
        """Every environment on disk."""
        await asyncio.to_thread(self._store.sweep)
        return await asyncio.to_thread(self._store.references)

    async def storage(self, references: frozenset[str] | None = None) -> Storage:
        """See `Builder.storage`: what is linked to the cache of wheels or to other environments is shared."""
        present = await asyncio.to_thread(self._store.references)
        wanted = present if references is None else present & references
        return await asyncio.to_thread(measure, [self._store.path(reference) for reference in sorted(wanted)])

    async def reap_others(self, builds: frozenset[BuildId]) -> None:
        """End and remove what is left of other builds than these."""
        for build_id in await asyncio.to_thread(builds_on_disk, self._config):
            if build_id not in builds:
                await self.reap(build_id)

    async def collect_caches(self, unused_since: datetime) -> int:
        """Delete wheels that no environment uses."""
        return await asyncio.to_thread(collect_wheels, wheels(self._config), unused_since)

    async def places(self) -> tuple[Path, ...]:
        """Where environments, caches and builds are."""
        return self._config.store, self._config.cache, self._config.work

    def meta(self, reference: str) -> EnvironmentMeta | None:
        """What a session spawner must know of an environment, or None when it is not there."""
        return self._store.meta(reference)

    def _obtain(self, recipe: Recipe) -> Interpreter:
        """The interpreter of a recipe; uv fetches one when the operator allows it. Raises PythonUnavailable."""
        try:
            return self._choose(recipe)
        except PythonUnavailable:
            if self._config.python_downloads and recipe.python:
                interpreters.fetch(recipe.python, self._config.cache / "pythons")
            return self._choose(recipe)

    def _choose(self, recipe: Recipe) -> Interpreter:
        """The interpreter of a recipe; looks for others only when the launcher's own does not fit."""
        if not self._interpreters:
            own = interpreters.own()
            self._interpreters = [own] if own else self._installed()
        try:
            return choose(recipe.python, self._interpreters)
        except PythonUnavailable:
            self._interpreters = self._installed()
            return choose(recipe.python, self._interpreters)

    def _installed(self) -> list[Interpreter]:
        fetched = sorted((self._config.cache / "pythons").glob("cpython-*/bin/python3"))
        return interpreters.installed((*self._config.pythons, *fetched))


def _unsupported(file: str, what: str) -> RecipeUnsupported:
    return RecipeUnsupported(
        f"{file} asks for {what}, which the process runtime cannot provide.",
        hint="The container runtime can build it. Here, list what pip can install in binder/requirements.txt.",
    )
