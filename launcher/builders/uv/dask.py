"""Dask in environments: which packages are added, and what is said when versions cannot work together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from launcher.builders.uv.lock import Lock
from launcher.environments import wants_dask
from launcher.errors import BuildFailed, ConfigurationInvalid
from launcher.models import Recipe, RecipeKind

ASKED_BY = frozenset({"dask", "distributed", "dask-gateway"})
"""Packages that show that a recipe wants Dask."""
_PROVED = ("distributed", "dask-gateway")
_PROOF = "import dask_gateway.scheduler_preload, distributed.cli.dask_scheduler, distributed.cli.dask_worker"
_LOCKS = frozenset({RecipeKind.UV_LOCK, RecipeKind.PYLOCK, RecipeKind.PIPFILE_LOCK})

_NAME = r"(?<![\w.-])(?:dask-gateway|distributed|dask)(?:\[[^\]]{0,80}\])?"
_CLAUSES = r"(?:[<>=!~][^\s,`']{1,60}(?:,[<>=!~][^\s,`']{1,60})*)"
_DEPENDS = re.compile(rf"{_NAME}{_CLAUSES}? depends? on")
_REQUIREMENT = rf"[A-Za-z0-9][\w.-]{{0,100}}(?:\[[^\]]{{0,80}}\])?{_CLAUSES}?"
_REQUIRED = re.compile(rf"(?<!conclude that )you require ({_REQUIREMENT}(?: and {_REQUIREMENT})*)")
_PIN = re.compile(rf"^(?!\s*#).*?{_NAME}[\"']?\s*[<>=!~@]", re.IGNORECASE)


@dataclass(frozen=True)
class DaskPackages:
    """What makes an environment fit for clusters. ``requirements``: as pip reads them; empty when Dask is off.

    Raises ConfigurationInvalid for one that is no requirement.
    """

    requirements: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.requirements:
            try:
                Requirement(text)
            except InvalidRequirement as error:
                raise ConfigurationInvalid(
                    f"c.LauncherDask.packages: {text!r} is not a requirement.",
                    hint="Write it as in requirements.txt, such as dask-gateway or bokeh>=3.",
                ) from error

    @property
    def names(self) -> frozenset[str]:
        """Normalised names of the packages."""
        return frozenset(canonicalize_name(Requirement(text).name) for text in self.requirements)

    def chosen(self, recipe: Recipe) -> tuple[str, ...]:
        """What is added to a recipe from the start: everything, when a person or the operator said "with Dask"."""
        return self.requirements if wants_dask(recipe) else ()

    def completing(self, lock: Lock) -> tuple[str, ...]:
        """What must be added to a lock that has some of Dask: everything, so that one resolution matches them."""
        asked = not lock.names.isdisjoint(ASKED_BY)
        return self.requirements if asked and not self.names <= lock.names else ()

    def proof(self, lock: Lock) -> str | None:
        """Python that fails in an environment of this lock if clusters would; None when it is not made for them."""
        return _PROOF if self.requirements and lock.names.issuperset(_PROVED) else None

    def conflict(self, tail: str, hint: str) -> BuildFailed | None:
        """The error of a resolution that failed because of versions around Dask; None when it was something else."""
        text = re.sub(r"[\s\u2500-\u257f\u25b6\u00d7]+", " ", tail)  # uv draws trees around its sentences
        if not self.requirements or "unsatisfiable" not in text or not _DEPENDS.search(text):
            return None
        found = (one for match in _REQUIRED.finditer(text) for one in match[1].split(" and "))
        required = ", ".join(dict.fromkeys(one.rstrip(".,") for one in found))
        return BuildFailed(f"These requirements do not fit together with Dask: {required}.", hint=hint)


def cannot_run(lock: Lock, hint: str) -> BuildFailed:
    """The error of an environment in which `DaskPackages.proof` fails."""
    distributed, gateway = (lock.version(name) for name in _PROVED)
    return BuildFailed(
        "The packages of this environment cannot run Dask together: "
        f"distributed {distributed} and dask-gateway {gateway}.",
        hint=hint,
    )


def advice(recipe: Recipe, read: Callable[[str], str | None]) -> str:
    """Which lines of the recipe decide the versions, for a person to change. ``read(path)``: a file's text."""
    main = recipe.main if recipe.kind in _LOCKS else None
    lines = [line for path in recipe.files if path != main for line in _pins(path, read(path) or "")]
    if lines:
        again = f", then make {PurePosixPath(main).name} anew" if main else ""
        return f"Change {_enumerated(lines)}{again}. Versions that you leave out are matched to the others."
    if main:
        return f"Make {PurePosixPath(main).name} anew with versions of dask and distributed that belong together."
    log = "The build's log says which package asks for which version."
    return f"{log} Without Dask the environment may work." if wants_dask(recipe) else log


def _pins(path: str, text: str) -> list[str]:
    numbers = [number for number, line in enumerate(text.splitlines(), 1) if _PIN.match(line)]
    return [f"{path} line {number}" for number in numbers[:3]]


def _enumerated(lines: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(lines[:-1]), lines[-1])))
