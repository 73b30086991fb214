"""Starts under way: who asks for the same thing joins it, and everybody hears all of it from the beginning."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

import structlog

from launcher.builds import BuildQueue
from launcher.builds.records import LogRecord
from launcher.errors import LauncherError
from launcher.models import BuildId
from launcher.sessions.base import LaunchEvent, LogBatch
from launcher.sessions.tasks import LaunchTask, Say

log = structlog.get_logger(__name__)


class Start(Protocol):
    """One start of something."""

    async def run(self, say: Say) -> None:
        """Go all the way, or raise a LauncherError."""


Kind = TypeVar("Kind", bound=Start)


@dataclass(frozen=True)
class Flight(Generic[Kind]):
    """A start and the task in which it goes on, whether anybody listens or not."""

    start: Kind
    task: LaunchTask


class Flights:
    """Starts by what makes two of them the same."""

    def __init__(self, builds: BuildQueue) -> None:
        self._builds = builds
        self._flights: dict[Hashable, Flight[Any]] = {}
        self._batches: WeakValueDictionary[int, LogBatch] = WeakValueDictionary()

    def join(self, key: Hashable, make: Callable[[], Kind], *, anew: bool = False) -> Flight[Kind]:
        """The start of this key that goes on already, or a new one. ``anew``: a new one in any case.

        Starts of different kinds have different keys.
        """
        known = self._flights.get(key)
        if known is not None and not known.task.over and not anew:
            return known
        start = make()
        flight = Flight(start, LaunchTask(start.run))
        self._flights[key] = flight
        flight.task.task.add_done_callback(lambda _: self._forget(key, flight))
        return flight

    def forget_waiting(self, build_id: BuildId) -> None:
        """Let nobody join what waits for this build any more: the next click is a new start, no listener of its end."""
        for key, flight in list(self._flights.items()):
            if flight.task.waits_for(build_id):
                self._forget(key, flight)

    def _forget(self, key: Hashable, flight: Flight[Any]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def tell(
        self, flight: Flight[Kind], after: str | None, ready: Callable[[Kind], Awaitable[LaunchEvent]]
    ) -> AsyncIterator[LaunchEvent | LogBatch]:
        """All of it, logs of builds from the event ``after``; the last one is what ``ready`` gives, or ``failed``."""
        seen = _position(after)
        async for item in flight.task.listen():
            if isinstance(item, LaunchEvent):
                if seen is None or item.phase != "waiting":  # who has seen lines of a build knows that it waited
                    yield item
                continue
            start = seen[1] if seen is not None and seen[0] == item else 0
            async for batch in self.log(item, start, follow=True):
                yield batch
        try:
            await flight.task.result()
            last = await ready(flight.start)
        except Exception as error:  # noqa: BLE001 - the stream's promise: it ends with ready or failed
            last = failure(error, secrets.token_hex(6))
        yield last

    async def log(self, build_id: BuildId, after: int, *, follow: bool) -> AsyncIterator[LogBatch]:
        """The log of a build from a byte on; without ``follow`` what there is now."""
        end = None if follow else self._builds.log_size(build_id)
        if end is not None and end <= after:
            return
        async with aclosing(self._builds.watch_batches(build_id, after)) as batches:
            async for records in batches:
                if end is None or records[-1].id < end:
                    yield self._batch(build_id, records)
                    continue
                if until_end := tuple(record for record in records if record.id <= end):
                    yield LogBatch(build_id, until_end)
                return

    def _batch(self, build_id: BuildId, records: tuple[LogRecord, ...]) -> LogBatch:
        """The one batch of a tuple of records, as long as any listener holds it."""
        batch = self._batches.get(id(records))
        if batch is None or batch.records is not records:
            batch = self._batches[id(records)] = LogBatch(build_id, records)
        return batch


def failure(error: BaseException, error_id: str) -> LaunchEvent:
    """The failed event of an error; what is not for people goes to the log under ``error_id``."""
    if isinstance(error, LauncherError):
        data: dict[str, Any] = {"code": error.code, "hint": error.hint, "status_code": error.http_status}
        if error.retry_after is not None:
            data["retry_after"] = error.retry_after
        if error.field:
            data["field"] = error.field
        return LaunchEvent("failed", error.message + "\n", data)
    log.error("launch.failed", error_id=error_id, exc_info=error)
    hint = f"Tell the people who run this hub, with the number {error_id}."
    data = {"code": LauncherError.code, "hint": hint, "status_code": LauncherError.http_status}
    return LaunchEvent("failed", "Something went wrong inside the launcher.\n", data)


def _position(after: str | None) -> tuple[str, int] | None:
    """``<build id>:<byte offset>`` taken apart; None for anything else."""
    build, colon, offset = (after or "").rpartition(":")
    return (build, int(offset)) if colon and offset.isdigit() else None
