"""What the store hands out: one frozen dataclass per table, times in UTC with their time zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from launcher.errors import BuildFailed, LauncherError
from launcher.models import (
    BuildId,
    BuildStatus,
    EnvironmentKey,
    EnvironmentStatus,
    HomeKind,
    RepositoryId,
    ServerName,
    SessionMode,
    Username,
)

OPEN_STATUSES = (BuildStatus.WAITING, BuildStatus.RUNNING)


@dataclass(frozen=True)
class EnvironmentRow:
    """An environment and what is true of it.

    kind, summary: the recipe, for people. fingerprint: the builder's, when it was made.
    lock, reference, mode, python: as in `BuiltEnvironment`; set when ``status`` is READY (and kept from the last good
    build otherwise). error_code, error_message: of the last build, when ``status`` is FAILED.
    pinned: never removed by age or for want of room. removal_asked: when somebody wanted it gone, until it is.
    own_bytes, shared_bytes: as in `EnvironmentSize`, when they were measured last; None before the first time.
    """

    key: EnvironmentKey
    kind: str
    summary: str
    fingerprint: str
    status: EnvironmentStatus
    lock: str | None
    reference: str | None
    mode: SessionMode | None
    python: str | None
    size_bytes: int
    created: datetime
    last_used: datetime
    error_code: str | None
    error_message: str | None
    pinned: bool = False
    removal_asked: datetime | None = None
    own_bytes: int | None = None
    shared_bytes: int | None = None


@dataclass(frozen=True)
class ListedEnvironment:
    """An environment in a list for people. spec: of its newest build; building: whether a build of it is open."""

    row: EnvironmentRow
    spec: str | None
    building: bool


@dataclass(frozen=True)
class ArtefactUse:
    """What all rows of one artefact say together.

    last_used: the latest. pinned: one of them is. building: a build of one of them is open.
    """

    reference: str
    last_used: datetime
    pinned: bool
    building: bool


@dataclass(frozen=True)
class BuildRow:
    """One build: where it is (``status``) and where it shall end (``target``: SUCCEEDED or CANCELLED).

    number: grows with every build; builds run in this order. asked_by: who asked first (others may have joined).
    request: JSON values of the whole `BuildRequest`, so that a restarted service can run it again.
    interruptions: how often the service died in the middle of it. log_bytes: size of its log when it ended.
    """

    number: int
    id: BuildId
    environment_key: EnvironmentKey
    status: BuildStatus
    target: BuildStatus
    asked_by: Username
    spec: str
    request: Mapping[str, Any]
    interruptions: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    error_code: str | None
    error_message: str | None
    error_hint: str | None
    log_bytes: int

    @property
    def is_open(self) -> bool:
        """Whether the build still waits or runs."""
        return self.status in OPEN_STATUSES

    @property
    def error(self) -> LauncherError | None:
        """The error the build ended with, of the class it was raised as; None when it has none."""
        if self.error_code is None:
            return None
        kinds: list[type[LauncherError]] = [LauncherError]
        for kind in kinds:  # grows while we walk: the whole tree, widest first
            if kind.code == self.error_code:
                return kind(self.error_message or "", hint=self.error_hint or "")
            kinds.extend(kind.__subclasses__())
        return BuildFailed(self.error_message or "", hint=self.error_hint or "")  # a code of another version


@dataclass(frozen=True)
class TrustRow:
    """A person said: this repository is mine."""

    username: Username
    repository_id: RepositoryId
    created: datetime


@dataclass(frozen=True)
class SessionRow:
    """A person's named server and the repository it belongs to; whether it runs, only the Hub knows.

    size: name of the machine size of its last start; None on a hub without sizes.
    """

    username: Username
    server_name: ServerName
    repository_id: RepositoryId
    display_name: str
    spec: str
    ref: str
    persistent_spec: str
    ref_url: str
    environment_key: EnvironmentKey | None
    home: HomeKind
    created: datetime
    last_launched: datetime
    size: str | None = None
