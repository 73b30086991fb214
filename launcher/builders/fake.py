"""A builder without a runtime: it keeps every promise of `Builder` and makes nothing.

For tests of everything above builders, and for trying the launcher's pages without building anything. It passes the
same contract tests as the real ones (``tests/contract/test_builder.py``).
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.environments import wants_dask
from launcher.errors import LauncherError, RecipeUnsupported
from launcher.models import (
    BuildId,
    BuildRequest,
    BuiltEnvironment,
    EnvironmentKey,
    EnvironmentSize,
    Recipe,
    RecipeKind,
    SessionMode,
    Storage,
)

_UNSUPPORTED = frozenset({RecipeKind.CONDA, RecipeKind.R, RecipeKind.JULIA, RecipeKind.NIX, RecipeKind.DOCKERFILE})


class FakeBuilder:
    """Builds in memory.

    lines: what every build writes. hold/release: builds wait between their first and second line while held.
    fail: the next builds of a key end with an error. started: every request in the order of the calls.
    running: ids of the builds under way. left_behind: ids whose remains `reap` has not removed yet (see `crash`).
    """

    def __init__(self, *, fingerprint: str = "fake-1", lines: Sequence[str] = ("resolving\n", "installing\n")) -> None:
        self.fingerprint = fingerprint
        self.lines = tuple(lines)
        self.started: list[BuildRequest] = []
        self.running: set[BuildId] = set()
        self.left_behind: set[BuildId] = set()
        self._environments: dict[str, BuiltEnvironment] = {}
        self._errors: dict[EnvironmentKey, Callable[[], LauncherError]] = {}
        self._go = asyncio.Event()
        self._go.set()

    def hold(self) -> None:
        """Let builds wait until `release`."""
        self._go.clear()

    def release(self) -> None:
        """Let waiting and later builds go on."""
        self._go.set()

    def fail(self, key: EnvironmentKey, error: Callable[[], LauncherError]) -> None:
        """Let builds of ``key`` end with ``error()``."""
        self._errors[key] = error

    def mend(self, key: EnvironmentKey) -> None:
        """Let builds of ``key`` succeed again."""
        self._errors.pop(key, None)

    def crash(self, build_id: BuildId) -> None:
        """Pretend that a process before this one was killed in the middle of a build."""
        self.left_behind.add(build_id)

    def check(self, recipe: Recipe) -> None:
        """Refuse what the process runtime refuses. Raises RecipeUnsupported."""
        file = recipe.apt or (recipe.main or recipe.kind.value if recipe.kind in _UNSUPPORTED else None)
        if file is not None:
            raise RecipeUnsupported(f"{file} is not supported here.", hint="The container runtime can do it.")

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Write the lines, then have an environment."""
        self.check(request.recipe)
        await self.reap(request.build_id)
        self.started.append(request)
        self.running.add(request.build_id)
        try:
            log.stage("fetching")
            log.stage("building")
            for line in self.lines:
                log.write(line)
                await self._go.wait()
            if request.key in self._errors:
                error = self._errors[request.key]()
                raise error
            log.stage("pushing")
            built = _environment(self.fingerprint, request)
            self._environments[built.reference] = built
            return built
        finally:
            self.running.discard(request.build_id)

    async def reap(self, build_id: BuildId) -> None:
        """Remove what `crash` left."""
        self.left_behind.discard(build_id)

    async def exists(self, reference: str) -> bool:
        """Whether the environment was made and not removed."""
        return reference in self._environments

    async def remove(self, reference: str) -> None:
        """Forget an environment."""
        self._environments.pop(reference, None)

    async def references(self) -> frozenset[str]:
        """Every environment made and not removed."""
        return frozenset(self._environments)

    async def storage(self, references: frozenset[str] | None = None) -> Storage:
        """Every environment is as big as it said when it was built, and shares nothing."""
        found = {
            reference: EnvironmentSize(built.size_bytes, 0)
            for reference, built in self._environments.items()
            if references is None or reference in references
        }
        return Storage(found, sum(size.own_bytes for size in found.values()))

    async def reap_others(self, builds: frozenset[BuildId]) -> None:
        """Remove what `crash` left of other builds."""
        self.left_behind &= builds

    async def collect_caches(self, unused_since: datetime) -> int:  # noqa: ARG002 - it has none
        """There are none."""
        return 0

    async def places(self) -> tuple[Path, ...]:
        """It fills no disk; that of temporary files is as good as any."""
        return (Path(tempfile.gettempdir()),)


def _environment(fingerprint: str, request: BuildRequest) -> BuiltEnvironment:
    """Equal files make an equal lock, as with a real resolver on one day."""
    recipe = request.recipe
    # What can reach the whole repository belongs to its own recipe alone.
    own = request.own_name if recipe.tree is not None or request.anew else ""
    files = (f"{path}={blob}" for path, blob in sorted(recipe.files.items()))
    lock = _digest(recipe.kind.value, *files, *(["dask"] if wants_dask(recipe) else []))
    return BuiltEnvironment(
        reference=_digest(fingerprint, lock, own),
        lock=lock,
        mode=SessionMode.KERNEL,
        python=recipe.python or "3.11",
        size_bytes=1024,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
