"""Labels: whose a container or image is, and what for. They are there before the object is, so nothing is ever lost."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from pathlib import Path

STATE = "launcher.state"
"""Which launcher it belongs to: `state_id` of its state directory."""
KIND = "launcher.kind"
"""A `Kind`."""
BUILD = "launcher.build"
"""Id of the build that made it or that it runs for."""
KEY = "launcher.key"
"""Key of the environment in an image."""
USER = "launcher.user"
SERVER = "launcher.server"
"""Name of the session's server, with `USER`."""
CLUSTER = "launcher.cluster"
"""Name of the Dask cluster."""
INPUTS = "launcher.inputs"
"""Hash of everything that went into an image that is named by its content."""


class Kind(StrEnum):
    """What a container or image is for."""

    BUILD = "build"
    SESSION = "session"
    CLUSTER = "cluster"
    ENVIRONMENT = "environment"
    PACKAGES = "packages"
    """A layer of Debian packages, shared by all environments with the same list."""
    LAYER = "layer"
    """What steps of a Dockerfile left, shared by all that begin with the same steps."""
    BASE = "base"


def state_id(state: Path) -> str:
    """Names a state directory of this machine by its path: a copy of it is another launcher."""
    return hashlib.sha256(str(state.expanduser().resolve()).encode()).hexdigest()[:16]


def ours(state: Path, kind: Kind, **more: str) -> dict[str, str]:
    """The labels of something that is about to be made: ``ours(state, Kind.BUILD, build=build_id)``."""
    return {STATE: state_id(state), KIND: kind.value, **{f"launcher.{name}": value for name, value in more.items()}}
