"""How much somebody may have, counted as reservations: what was asked for, whether it runs already or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from launcher.dask.config import LIMIT_KINDS, DaskSettings, Limits
from launcher.errors import DaskLimitExceeded

_GIB = 2**30


@dataclass(frozen=True)
class Reservation:
    """What one live cluster holds. workers: asked for or still running, whichever is more. memory: bytes a worker."""

    cluster: str
    user: str
    groups: frozenset[str]
    workers: int
    worker_cores: int
    worker_memory: int

    @property
    def amounts(self) -> dict[str, int]:
        """Kind -> how much of it."""
        return {
            "clusters": 1,
            "workers": self.workers,
            "cores": self.workers * self.worker_cores,
            "memory": self.workers * self.worker_memory,
        }


def used(reservations: Iterable[Reservation]) -> dict[str, int]:
    """The sum of reservations, kind by kind."""
    total = dict.fromkeys(LIMIT_KINDS, 0)
    for reservation in reservations:
        for kind, amount in reservation.amounts.items():
            total[kind] += amount
    return total


def limits_of(groups: Iterable[str], settings: DaskSettings) -> dict[str, int]:
    """What one person in these groups may have: the most generous of what any of their groups says, kind by kind."""
    limits = dict(settings.user_limits)
    special = [settings.group_user_limits[group] for group in groups if group in settings.group_user_limits]
    for kind in LIMIT_KINDS:
        offers = [{**settings.user_limits, **one} for one in special]
        if any(kind not in offer for offer in offers):
            limits.pop(kind, None)
        elif offers:
            limits[kind] = max(offer[kind] for offer in offers)
    return limits


def require_room(wanted: Reservation, others: Iterable[Reservation], settings: DaskSettings) -> None:
    """Refuse a reservation that does not fit beside the others. Raises DaskLimitExceeded, naming the limit.

    ``others``: of all people, without the cluster that ``wanted`` is about.
    """
    others = list(others)
    mine = used(other for other in others if other.user == wanted.user)
    _check(wanted, mine, limits_of(wanted.groups, settings), "your limit is", "in your other clusters")
    for group in sorted(wanted.groups & settings.group_limits.keys()):
        theirs = used(other for other in others if group in other.groups)
        whose = f"the group {group} together may have"
        _check(wanted, theirs, settings.group_limits[group], whose, "in other clusters of the group")


def most_workers(of: Reservation, others: Iterable[Reservation], settings: DaskSettings) -> int | None:
    """How many workers of this size the cluster can have beside the others; None when nothing limits them."""
    others = list(others)
    rooms = [_room(limits_of(of.groups, settings), used(other for other in others if other.user == of.user))]
    rooms += [
        _room(settings.group_limits[group], used(other for other in others if group in other.groups))
        for group in of.groups & settings.group_limits.keys()
    ]
    sizes = {"workers": 1, "cores": of.worker_cores, "memory": of.worker_memory}
    fits = [max(0, room[kind]) // size for room in rooms for kind, size in sizes.items() if kind in room]
    return min(fits) if fits else None


def _room(limits: Limits, taken: Mapping[str, int]) -> dict[str, int]:
    return {kind: limit - taken[kind] for kind, limit in limits.items()}


def _check(wanted: Reservation, taken: Mapping[str, int], limits: Limits, whose: str, where: str) -> None:
    for kind, limit in limits.items():
        asked = wanted.amounts[kind]
        if asked and taken[kind] + asked > limit:
            elsewhere = f" ({_amount(kind, taken[kind])} {where})" if taken[kind] else ""
            raise DaskLimitExceeded(
                f"This needs {_amount(kind, asked)}, but {whose} {_amount(kind, limit)}{elsewhere}.",
                hint="Ask for less, or stop a cluster that you do not need any more.",
            )


def _amount(kind: str, amount: int) -> str:
    if kind == "memory":
        return f"{amount / _GIB:g} GiB of memory"
    return f"{amount} {kind.removesuffix('s') if amount == 1 else kind}"
