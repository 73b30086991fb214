"""When sessions that nobody uses are ended: what this hub's idle cullers were told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

_NEVER_SECONDS = 100 * 366 * 86400.0  # what a calendar may not reach any more, and nobody waits for


@dataclass(frozen=True)
class Culler:
    """One service that ends idle sessions.

    idle_seconds: how long a session may be unused; None when only the service itself knows.
    max_age_seconds: how long it may run at all, also when it is used; None is for ever.
    default_servers, named_servers: of which kind it ends the idle ones; the oldest ones it ends of both.
    """

    idle_seconds: float | None
    max_age_seconds: float | None = None
    default_servers: bool = True
    named_servers: bool = True

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Culler:
        """The inverse of ``dataclasses.asdict``. TypeError when the fields are other ones."""
        return cls(**body)

    def watches(self, server_name: str) -> bool:
        """Whether it ends this session when it is idle; "" is the regular one."""
        return self.named_servers if server_name else self.default_servers


@dataclass(frozen=True)
class CullTimes:
    """When a session will be ended. A culler looks now and then: these are the earliest moments.

    when_idle: somebody ends it when it is not used. unused: then, if it is not used from now on; None when nobody
    can tell. latest: then, whatever is done in it; None without such a limit.
    """

    when_idle: bool = False
    unused: datetime | None = None
    latest: datetime | None = None


@dataclass(frozen=True)
class CullPolicy:
    """All cullers of a hub; without any, sessions run until somebody stops them."""

    cullers: tuple[Culler, ...] = ()

    def times(self, server_name: str, started: datetime | None, last_activity: datetime | None) -> CullTimes:
        """When a session that runs will be ended."""
        ages = [age for culler in self.cullers if (age := culler.max_age_seconds) and age < _NEVER_SECONDS]
        latest = started + timedelta(seconds=min(ages)) if ages and started is not None else None
        watching = [culler for culler in self.cullers if culler.watches(server_name)]
        idle = [end for culler in watching if (end := culler.idle_seconds) is not None and end < _NEVER_SECONDS]
        used = last_activity or started
        ends = [used + timedelta(seconds=min(idle))] if idle and used is not None else []
        ends += [latest] if latest is not None else []
        return CullTimes(bool(watching), min(ends, default=None), latest)
