"""What is asked of an engine and what it answers, in the words of Docker's API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from launcher.engine.labels import KIND, STATE

_PART = "[a-z0-9]+(?:[._-]+[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][\w.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?",
    re.ASCII,
)


def is_image_name(text: str) -> bool:
    """Whether this looks like the name of an image; others can mean another image to the engine than to a policy."""
    return _NAME.fullmatch(text) is not None


def is_allowed_image(name: str, patterns: Iterable[str]) -> bool:
    """Whether a person may name this image where the operator allows these shell patterns."""
    return is_image_name(name) and any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is.

    name: ``podman`` or ``docker``. rootless: whether root in a container is an ordinary user outside.
    storage_driver: such as ``overlay``. storage: directory of its images. limits: what it can limit, of ``memory``,
    ``cpu`` and ``pids``. cgroup_version: 1 or 2.
    """

    name: str
    version: str
    rootless: bool
    storage_driver: str
    storage: str
    cgroup_version: int
    limits: frozenset[str]


@dataclass(frozen=True)
class Image:
    """An image that is on this machine.

    id: ``sha256:`` and 64 digits: never changes, and is what everything of ours names. names: tags pointing to it now.
    digests: ``name@sha256:…`` in registries. size: bytes with everything below it. layers: digests of its layers,
    lowest first; images share them.
    """

    id: str
    names: tuple[str, ...]
    digests: tuple[str, ...]
    labels: Mapping[str, str]
    size: int
    created: datetime
    layers: tuple[str, ...]
    environment: Mapping[str, str]
    user: str
    working_directory: str = "/"


@dataclass(frozen=True)
class Bind:
    """A file or directory of this machine, or a volume by its name (``source``), seen at ``target``."""

    source: Path | str
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class ContainerOrder:
    """A container to be made. What is not said is refused: no network, no capability, a read-only root file system.

    image: id of an image. command: replaces the image's entrypoint and command. environment: variables besides the
        image's own. user: ``uid:gid``; never root unless it is said. user_namespace: as in
        Docker, "" for the engine's usual one. binds: see `Bind`.
    tmpfs: path -> bytes it may hold. writable_root: let changes go to a layer of the container, for a commit.
    memory_bytes, cpus, processes: limits of all its processes together; None for none. There is no swap besides.
    ulimits: name -> (soft, hard).
    capabilities: those that are kept; all others are dropped. new_privileges: whether setuid programs work.
    network: ``none``, ``container:ID`` for another container's, or ``host`` for what an operator starts by hand.
    labels: see `launcher.engine.labels`; those of state and kind are required. name: "" lets the engine choose one.
    log_bytes: what the engine keeps of its output; 0 for nothing, when somebody listens (see `Engine.run`).
    init: a small first process that collects orphans.
    stop_signal, host_name: as in Docker.
    """

    image: str
    command: tuple[str, ...]
    labels: Mapping[str, str]
    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    user: str = "1000:1000"
    user_namespace: str = ""
    binds: tuple[Bind, ...] = ()
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    writable_root: bool = False
    memory_bytes: int | None = None
    cpus: float | None = None
    processes: int | None = None
    shared_memory_bytes: int | None = None
    ulimits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    new_privileges: bool = False
    network: str = "none"
    log_bytes: int = 0
    init: bool = False
    stop_signal: str = "SIGTERM"
    host_name: str = "binder"

    def __post_init__(self) -> None:
        missing = {STATE, KIND} - self.labels.keys()
        if missing:
            raise ValueError(f"a container without the label {min(missing)} could be lost")


@dataclass(frozen=True)
class Container:
    """A container that exists.

    state: ``created``, ``running``, ``paused``, ``exited`` or ``dead``. exit_status: None while it runs or before.
    out_of_memory: whether the engine says that it was killed for its memory; podman does not see it everywhere.
    memory_bytes: its limit, 0 for none. pid: of its first process on this machine, 0 when none.
    """

    id: str
    name: str
    image: str
    labels: Mapping[str, str]
    state: str
    created: datetime
    exit_status: int | None
    out_of_memory: bool
    memory_bytes: int
    pid: int

    @property
    def running(self) -> bool:
        """Whether its processes are there, be they paused."""
        return self.state in {"running", "paused", "restarting", "stopping"}


@dataclass(frozen=True)
class Ended:
    """How a container ended: ``status`` as a shell would say it (137: killed).

    out_of_memory: killed for its memory, or killed at a memory limit by nobody we know.
    """

    status: int
    out_of_memory: bool


@dataclass(frozen=True)
class ImageConfig:
    """What an image made of a container says besides its files; None leaves what the container says.

    command: what it starts, without any entrypoint. What is left out comes from the container, its variables and
    labels too: give a container that becomes an image no variable that is private.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    working_directory: str | None = None
    command: tuple[str, ...] | None = None
