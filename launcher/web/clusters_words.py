"""Amounts and times of clusters in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from launcher.dask.config import LIMIT_KINDS
from launcher.sessions.clusters import Cluster

_GIB = 2**30
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_BUSY_SECONDS = 5
_SHORT = 12
_KIND_OF_TAG = {"running": "good", "failed": "bad"}


def duration(seconds: float) -> str:
    """How long, roughly: ``5 minutes``."""
    if seconds < _MINUTE:
        return "less than a minute"
    if seconds < _HOUR:
        return _counted(int(seconds // _MINUTE), "minute")
    if seconds < 2 * _DAY:
        return _counted(round(seconds / _HOUR), "hour")
    return _counted(round(seconds / _DAY), "day")


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def exact(moment: datetime) -> str:
    """A moment for those who want to know: ``2026-01-31 12:00:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def memory(amount: int) -> str:
    """Bytes as GiB, without needless digits."""
    return f"{amount / _GIB:.4g} GiB"


def workers(cluster: Cluster) -> str:
    """How many there are, and how many there should be."""
    return f"{cluster.workers} of {cluster.workers_wanted}"


def adaptive(cluster: Cluster) -> str:
    """Between which numbers its workers come and go; "" when it has a fixed number."""
    if cluster.minimum is None or cluster.maximum is None:
        return ""
    return f"adaptive, {cluster.minimum} to {cluster.maximum}"


def size_of_workers(cluster: Cluster) -> str:
    """What one worker has."""
    return f"{_counted(cluster.worker_cores, 'core')} and {memory(cluster.worker_memory)}"


def age(cluster: Cluster, now: datetime) -> str:
    """How long it has been there, or was."""
    if cluster.started is None:
        return "unknown"
    return duration(((cluster.stopped or now) - cluster.started).total_seconds())


def idle(cluster: Cluster) -> str:
    """For how long it had nothing to do."""
    if cluster.idle_seconds is None:
        return "unknown"
    return "no" if cluster.idle_seconds < _BUSY_SECONDS else duration(cluster.idle_seconds)


def short_environment(cluster: Cluster) -> str:
    """The first characters of an environment's id, as people see them elsewhere."""
    return cluster.environment[:_SHORT]


def kind_of_tag(cluster: Cluster) -> str:
    """The look of its status."""
    return _KIND_OF_TAG.get(cluster.status, "note")


def process_name(process: str) -> str:
    """What people call a process that has a log."""
    names = {"scheduler": "Scheduler", "nursery": "Start of processes"}
    return names.get(process, f"Worker {process[:8]}")


def usage(limits: Mapping[str, int], used: Mapping[str, int]) -> list[tuple[str, str]]:
    """What somebody has of what they may have, kind by kind."""
    return [(kind.capitalize(), _share(kind, used.get(kind, 0), limits.get(kind))) for kind in LIMIT_KINDS]


def _share(kind: str, have: int, most: int | None) -> str:
    said = [memory(amount) if kind == "memory" else str(amount) for amount in (have, most or 0)]
    return f"{said[0]} of {said[1]}" if most is not None else f"{said[0]}, no limit"
