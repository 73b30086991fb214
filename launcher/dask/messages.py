"""What persons and schedulers say to the gateway, read with suspicion: a scheduler runs a person's own code."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dask_gateway_server.backends.db_base import JobStatus

from launcher.dask.limits import Reservation

_WORKER = re.compile(r"[0-9a-f]{32}")
_ADDRESSES = {
    "scheduler_address": re.compile(r"tls://127\.0\.0\.1:([0-9]{1,5})"),
    "dashboard_address": re.compile(r"(?:http://127\.0\.0\.1:([0-9]{1,5}))?"),
    "api_address": re.compile(r"http://127\.0\.0\.1:([0-9]{1,5})"),
}
_LISTS = ("active_workers", "closing_workers", "closed_workers")


@dataclass(frozen=True)
class Wish:
    """How many workers a person wants of a cluster: a number, or adaptively between two.

    reserved: what is set aside for it. message: what the scheduler is told.
    """

    reserved: int
    minimum: int | None
    maximum: int | None
    message: dict[str, Any]

    def to_state(self) -> dict[str, Any]:
        """What a row keeps of it."""
        return {"reserved": self.reserved, "minimum": self.minimum, "maximum": self.maximum}


def wishes_of(cluster: Any) -> Wish:
    """What was wished last, from the cluster's row."""
    state = cluster.state
    return Wish(int(state.get("reserved", 0)), state.get("minimum"), state.get("maximum"), {})


def read_wish(message: dict[str, Any], *, before: Wish, most: int | None) -> Wish:
    """The wish in an upstream message. ``most``: workers that can be had, the upper end when none is named.

    Raises ValueError with a sentence.
    """
    if message.get("op") == "scale":
        count = _count("The number of workers", message.get("count"))
        return Wish(count, None, None, {"op": "scale", "count": count})
    if not message.get("active", True):
        # what runs stays, the scheduler only stops changing it
        return Wish(before.reserved, None, None, {"op": "adapt", "active": False})
    minimum = 0 if message.get("minimum") is None else _count("minimum", message["minimum"])
    named = message.get("maximum")
    maximum = most if named is None else _count("maximum", named)
    if maximum is None:
        raise ValueError("This hub sets no limit to the number of workers, so adapt() needs a maximum.")
    if minimum > maximum:
        raise ValueError(f"minimum is {minimum} workers, more than maximum, which is {maximum}.")
    told = {"op": "adapt", "minimum": minimum, "maximum": maximum, "active": True}
    return Wish(maximum, minimum, maximum, told)


def _count(what: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{what} must be a whole number of at least 0, not {str(value)[:40]!r}.")
    return value


def why_given_up(cluster: Any, worker_start_failure_limit: int) -> str:
    """A sentence for an end for which upstream has none."""
    if cluster.worker_start_failure_count >= worker_start_failure_limit:
        return "Its workers could not be started; their logs say why."
    if cluster.status < JobStatus.RUNNING:
        return "It did not start in time; the scheduler's log may say why."
    return "Its scheduler was not heard of any more."


def sized(reservation: Reservation, workers: int) -> Reservation:
    """The same cluster with another number of workers."""
    return replace(reservation, workers=workers)


def read_heartbeat(message: dict[str, Any], *, most_workers: int, is_its_port: Callable[[int], bool]) -> dict[str, Any]:
    """A heartbeat that says no more than it may: addresses on our loopback, names of workers, a count in bounds.

    ``is_its_port``: whether a port can be the cluster's. What it names is connected to, from where we are.
    Raises ValueError, KeyError or TypeError when it is none.
    """
    clean: dict[str, Any] = {}
    for name, pattern in _ADDRESSES.items():
        address = pattern.fullmatch(message[name])
        if address is None or not (address[1] is None or is_its_port(int(address[1]))):
            raise ValueError(name)
        clean[name] = message[name]
    clean["count"] = min(_count("count", message["count"]), most_workers)
    for name in _LISTS:
        clean[name] = [worker for worker in message[name] if isinstance(worker, str) and _WORKER.fullmatch(worker)]
    return clean
