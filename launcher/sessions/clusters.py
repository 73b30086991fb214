"""Dask clusters as people see them, and what the web may ask about them.

What the gateway says is in part what a person's own code said: schedulers answer for their workers. So everything is
read with suspicion here: types, bounds and lengths.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from launcher.dask.config import LIMIT_KINDS
from launcher.errors import DaskNotAllowed, LauncherError
from launcher.models import Person

_NAME = re.compile(r"[0-9a-f]{32}")
_PROCESS = re.compile(r"[0-9a-z]{1,64}")
_DASHBOARD = re.compile(r"(?:/[A-Za-z0-9@~_.-]+)+")
_STATUSES = frozenset({"starting", "running", "stopping", "stopped", "failed"})
_LIVE = frozenset({"starting", "running", "stopping"})
_LONGEST_TITLE = 200
_LONGEST_REASON = 500
_LARGEST = 2**53


@dataclass(frozen=True)
class Cluster:
    """One cluster.

    title: what a person calls its session. environment: what its workers run; "server" is the launcher's own.
    status: starting, running, stopping, stopped or failed. reason: why it ended, a sentence or "".
    workers: running now. minimum, maximum: of an adaptive one, else None. worker_memory, memory: bytes.
    idle_seconds: None when unknown. keep_hours: how long it may outlive its session.
    dashboard: a URL path on the Hub's host while there is one.
    """

    name: str
    user: str
    server_name: str
    title: str
    environment: str
    status: str
    reason: str
    workers: int
    workers_wanted: int
    minimum: int | None
    maximum: int | None
    worker_cores: int
    worker_memory: int
    cores: int
    memory: int
    started: datetime | None
    stopped: datetime | None
    idle_seconds: float | None
    keep_hours: float
    dashboard: str | None

    @property
    def is_live(self) -> bool:
        """Whether it is not over yet."""
        return self.status in _LIVE

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values, in the gateway's words."""
        times = {name: _iso(getattr(self, name)) for name in ("started", "stopped")}
        return {**asdict(self), **times}


@dataclass(frozen=True)
class ClusterList:
    """Clusters, newest first; what the person who asked may have at once and has, by `LIMIT_KINDS`.

    A kind without a limit is missing from ``limits``.
    """

    clusters: tuple[Cluster, ...]
    limits: Mapping[str, int]
    used: Mapping[str, int]


class Clusters(Protocol):
    """Everything about clusters, for the web; always with the visitor's own token, which decides what is shown.

    Every method raises DaskNotAllowed (saying why), DaskUnavailable and LoginRequired.
    """

    async def all(self, person: Person, hub_token: str) -> ClusterList:
        """A person's own clusters, for admins everybody's: live ones, and those that ended in the last 24 hours."""

    async def stop(self, person: Person, hub_token: str, name: str) -> None:
        """Stop a cluster. Raises ClusterNotFound, also for somebody else's."""

    async def log_names(self, person: Person, hub_token: str, name: str) -> tuple[str, ...]:
        """The processes of which there is a log, the scheduler first. Raises ClusterNotFound."""

    async def log(self, person: Person, hub_token: str, name: str, process: str) -> str:
        """The last 256 KiB that a process wrote, "" when it wrote nothing. Raises ClusterNotFound."""


@dataclass(frozen=True)
class OwnClusters:
    """A person's own clusters that live. answered: False when Dask did not say in time which there are."""

    clusters: tuple[Cluster, ...] = ()
    answered: bool = True


async def own_clusters(clusters: Clusters, person: Person, hub_token: str, *, seconds: float) -> OwnClusters:
    """The live clusters of the person who asks, an admin's own too; never an error, and never later than that."""
    try:
        async with asyncio.timeout(seconds):
            found = await clusters.all(person, hub_token)
    except DaskNotAllowed:
        return OwnClusters()
    except (TimeoutError, LauncherError):
        return OwnClusters(answered=False)
    return OwnClusters(tuple(one for one in found.clusters if one.is_live and one.user == person.name))


def read_list(body: object) -> ClusterList:
    """The gateway's answer as `ClusterList`. Raises ValueError when it is none; clusters that are none are left out."""
    entries, answer = _entries(body, "clusters")
    found = (_cluster(one) for one in entries if isinstance(one, dict))
    clusters = tuple(cluster for cluster in found if cluster is not None)
    return ClusterList(clusters, _amounts(answer, "limits"), _amounts(answer, "used"))


def read_log_names(body: object) -> tuple[str, ...]:
    """The names in the gateway's answer. Raises ValueError when it is none."""
    names, _ = _entries(body, "logs")
    return tuple(name for name in names if isinstance(name, str) and _PROCESS.fullmatch(name))


def _entries(body: object, key: str) -> tuple[list[Any], Mapping[str, Any]]:
    answer = body if isinstance(body, dict) else {}
    entries = answer.get(key)
    if isinstance(entries, list):
        return entries, answer
    raise ValueError(key)


def _amounts(body: Mapping[str, Any], key: str) -> dict[str, int]:
    amounts = body.get(key)
    found = {kind: _count(amounts.get(kind)) for kind in LIMIT_KINDS} if isinstance(amounts, dict) else {}
    return {kind: amount for kind, amount in found.items() if amount is not None}


def _cluster(body: Mapping[str, Any]) -> Cluster | None:
    name, status = body.get("name"), body.get("status")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or status not in _STATUSES:
        return None
    dashboard = _text(body.get("dashboard"), _LONGEST_REASON)
    return Cluster(
        name=name,
        user=_text(body.get("user"), _LONGEST_TITLE),
        server_name=_text(body.get("server_name"), _LONGEST_TITLE),
        title=_text(body.get("title"), _LONGEST_TITLE),
        environment=_text(body.get("environment"), _LONGEST_TITLE),
        status=status,
        reason=_text(body.get("reason"), _LONGEST_REASON),
        workers=_count(body.get("workers")) or 0,
        workers_wanted=_count(body.get("workers_wanted")) or 0,
        minimum=_count(body.get("minimum")),
        maximum=_count(body.get("maximum")),
        worker_cores=_count(body.get("worker_cores")) or 0,
        worker_memory=_count(body.get("worker_memory")) or 0,
        cores=_count(body.get("cores")) or 0,
        memory=_count(body.get("memory")) or 0,
        started=_time(body.get("started")),
        stopped=_time(body.get("stopped")),
        idle_seconds=_number(body.get("idle_seconds")),
        keep_hours=_number(body.get("keep_hours")) or 0.0,
        dashboard=dashboard if _DASHBOARD.fullmatch(dashboard) and "/.." not in dashboard else None,
    )


def _text(value: object, longest: int) -> str:
    """One line of visible characters."""
    if not isinstance(value, str):
        return ""
    return "".join(character if character.isprintable() else " " for character in value[:longest])


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= _LARGEST and math.isfinite(value) else None


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _time(value: object) -> datetime | None:
    """A moment in UTC from ISO 8601; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
