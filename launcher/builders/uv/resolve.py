"""From a recipe to a lock: which packages, in which versions, with which hashes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import PurePosixPath

from launcher.builders.places import REPOSITORY
from launcher.builders.uv import convert
from launcher.builders.uv.dask import DaskPackages, advice
from launcher.builders.uv.lock import Lock, promised_hashes
from launcher.builders.uv.requirements import for_uv
from launcher.builders.uv.runtime import Outcome
from launcher.builders.uv.steps import Steps
from launcher.builders.uv.workspace import EXCHANGE, UV
from launcher.errors import BuildFailed, RecipeInvalid
from launcher.models import RecipeKind, SessionMode

NEEDS_BUILD = re.compile(r"no usable wheels|no wheels|[Bb]uilding source|source dist|source tree|--no-build|disabled")
_LISTS = frozenset({RecipeKind.REQUIREMENTS, RecipeKind.PYLOCK})
_LOCKS = frozenset({RecipeKind.UV_LOCK, RecipeKind.PYLOCK, RecipeKind.PIPFILE_LOCK})
AS_THE_PROJECT_SAYS = {"UV_NO_CONFIG": "0", "UV_DEFAULT_INDEX": "", "UV_INDEX": ""}
"""A lock names the indexes it was made from; another one in its place would make it look stale."""
_WHAT = "Resolving the requirements"


class Resolver:
    """Makes the lock of one build."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._workspace = steps.workspace
        self._recipe = steps.recipe
        self._config = steps.config
        self._dask = DaskPackages(steps.config.dask_requirements)
        self.needs_building = False  # some package has no wheel

    async def resolve(self) -> tuple[Lock, SessionMode]:
        """The lock and where the session's server comes from. Raises BuildFailed, RecipeInvalid."""
        inputs, promised = await self._inputs()
        additions = (*self._config.kernel_requirements, *self._dask.chosen(self._recipe))
        lock = await self._compile(inputs, additions)
        if missing := self._dask.completing(lock):
            self._steps.log.write("The packages ask for Dask: what clusters need is added in versions that match.\n")
            additions += missing
            lock = await self._compile(inputs, additions)
        mode = SessionMode.KERNEL
        if lock.brings_server:
            mode = SessionMode.FULL
            self._steps.log.write("The packages bring a Jupyter server: the session's server runs inside them.\n")
            lock = await self._compile(inputs, (*additions, *self._config.full_requirements))
        return lock.with_hashes(promised), mode

    async def _inputs(self) -> tuple[list[str], Mapping[str, tuple[str, ...]]]:
        """Arguments of ``uv pip compile`` for the recipe, and hashes that a lock of the repository promises."""
        main, kind = self._recipe.main, self._recipe.kind
        if main is None or kind is RecipeKind.NONE:
            return [], {}
        if kind is RecipeKind.DEPENDENCY_GROUP:
            return self._groups(main), {}
        if kind is RecipeKind.REQUIREMENTS:
            return [main], await asyncio.to_thread(self._requirements)
        if kind in {RecipeKind.PYPROJECT, RecipeKind.SETUP_PY}:
            return [main, *self._groups(main)], {}
        if kind is RecipeKind.UV_LOCK:
            text = await self._export_uv_lock(main)
        else:
            text = self._converted(kind, main)
        directory = PurePosixPath(REPOSITORY) / PurePosixPath(main).parent
        return [self._workspace.write("recipe.txt", convert.anchored(text, directory))], promised_hashes(text)

    def _groups(self, main: str) -> list[str]:
        names = filter(None, self._recipe.options.get("groups", "").split(","))
        return [argument for name in names for argument in ("--group", f"{main}:{name}")]

    def _requirements(self) -> dict[str, tuple[str, ...]]:
        """Write requirements files the way uv reads them; returns the hashes they name, which uv resolves without."""
        promised: dict[str, tuple[str, ...]] = {}
        for path in self._recipe.files:
            if PurePosixPath(path).suffix in {".txt", ".in"} or path == self._recipe.main:
                with contextlib.suppress(OSError):  # uv says so itself when it misses a file
                    text = self._workspace.read(path, below="repository")
                    found = promised_hashes(text)
                    promised |= {name: (*promised.get(name, ()), *hashes) for name, hashes in found.items()}
                    self._workspace.rewrite(path, for_uv(text))
        return promised

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
        if groups := self._recipe.options.get("groups"):
            command += ["--no-default-groups", *(f"--group={name}" for name in groups.split(","))]
        command += ["--no-emit-project", "--python", str(self._workspace.interpreter.executable)]
        command += ["--project", str(PurePosixPath(REPOSITORY) / directory), "-o", f"{EXCHANGE}/export.txt"]
        outcome = await self._clean_then_foreign(command, AS_THE_PROJECT_SAYS)
        if outcome.status:
            failure = self._steps.failure(f"Reading {main}", outcome)
            raise RecipeInvalid(failure.message, hint="Run `uv lock` in the repository and commit uv.lock.")
        return self._indexes(directory) + self._workspace.read("export.txt")

    def _indexes(self, directory: PurePosixPath) -> str:
        """Further indexes of a uv project, as lines of a requirements file."""
        try:
            body = tomllib.loads(self._workspace.read(str(directory / "pyproject.toml"), below="repository"))
            urls = [index["url"] for index in body.get("tool", {}).get("uv", {}).get("index", [])]
        except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError):
            return ""  # uv has read the file and did not mind
        return convert.index_lines("pyproject.toml", [{"url": url} for url in urls])

    async def _compile(self, inputs: list[str], additions: tuple[str, ...]) -> Lock:
        """One resolution: wheels only first, because then no foreign code runs and the shared cache is used."""
        ours = self._workspace.write("additions.txt", "".join(f"{line}\n" for line in self._additions(additions)))
        self._workspace.write("lock.txt", "")
        command = [UV, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes"]
        command += ["--no-strip-extras", "--emit-index-url", "--emit-find-links", "--upgrade"]
        command += ["--python", str(self._workspace.interpreter.executable), "-o", f"{EXCHANGE}/lock.txt"]
        command += [*inputs, ours, *self.strategy]
        outcome = await self._clean_then_foreign(command)
        if outcome.status:
            conflict = self._dask.conflict(outcome.tail, advice(self._recipe, self._steps.recipe_file))
            raise conflict or self._steps.failure(_WHAT, outcome)
        try:
            return Lock.parse(self._workspace.read("lock.txt"))
        except OSError as error:
            raise BuildFailed(f"{_WHAT} failed.", hint="The last lines of the build's log say more.") from error

    @property
    def strategy(self) -> list[str]:
        """Which index may answer: any of them when the repository's own lock has the hashes, else the first."""
        return ["--index-strategy", "unsafe-best-match"] if self._recipe.kind in _LOCKS else []

    async def _clean_then_foreign(self, command: list[str], environment: Mapping[str, str] | None = None) -> Outcome:
        """Without running foreign code when that is enough; words of a first try that is made good are not shown."""
        if not self.needs_building:
            outcome = await self._steps.attempt(
                self._workspace.clean(environment), [*command, "--no-build"], quiet=True
            )
            if not outcome.status or not NEEDS_BUILD.search(outcome.tail):
                self._steps.log.write(outcome.tail)
                return outcome
            self._steps.log.write("Something has no wheel and is built from source.\n")
            self.needs_building = True
        return await self._steps.attempt(self._workspace.foreign(environment), command)

    def _additions(self, additions: tuple[str, ...]) -> list[str]:
        """What we add to the recipe's inputs: our packages, and the project that mybinder.org would install too."""
        implicit = self._recipe.options.get("implicit") and self._recipe.kind in _LISTS
        return [*additions, REPOSITORY] if implicit else list(additions)
