"""Builds as people look back at them: their own, for operators everybody's, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launcher.errors import BuildNotFound, LauncherError
from launcher.models import BuildId, BuildStatus, EnvironmentKey, Person, Username
from launcher.store import BuildFilter, BuildRow, Store

MOST = 200
"""Builds of one page."""
OPEN = (BuildStatus.WAITING, BuildStatus.RUNNING)


@dataclass(frozen=True)
class PastBuild:
    """A build, finished or not, in front of one person.

    number: grows with every build. spec: of who asked first, ``asked_by``. environment: what it makes or made.
    queue_position: builds in front of it while it waits, else None. may_cancel: this person can end it now.
    """

    row: BuildRow
    queue_position: int | None
    may_cancel: bool

    @property
    def error(self) -> LauncherError | None:
        """What it ended with, if that was an error."""
        return self.row.error

    @property
    def seconds(self) -> float | None:
        """How long it ran; None while it does not end."""
        if self.row.started is None or self.row.finished is None:
            return None
        return (self.row.finished - self.row.started).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """JSON values, times in ISO 8601."""
        row, error = self.row, self.row.error
        return {
            "id": row.id,
            "environment": row.environment_key,
            "status": row.status.value,
            "spec": row.spec,
            "asked_by": row.asked_by,
            "created": row.created.isoformat(),
            "started": row.started.isoformat() if row.started else None,
            "finished": row.finished.isoformat() if row.finished else None,
            "error": {"code": error.code, "message": error.message, "hint": error.hint} if error else None,
            "queue_position": self.queue_position,
            "may_cancel": self.may_cancel,
        }


@dataclass(frozen=True)
class BuildPage:
    """Builds, newest first; ``before`` asks for those that follow, None when there are no more."""

    builds: tuple[PastBuild, ...]
    before: int | None


class BuildHistory:
    """What people may know of builds: those they asked for or joined; operators all of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(
        self,
        person: Person,
        *,
        statuses: Sequence[BuildStatus] = (),
        text: str = "",
        before: int | None = None,
        limit: int = MOST,
        own: bool = False,
    ) -> BuildPage:
        """One page of builds, with the filters of `BuildFilter`. own: an operator's own only."""
        username: Username | None = person.name if own or not person.admin else None
        wanted = BuildFilter(tuple(statuses), username, text.strip())
        limit = max(1, min(limit, MOST))
        rows = self._store.builds_page(wanted, limit=limit + 1, before=before)
        shown = rows[:limit]
        queue = self._queue(shown)
        found = tuple(PastBuild(row, queue.get(row.id), _may_cancel(person, row)) for row in shown)
        return BuildPage(found, shown[-1].number if len(rows) > limit else None)

    def latest(self, person: Person, key: EnvironmentKey) -> PastBuild | None:
        """The newest build of an environment that this person may see, or None."""
        page = self.page(person, text=key, limit=1)
        return next((build for build in page.builds if build.row.environment_key == key), None)

    def one(self, person: Person, build_id: BuildId, *, shared: bool = False) -> PastBuild:
        """One build. shared: somebody who may see it showed it to this person. Raises BuildNotFound."""
        row = self._store.build(build_id)
        if row is None or not (shared or person.admin or self._store.asked_for_build(person.name, build_id)):
            raise BuildNotFound("There is no such build.", hint="It may be somebody else's, or older than the history.")
        return PastBuild(row, self._queue([row]).get(row.id), _may_cancel(person, row))

    def _queue(self, rows: Sequence[BuildRow]) -> dict[BuildId, int]:
        """Positions of all waiting builds, by one look; none is taken when none of ``rows`` waits."""
        if all(row.status is not BuildStatus.WAITING for row in rows):
            return {}
        return {build_id: position for position, build_id in enumerate(self._store.waiting_build_ids())}


def _may_cancel(person: Person, row: BuildRow) -> bool:
    return row.is_open and (person.admin or row.asked_by == person.name)
