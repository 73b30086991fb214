"""What the web may ask about launches, and what a launch says while it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from launcher.builds.records import LogRecord
from launcher.models import (
    BuildId,
    EnvironmentKey,
    EnvironmentStatus,
    HomeKind,
    MachineSize,
    Person,
    Recipe,
    Resolved,
    ServerName,
    Spec,
    Trust,
)
from launcher.sources.commits import CommitWords


@dataclass(frozen=True)
class Preview:
    """What a click would do, found out without building or starting anything.

    environment: None when it was never built. problem: why a launch cannot work, in words, or None.
    running: the URL path of this person's running session of the repository, or None.
    dask: whether the session may have Dask clusters; None on a hub without Dask. dask_reason: why not, a sentence.
    dask_choice: "with Dask" can be chosen, for an unknown repository together with trusting it.
    dask_added: Dask's packages are added to the environment, whatever its recipe asks for.
    commit: what the commit says of itself; None where there is none. environment_bytes: of a ready environment.
    typical_seconds: the median of the last builds of this kind that went well; None before the first.
    sizes: the machine sizes this person is offered, none on a hub without them. size: the one the session gets, or
        has when it runs.
    """

    resolved: Resolved
    trust: Trust
    home: HomeKind
    recipe: Recipe | None
    key: EnvironmentKey | None
    environment: EnvironmentStatus | None
    server_name: ServerName
    running: str | None
    problem: str | None
    dask: bool | None = None
    dask_reason: str = ""
    dask_choice: bool = False
    dask_added: bool = False
    commit: CommitWords | None = None
    environment_bytes: int | None = None
    typical_seconds: float | None = None
    sizes: tuple[MachineSize, ...] = ()
    size: MachineSize | None = None


@dataclass(frozen=True)
class LaunchRequest:
    """One person's wish to be in a session of a spec.

    hub_token: the person's own Hub token; starts their server, is never stored.
    open_path: where to go inside the session, already checked: relative, such as ``lab/tree/index.ipynb``; "" is the
        session's default.
    confirmed: a person said yes on our page, or an API client with its own token asked.
    trust: remember the repository as *mine* from now on.
    build_only: stop when the environment is ready.
    with_dask: add Dask's packages to the environment, where that is for people to choose.
    size: name of a machine size; "" is the first one offered.
    wants_token: put a short-lived token that opens the session into the ready event (API clients only).
    launch_host: absolute URL of our service, for the BINDER_* variables.
    """

    person: Person
    hub_token: str
    spec: Spec
    open_path: str = ""
    confirmed: bool = False
    trust: bool = False
    build_only: bool = False
    with_dask: bool = False
    size: str = ""
    wants_token: bool = False
    launch_host: str = ""
    client_ip: str = ""


@dataclass(frozen=True)
class LaunchEvent:
    """One thing a launch has to say, in BinderHub's phases.

    phase: waiting, fetching, building, pushing, built, launching, ready, failed, or None for a log line without one.
    message: ends with a newline. data: the other fields of the event (``url``, ``code``, ``build_id`` …).
    id: position to resume from, present on build log lines: ``<build id>:<byte offset>``.
    """

    phase: str | None
    message: str
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the event stream."""
        body: dict[str, Any] = {"message": self.message, **self.data}
        return body if self.phase is None else {"phase": self.phase, **body}


@dataclass(frozen=True, eq=False)
class LogBatch:
    """Lines of a build's log that came together. Listeners that keep up get the very same object.

    So whatever is made of its lines can be made once for all of them; it may be the key of a weak dictionary.
    """

    build_id: BuildId
    records: tuple[LogRecord, ...]

    @cached_property
    def events(self) -> tuple[LaunchEvent, ...]:
        """One event for each line, in order."""
        data = {"build_id": self.build_id}
        return tuple(
            LaunchEvent(record.stage, record.text + "\n", data, f"{self.build_id}:{record.id}")
            for record in self.records
        )


def events_of(said: LaunchEvent | LogBatch) -> tuple[LaunchEvent, ...]:
    """What was said, event by event."""
    return said.events if isinstance(said, LogBatch) else (said,)


class Launches(Protocol):
    """Everything about launches, for the web."""

    async def preview(
        self, person: Person, hub_token: str, spec: Spec, *, with_dask: bool = False, size: str = ""
    ) -> Preview:
        """What launching the spec would do for this person. Raises LauncherError when it is refused or not found."""

    def can_choose_dask(self, person: Person) -> bool:
        """Whether `LaunchRequest.with_dask` means something for this person, in repositories they trust."""

    def launch(self, request: LaunchRequest, *, after: str | None = None) -> AsyncIterator[LaunchEvent | LogBatch]:
        """Start or join the launch and tell its events; the last one is ``ready`` or ``failed``, never an exception.

        Closing the iterator leaves the launch going on. ``after`` is the id of the last event a client has seen.
        """

    def build_log(
        self, person: Person, build_id: BuildId, *, after: int = 0, follow: bool = True, shared: bool = False
    ) -> AsyncIterator[LaunchEvent | LogBatch]:
        """The log of one build from byte ``after``; ends when the build does. The first step raises BuildNotFound.

        ``shared``: somebody who may see the build showed it to this person.
        """

    async def cancel_build(self, person: Person, build_id: BuildId) -> None:
        """Cancel a build this person asked for (or any, for admins). Raises BuildNotFound, NotAllowed."""
