"""What a runtime brings to the pipeline: where steps run, and what becomes of a finished environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from launcher.builders.uv.lock import Lock
from launcher.builders.uv.pythons import Interpreter
from launcher.models import BuiltEnvironment, SessionMode


@dataclass(frozen=True)
class Outcome:
    """How a command ended: exit status (128 + signal) and its last lines."""

    status: int
    tail: str


@dataclass(frozen=True)
class Layered:
    """A directory seen at ``target`` whose changes go to ``upper`` while ``lower`` stays as it is.

    ``work`` is an empty directory beside ``upper`` for the kernel's own use.
    """

    lower: Path
    upper: Path
    work: Path
    target: str


@dataclass(frozen=True)
class View:
    """What one step sees of the build's directories; the rest is the runtime's own system, read-only.

    foreign: code of others may run. read_only, read_write: (path outside, path inside). layered: see `Layered`.
    links: (path inside, what it points to). environment: every variable of the step besides the usual ones.
    """

    foreign: bool
    read_only: tuple[tuple[Path, str], ...] = ()
    read_write: tuple[tuple[Path, str], ...] = ()
    layered: tuple[Layered, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"


class StepRunner(Protocol):
    """Where the steps of one build run: no network but the egress proxy's socket, no privileges, limits.

    An async context manager: nothing of it is left after the block.
    """

    async def __aenter__(self) -> object: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def run(self, view: View, command: Sequence[str], write: Callable[[str], None]) -> Outcome:
        """Run a command to its end, its output going to ``write``.

        Nothing of a foreign step is left running when this returns or raises. Raises BuildLimitExceeded naming the
        limit, and whatever ``write`` raises.
        """


@dataclass(frozen=True)
class Finished:
    """An environment that only has to be kept. ``editable``: its project is read from `places.REPOSITORY`.

    packages: ``name==version`` as installed.
    """

    lock: Lock
    mode: SessionMode
    interpreter: Interpreter
    packages: tuple[str, ...]
    editable: bool


class Publisher(Protocol):
    """Where finished environments of one build go. ``name`` is a sha256: equal for equal environments."""

    final: bool
    """Whether nothing can be added to an environment later, so that its bytecode must be in it."""

    async def find(self, name: str) -> BuiltEnvironment | None:
        """The environment of that name, if it is there and can be used."""

    async def publish(self, name: str, finished: Finished) -> BuiltEnvironment:
        """Keep what the build's workspace holds, whole or not at all."""
