"""The values every part of the launcher shares: frozen, typed, free of behaviour that touches the outside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NewType

EnvironmentKey = NewType("EnvironmentKey", str)
"""sha256 (hex) of recipe + base + builder version; see `launcher.environments.keys`."""
BuildId = NewType("BuildId", str)
RepositoryId = NewType("RepositoryId", str)
"""Canonical identity of a repository, such as ``gh:github.com/org/repo``: one spelling for one repository."""
Username = NewType("Username", str)
ServerName = NewType("ServerName", str)
"""A JupyterHub server name: 1-30 characters of ``[a-z0-9-]``, first a letter, never ``--``."""

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PROPOSAL = re.compile(r"#(?:pull|merge-requests)/[0-9]+\Z")


def is_commit(text: str) -> bool:
    """Whether the text is a full lower-case SHA-1 or SHA-256 object id and nothing else."""
    return _COMMIT.fullmatch(text) is not None


@dataclass(frozen=True)
class Spec:
    """Where something comes from, exactly as the link says it: ``<provider>/<raw provider spec>``.

    ``raw`` keeps its percent-encoding, because clients compare it byte for byte.
    """

    provider: str
    raw: str

    @property
    def path(self) -> str:
        """``<provider>/<raw>``, the part of a link after ``/v2/`` or ``/build/``."""
        return f"{self.provider}/{self.raw}"


@dataclass(frozen=True)
class Repository:
    """A repository, whatever ref of it.

    A pull or merge request is a repository of its own: it is code that the other one has not taken. Its ``id`` is the
    other one's with ``#pull/3`` or ``#merge-requests/3`` after it.
    ``url`` is what a person can open or clone; it never holds credentials.
    ``name`` is the last segment, safe as a directory name: ``[A-Za-z0-9][A-Za-z0-9._-]*``, no ``.git``.
    """

    id: RepositoryId
    provider: str
    display_name: str
    name: str
    url: str

    @property
    def is_proposal(self) -> bool:
        """Whether this is a pull or merge request."""
        return _PROPOSAL.search(self.id) is not None


@dataclass(frozen=True)
class Resolved:
    """A spec and what it points to now.

    ``ref`` is immutable: a full commit SHA, a DOI version.
    ``ref_name`` is the branch or tag it came from, full (``refs/heads/main``), when there is one.
    ``persistent_spec`` launches exactly this ref for ever: ``gh/org/repo/<sha>``; of a pull or merge request, what it
    is then, because no commit of it is the repository's.
    ``ref_url`` shows the ref to a person.
    """

    spec: Spec
    repository: Repository
    ref: str
    ref_name: str | None
    persistent_spec: str
    ref_url: str


@dataclass(frozen=True)
class Snapshot:
    """The files of a resolved ref as one git commit in a bare repository of ours.

    Archives (DOIs) and local directories become commits too, so that recipes and content have one way of reading.
    ``cache`` is the bare repository's directory; ``commit`` exists in it and is kept alive by a ref.
    """

    resolved: Resolved
    cache: Path
    commit: str


class Trust(StrEnum):
    """Who vouches for a repository in front of one person."""

    TRUSTED = "trusted"  # the operator's patterns
    MINE = "mine"  # the person said so
    UNKNOWN = "unknown"


class HomeKind(StrEnum):
    """Which files a session may see."""

    PERSONAL = "personal"  # the person's home
    PROJECT = "project"  # a home for this person and this repository only


class SessionMode(StrEnum):
    """Where the Jupyter server of a session comes from."""

    KERNEL = "kernel"  # our server, the environment is the kernel
    FULL = "full"  # the server runs inside the environment


class RecipeKind(StrEnum):
    """What decides the packages of an environment, by the file that won."""

    NONE = "none"
    REQUIREMENTS = "requirements.txt"
    PYPROJECT = "pyproject.toml"
    SETUP_PY = "setup.py"
    PIPFILE = "Pipfile"
    PIPFILE_LOCK = "Pipfile.lock"
    UV_LOCK = "uv.lock"
    PYLOCK = "pylock.toml"
    DEPENDENCY_GROUP = "dependency group"
    CONDA = "environment.yml"
    R = "R"
    JULIA = "Julia"
    NIX = "default.nix"
    DOCKERFILE = "Dockerfile"


NO_RECIPE = "no recipe: Python only"
"""The summary of a repository that asks for nothing; pages say it in their language."""


@dataclass(frozen=True)
class Recipe:
    """What a repository asks of its environment, read from git objects at one commit.

    directory: where environment files are looked up: ``""``, ``"binder"`` or ``".binder"``.
    files: every file the recipe reaches that can be named, path -> git blob id. Their bytes are in the snapshot.
    main: path of the file that decided ``kind`` (``None`` for NONE).
    python: the Python asked for, ``"3.11"`` or a PEP 440 specifier such as ``">=3.10"``; None when free.
    apt: path of ``apt.txt`` or None. post_build, start: their paths or None.
    tree: an id of everything the build may see when the recipe can reach more than ``files`` (postBuild, ``.``,
        Dockerfile): the git tree id, or a digest when notebooks are kept from the build. None when ``files`` is
        everything there is to know. A builder shows a build exactly the files that `sees` allows, so that an
        environment never depends on a file its key does not cover.
    installs_project: the repository's root is a project and gets installed, by a line of ``main`` or because the
        Binder specification says so; editable: a line asks for it with ``-e``.
    options: what else a builder needs, see `launcher.environments.recipe`.
    """

    kind: RecipeKind
    directory: str = ""
    main: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    apt: str | None = None
    post_build: str | None = None
    start: str | None = None
    installs_project: bool = False
    editable: bool = False
    tree: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def sees(self, path: str) -> bool:
        """Whether a build of this recipe may see that file of the repository: its key covers it.

        Notebooks that no packaging takes are kept from builds of a local project (option ``notebooks_only_below``).
        """
        if self.tree is None:
            return path in self.files
        below = self.options.get("notebooks_only_below")
        if below is None or not path.endswith(".ipynb"):
            return True
        top, _, rest = path.partition("/")
        return bool(rest) and top in below.split("\n")

    @property
    def summary(self) -> str:
        """The recipe in a few words for a person."""
        words = [NO_RECIPE] if self.main is None else [self.main]
        words += [path for path in (self.apt, self.post_build, self.start) if path]
        return ", ".join(words)


class EnvironmentStatus(StrEnum):
    """What is true of an environment now."""

    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class BuiltEnvironment:
    """What a builder hands over: enough for a spawner of the same runtime to start sessions with it.

    reference: names the artefact inside the runtime (a directory name, an image digest).
    lock: sha256 of the resolved set of packages; environments of one lock share one artefact.
    """

    reference: str
    lock: str
    mode: SessionMode
    python: str
    size_bytes: int


@dataclass(frozen=True)
class EnvironmentSize:
    """What one environment takes on disk. own_bytes: free when it is removed. shared_bytes: others have them, too."""

    own_bytes: int
    shared_bytes: int


@dataclass(frozen=True)
class Storage:
    """What environments take on disk: each by its reference, and all together with everything counted once."""

    environments: Mapping[str, EnvironmentSize]
    total_bytes: int


@dataclass(frozen=True)
class BuildRequest:
    """All a builder may know of one build. anew: make the environment even if an equal one is there."""

    build_id: BuildId
    key: EnvironmentKey
    recipe: Recipe
    snapshot: Snapshot
    anew: bool = False

    @property
    def own_name(self) -> str:
        """What tells an environment of this key from others; for one that is made anew also from what it replaces."""
        return f"{self.key} {self.build_id}" if self.anew else self.key


class BuildStatus(StrEnum):
    """Where a build is. WAITING and RUNNING are open, the others are final."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Person:
    """Somebody logged in, as the Hub's user model says."""

    name: Username
    admin: bool = False
    groups: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MachineSize:
    """What a session may use of a machine, as the operator offers it; see `launcher.policy.sizes`.

    name: for links, the API and the database. memory_bytes, cpus: None for no limit, or one the machine cannot
    enforce. groups: whose members may have it; empty means everybody.
    """

    name: str
    title: str
    description: str = ""
    memory_bytes: int | None = None
    cpus: float | None = None
    groups: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> MachineSize:
        """The inverse of ``dataclasses.asdict`` after a way through JSON; TypeError when it is something else."""
        return cls(**{**body, "groups": tuple(body.get("groups", ()))})


