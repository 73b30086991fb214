"""How tests are spread over processes: what is expensive to start is started once, and what is long starts first."""

import functools
import re

from xdist.scheduler import LoadScopeScheduling

from tests.support.running import ROOT

ENGINE, HUB5 = "the container engine", "JupyterHub 5"
_FIRST = (
    ENGINE,
    HUB5,
    "tests/system/",
    "tests/browser/",
    "tests/contract/",
    "tests/http/",
    "tests/unit/",
    "tests/docs/",
)
"""Units of work, and beginnings of their names, in the order in which they start."""


class Spread(LoadScopeScheduling):
    """Gives each worker one file after the other, in the order of the collection."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """What runs in one worker: a file, or all tests that share the container engine or a hub of the other version."""
    path, _, test = nodeid.partition("::")
    parameters = set(re.findall(r"\w+", test.partition("[")[2]))
    if "container" in parameters or (_uses_engine(path) and not parameters & {"process", "fake"}):
        return ENGINE
    return HUB5 if "hub5" in parameters else path


def place_of(nodeid: str) -> int:
    """Where the test's unit is in the order."""
    unit = unit_of(nodeid)
    return next((place for place, name in enumerate(_FIRST) if unit.startswith(name)), len(_FIRST))


@functools.cache
def _uses_engine(path: str) -> bool:
    text = (ROOT / path).read_text()
    return "container_engine" in text or "OwnEngine" in text  # every podman of one user shares locks
