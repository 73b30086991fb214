"""What the JSON API takes and gives, as types: its description and the front end's client are made from them.

Where a dataclass of the domain goes over the wire as it is, that dataclass is the type; the rest is here. A test reads
real answers against these.
"""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict

from launcher.models import BuildStatus, EnvironmentStatus, HomeKind, Trust
from launcher.publish.links import Note
from launcher.sessions.clusters import Cluster
from launcher.sessions.mine import UsedRepository
from launcher.sessions.running import RunningSession


class Problem(TypedDict):
    """Why something was refused or failed: what happened, what to do, and a number for the operator's log."""

    code: str
    message: str
    hint: str
    retry_after: NotRequired[int]
    field: NotRequired[str]
    id: NotRequired[str]


class ProblemAnswer(TypedDict):
    """Every answer that is no success."""

    error: Problem


class RepositoryName(TypedDict):
    """A repository for people."""

    name: str
    url: str


class CommitWordsJson(TypedDict):
    """A commit in its author's words."""

    subject: str
    date: datetime


class MachineSizeJson(TypedDict):
    """A machine size; ``memory_bytes`` and ``cpus`` are null where nothing is enforced."""

    name: str
    title: str
    description: str
    memory_bytes: int | None
    cpus: float | None


class PreviewJson(TypedDict):
    """What a launch would do."""

    spec: str
    persistent_spec: str
    ref: str
    ref_name: str | None
    ref_url: str
    repository: RepositoryName
    commit: CommitWordsJson | None
    trust: Trust
    home: HomeKind
    recipe: str | None
    environment: str | None
    environment_status: EnvironmentStatus | None
    environment_bytes: int | None
    typical_seconds: float | None
    server_name: str
    running: str | None
    problem: str | None
    size: str | None
    sizes: list[MachineSizeJson]
    dask: NotRequired[str]
    dask_reason: NotRequired[str]


class PreviewAnswer(TypedDict):
    """``GET preview``."""

    preview: PreviewJson


class LaunchWish(TypedDict):
    """``POST launches``."""

    spec: str
    urlpath: NotRequired[str]
    labpath: NotRequired[str]
    filepath: NotRequired[str]
    trust: NotRequired[bool]
    build_only: NotRequired[bool]
    dask: NotRequired[bool]
    size: NotRequired[str]
    build_token: NotRequired[str]


class LaunchJson(TypedDict):
    """A launch under way: ``events_url`` tells how it goes on."""

    spec: str
    phase: str
    build_id: str | None
    events_url: str


class LaunchAnswer(TypedDict):
    """``POST launches``."""

    launch: LaunchJson


class BuildTokenWish(TypedDict):
    """``POST build-token``: the page's spec and its token."""

    spec: str
    build_token: str


class BuildTokenAnswer(TypedDict):
    """``POST build-token``."""

    build_token: str


class BuildJson(TypedDict):
    """A build, open or over."""

    id: str
    environment: str
    status: BuildStatus
    spec: str
    asked_by: str
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: Problem | None
    queue_position: int | None
    may_cancel: bool


class BuildsAnswer(TypedDict):
    """``GET builds``: ``before`` asks for the builds that follow."""

    builds: list[BuildJson]
    before: int | None


class BuildAnswer(TypedDict):
    """``GET builds/<build id>``."""

    build: BuildJson


class ShareJson(TypedDict):
    """What shows a build to others."""

    key: str
    url: str


class ShareAnswer(TypedDict):
    """``GET builds/<build id>/share``."""

    share: ShareJson


class SessionsAnswer(TypedDict):
    """``GET sessions``."""

    sessions: list[RunningSession]


class RepositoriesAnswer(TypedDict):
    """``GET repositories``."""

    repositories: list[UsedRepository]


class ProjectHomeJson(TypedDict):
    """A project home; ``complete`` is false when it was too large to be counted to its end."""

    server_name: str
    repository: str
    name: str
    size_bytes: int
    files: int
    complete: bool


class ProjectHomeAnswer(TypedDict):
    """``GET project-homes/<server>``."""

    project_home: ProjectHomeJson


class EnvironmentProblem(TypedDict):
    """Why the last build of an environment failed."""

    code: str
    message: str | None


class EnvironmentJson(TypedDict):
    """An environment and what is true of it."""

    key: str
    reference: str | None
    status: EnvironmentStatus
    kind: str
    summary: str
    spec: str | None
    mode: str | None
    python: str | None
    own_bytes: int | None
    shared_bytes: int | None
    created: datetime
    last_used: datetime
    pinned: bool
    building: bool
    in_use: bool
    removing: bool
    may_rebuild: bool
    build: str | None
    used_by: list[str]
    error: EnvironmentProblem | None


class EnvironmentsAnswer(TypedDict):
    """``GET environments``: ``next`` asks for those that follow."""

    environments: list[EnvironmentJson]
    total: int
    next: str | None


class LinksWish(TypedDict):
    """``POST links``: a repository in any shape people paste, and what its links shall do."""

    repository: str
    ref: NotRequired[str]
    path: NotRequired[str]
    interface: NotRequired[str]
    environment: NotRequired[str]
    environment_ref: NotRequired[str]
    check: NotRequired[bool]


class LinksJson(TypedDict):
    """Everything to copy, as `launcher.publish.links.Links` explains it."""

    spec: str
    launch: str
    badge: str
    markdown: str
    html: str
    rst: str
    nbgitpuller: str | None
    myst: str
    jupyter_book: str | None
    notes: list[Note]


class LinksAnswer(TypedDict):
    """``POST links``: ``checked`` says whether the repository was asked."""

    links: LinksJson
    checked: bool


class ClustersAnswer(TypedDict):
    """``GET clusters``."""

    clusters: list[Cluster]
    limits: dict[str, int]
    used: dict[str, int]


class LogsAnswer(TypedDict):
    """``GET clusters/<cluster>/logs``."""

    logs: list[str]