@dataclass(frozen=True)
class LaunchPlan:
    """What a redeemed ticket tells a spawner to start. JSON on the wire: `to_json` / `from_json`.

    environment: `BuiltEnvironment.reference`. project: the project home's name (RepositoryId digest) or None for
    the person's home. content: bare repository directory, commit, branch and identity for the content step, or None
    for a session without repository files. variables: extra environment variables of the session. size: what it may
    use of the machine; None on a hub without machine sizes. image: name of an image that brings its own server, instead
    of an environment; only for runtimes that have images.
    """

    user: str
    server_name: str
    environment: str | None
    mode: SessionMode
    home: HomeKind
    project: str | None
    content: Mapping[str, str] | None
    start: str | None
    variables: Mapping[str, str]
    size: MachineSize | None = None
    image: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values."""
        return {
            "user": self.user,
            "server_name": self.server_name,
            "environment": self.environment,
            "mode": self.mode.value,
            "home": self.home.value,
            "project": self.project,
            "content": dict(self.content) if self.content is not None else None,
            "start": self.start,
            "variables": dict(self.variables),
            "size": asdict(self.size) if self.size is not None else None,
            "image": self.image,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> LaunchPlan:
        """The inverse of `to_json`; KeyError, TypeError or ValueError when a field is missing or wrong."""
        return cls(
            user=str(body["user"]),
            server_name=str(body["server_name"]),
            environment=body["environment"],
            mode=SessionMode(body["mode"]),
            home=HomeKind(body["home"]),
            project=body["project"],
            content=body["content"],
            start=body["start"],
            variables=dict(body["variables"]),
            size=MachineSize.from_json(body["size"]) if body.get("size") else None,
            image=body.get("image"),
        )
