"""From a recipe to a lock: which packages, in which versions, with which hashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from launcher.builders.process import convert
from launcher.builders.process.lock import Lock
from launcher.builders.process.sandbox import REPOSITORY
from launcher.builders.process.steps import Steps
from launcher.builders.process.workspace import EXCHANGE, UV
from launcher.errors import BuildFailed, RecipeInvalid
from launcher.models import RecipeKind, SessionMode

NEEDS_BUILD = re.compile(r"no usable wheels|no wheels|[Bb]uilding source|source dist|source tree|--no-build|disabled")
_WHAT = "Resolving the requirements"


class Resolver:
    """Makes the lock of one build."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._workspace = steps.workspace
        self._recipe = steps.recipe
        self._config = steps.config

    async def resolve(self) -> tuple[Lock, SessionMode]:
        """The lock and where the session's server comes from. Raises BuildFailed, RecipeInvalid."""
        inputs, promised = await self._inputs()
        lock = await self._compile(inputs, self._config.kernel_requirements)
        mode = SessionMode.KERNEL
        if lock.brings_server:
            mode = SessionMode.FULL
            self._steps.log.write("The packages bring a Jupyter server: the session's server runs inside them.\n")
            lock = await self._compile(inputs, (*self._config.kernel_requirements, *self._config.full_requirements))
        return lock.with_hashes(promised), mode

    async def _inputs(self) -> tuple[list[str], Mapping[str, tuple[str, ...]]]:
        """Arguments of ``uv pip compile`` for the recipe, and hashes that a lock of the repository promises."""
        main, kind = self._recipe.main, self._recipe.kind
        if main is None or kind is RecipeKind.NONE:
            return [], {}
        if kind is RecipeKind.DEPENDENCY_GROUP:
            return ["--group", f"{main}:{self._recipe.options.get('group', 'dev')}"], {}
        if kind in (RecipeKind.REQUIREMENTS, RecipeKind.PYPROJECT, RecipeKind.SETUP_PY):
            return [main], {}
        if kind is RecipeKind.UV_LOCK:
            text = await self._export_uv_lock(main)
        else:
            text = self._converted(kind, main)
        exported = Lock.parse(text)
        promised = {one.name: one.hashes for one in exported.packages if one.hashes}
        return [self._workspace.write("recipe.txt", text)], promised

    def _converted(self, kind: RecipeKind, main: str) -> str:
        try:
            text = self._workspace.read(main, below="repository")
        except OSError as error:
            raise RecipeInvalid(f"{main} cannot be read.") from error
        environment = convert.marker_environment(self._workspace.interpreter.version)
        if kind is RecipeKind.PIPFILE:
            return convert.pipfile(main, text)
        if kind is RecipeKind.PIPFILE_LOCK:
            return convert.pipfile_lock(main, text)
        return convert.pylock(main, text, environment)

    async def _export_uv_lock(self, main: str) -> str:
        directory = PurePosixPath(main).parent
        command = [UV, "export", "--locked", "--no-header", "--no-annotate", "--quiet", "--format", "requirements.txt"]
        command += ["--no-emit-project", "--python", str(self._workspace.interpreter.executable)]
        command += ["--project", str(PurePosixPath(REPOSITORY) / directory), "-o", f"{EXCHANGE}/export.txt"]
        outcome = await self._steps.attempt(self._workspace.clean(), [*command, "--no-build"])
        if outcome.status and NEEDS_BUILD.search(outcome.tail):
            outcome = await self._steps.attempt(self._workspace.foreign(), command)
        if outcome.status:
            failure = self._steps.failure(f"Reading {main}", outcome)
            raise RecipeInvalid(failure.message, hint="Run `uv lock` in the repository and commit uv.lock.")
        return self._workspace.read("export.txt")

    async def _compile(self, inputs: list[str], additions: tuple[str, ...]) -> Lock:
        """One resolution: wheels only first, because then no foreign code runs and the shared cache is used."""
        ours = self._workspace.write("additions.txt", "".join(f"{line}\n" for line in self._additions(additions)))
        self._workspace.write("lock.txt", "")
        command = [UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]
        command += ["--no-strip-extras", "--emit-index-url", "--emit-find-links", "--upgrade"]
        command += ["--python", str(self._workspace.interpreter.executable), "-o", f"{EXCHANGE}/lock.txt"]
        command += [*inputs, ours]
        outcome = await self._steps.attempt(self._workspace.clean(), [*command, "--no-build"])
        if outcome.status and NEEDS_BUILD.search(outcome.tail):
            self._steps.log.write("Some packages have no wheels and are built from source.\n")
            outcome = await self._steps.attempt(self._workspace.foreign(), command)
        if outcome.status:
            raise self._steps.failure(_WHAT, outcome)
        try:
            return Lock.parse(self._workspace.read("lock.txt"))
        except OSError as error:
            raise BuildFailed(f"{_WHAT} failed.", hint="The last lines of the build's log say more.") from error

    def _additions(self, additions: tuple[str, ...]) -> list[str]:
        return list(additions)
