"""A person's sessions that are not stopped, as the Hub and the launcher's own rows tell together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from launcher.models import EnvironmentKey, HomeKind, MachineSize, RepositoryId
from launcher.policy.culling import CullPolicy
from launcher.sessions.hub import HubSession
from launcher.store import SessionRow


@dataclass(frozen=True)
class SessionSize:
    """The machine size of a session. memory_bytes, cpus: None where nothing is enforced."""

    name: str
    title: str
    memory_bytes: int | None
    cpus: float | None

    @classmethod
    def of(cls, size: MachineSize) -> SessionSize:
        """What a session has of a size."""
        return cls(size.name, size.title, size.memory_bytes, size.cpus)


@dataclass(frozen=True)
class RunningSession:
    """A session that runs, starts or stops.

    server_name: "" for the regular session. state: ready, starting or stopping. url: its URL path on the Hub's host.
    name, repository, spec, home, environment: of its last launch; None when it is no repository's. size: None without.
    culled_when_idle: it is ended by itself when it is not used. culled_at: then, at the earliest, if it is not used
    from now on; None when nobody can tell. culled_at_latest: then, even if it is used; None without such a limit.
    """

    server_name: str
    state: str
    url: str
    started: datetime | None
    last_activity: datetime | None
    name: str | None
    repository: RepositoryId | None
    spec: str | None
    home: HomeKind | None
    environment: EnvironmentKey | None
    size: SessionSize | None = None
    culled_when_idle: bool = False
    culled_at: datetime | None = None
    culled_at_latest: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values, times in ISO 8601."""
        times = {name: value for name, value in vars(self).items() if isinstance(value, datetime)}
        return {**asdict(self), **{name: moment.isoformat(timespec="seconds") for name, moment in times.items()}}


def describe(
    server: HubSession, row: SessionRow | None, size: MachineSize | None, culling: CullPolicy
) -> RunningSession:
    """A session of the Hub with what is known of its last launch, and its size."""
    times = culling.times(server.name, server.started, server.last_activity)
    return RunningSession(
        server_name=server.name,
        state=server.state,
        url=server.url,
        started=server.started,
        last_activity=server.last_activity,
        name=row.display_name if row else None,
        repository=row.repository_id if row else None,
        spec=row.spec if row else None,
        home=row.home if row else None,
        environment=row.environment_key if row else None,
        size=SessionSize.of(size) if size is not None else None,
        culled_when_idle=times.when_idle,
        culled_at=times.unused,
        culled_at_latest=times.latest,
    )
