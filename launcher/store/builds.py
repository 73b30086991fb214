"""Calls about builds: the queue is these rows and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from launcher.errors import BuildCancelled, LauncherError, QueueFull
from launcher.models import BuildId, BuildStatus, BuiltEnvironment, EnvironmentKey, EnvironmentStatus, Recipe, Username
from launcher.store.base import Calls
from launcher.store.environments import failed_values, ready_values
from launcher.store.rows import OPEN_STATUSES, BuildRow
from launcher.store.schema import build_people, builds, environments

_is_open = builds.c.status.in_(OPEN_STATUSES)
_is_ready = environments.c.status == EnvironmentStatus.READY


def _row(mapping: RowMapping) -> BuildRow:
    return BuildRow(**mapping)


class BuildCalls(Calls):
    """Calls about builds."""

    def create_build(
        self,
        build_id: BuildId,
        key: EnvironmentKey,
        *,
        recipe: Recipe,
        fingerprint: str,
        spec: str,
        request: Mapping[str, Any],
        asked_by: Username,
        max_open: int,
        anew: bool = False,
    ) -> tuple[BuildRow, bool]:
        """Put a build in the queue, or join the open one of this environment; whether it was created.

        The environment becomes BUILDING in the same transaction; one that is made ``anew`` stays READY meanwhile.
        Raises QueueFull when ``max_open`` builds are open.
        """
        with self._database.write_queue() as connection:
            found = connection.execute(sa.select(builds).where(builds.c.environment_key == key, _is_open))
            joined = found.mappings().first()
            if joined is not None:
                self._join(connection, joined["number"], asked_by)
                return _row(joined), False
            waiting = connection.execute(sa.select(sa.func.count()).select_from(builds).where(_is_open)).scalar_one()
            if waiting >= max_open:
                raise QueueFull(
                    "Too many environments are being built already.", hint="Try again in a minute.", retry_after=60
                )
            self._environment_builds(connection, key, recipe, fingerprint, anew=anew)
            connection.execute(
                sa.insert(builds).values(
                    id=build_id,
                    environment_key=key,
                    status=BuildStatus.WAITING,
                    target=BuildStatus.SUCCEEDED,
                    asked_by=asked_by,
                    spec=spec,
                    request=dict(request),
                    created=self._clock(),
                )
            )
            created = connection.execute(sa.select(builds).where(builds.c.id == build_id)).mappings().one()
            self._join(connection, created["number"], asked_by)
            return _row(created), True

    def build(self, build_id: BuildId) -> BuildRow | None:
        """One build, or None."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(builds).where(builds.c.id == build_id)).mappings().first()
        return _row(row) if row is not None else None

    def open_build_for(self, key: EnvironmentKey) -> BuildRow | None:
        """The one build of this environment that waits or runs, or None."""
        with self._database.read() as connection:
            query = sa.select(builds).where(builds.c.environment_key == key, _is_open)
            row = connection.execute(query).mappings().first()
        return _row(row) if row is not None else None

    def builds_open(self) -> Sequence[BuildRow]:
        """Every build that waits or runs, oldest first."""
        with self._database.read() as connection:
            query = sa.select(builds).where(_is_open).order_by(builds.c.number)
            return [_row(row) for row in connection.execute(query).mappings()]

    def builds_waiting(self, limit: int) -> Sequence[BuildRow]:
        """The next builds to run, oldest first."""
        with self._database.read() as connection:
            query = (
                sa.select(builds).where(builds.c.status == BuildStatus.WAITING).order_by(builds.c.number).limit(limit)
            )
            return [_row(row) for row in connection.execute(query).mappings()]

    def waiting_build_ids(self) -> Sequence[BuildId]:
        """The whole queue, oldest first: a build's index is its position."""
        query = sa.select(builds.c.id).where(builds.c.status == BuildStatus.WAITING).order_by(builds.c.number)
        with self._database.read() as connection:
            return [BuildId(build_id) for build_id in connection.execute(query).scalars()]

    def builds_of(self, username: Username | None, limit: int = 100) -> Sequence[BuildRow]:
        """Builds this person asked for or joined, newest first; of everybody for None."""
        query = sa.select(builds).order_by(builds.c.number.desc()).limit(limit)
        if username is not None:
            query = query.join(build_people, build_people.c.build_number == builds.c.number).where(
                build_people.c.username == username
            )
        with self._database.read() as connection:
            return [_row(row) for row in connection.execute(query).mappings()]

    def asked_for_build(self, username: Username, build_id: BuildId) -> bool:
        """Whether this person asked for the build or joined it."""
        query = (
            sa.select(build_people.c.username)
            .join(builds, builds.c.number == build_people.c.build_number)
            .where(builds.c.id == build_id, build_people.c.username == username)
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def queue_position(self, build_id: BuildId) -> int:
        """How many older builds wait in front of a waiting build; 0 for the next one and for any that does not wait."""
        mine = sa.select(builds.c.number).where(builds.c.id == build_id, builds.c.status == BuildStatus.WAITING)
        query = (
            sa.select(sa.func.count())
            .select_from(builds)
            .where(builds.c.status == BuildStatus.WAITING, builds.c.number < mine.scalar_subquery())
        )
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def set_build_running(self, build_id: BuildId) -> BuildRow | None:
        """Claim a waiting build for a worker: its row, or None when it does not wait any more."""
        with self._database.write() as connection:
            taken = connection.execute(
                sa.update(builds)
                .where(builds.c.id == build_id, builds.c.status == BuildStatus.WAITING)
                .values(status=BuildStatus.RUNNING, started=sa.func.coalesce(builds.c.started, self._clock()))
            )
            if taken.rowcount != 1:
                return None
            return _row(connection.execute(sa.select(builds).where(builds.c.id == build_id)).mappings().one())

    def release_build(self, build_id: BuildId) -> None:
        """Put a running build back in the queue, because the service stops in an orderly way."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(builds)
                .where(builds.c.id == build_id, builds.c.status == BuildStatus.RUNNING)
                .values(status=BuildStatus.WAITING)
            )

    def requeue_interrupted_builds(self) -> Sequence[BuildRow]:
        """At boot: put back in the queue what ran when the service died, and count it; those builds, oldest first."""
        with self._database.write() as connection:
            ran = sa.select(builds.c.number).where(builds.c.status == BuildStatus.RUNNING).order_by(builds.c.number)
            numbers = list(connection.execute(ran).scalars())
            connection.execute(
                sa.update(builds)
                .where(builds.c.number.in_(numbers))
                .values(status=BuildStatus.WAITING, interruptions=builds.c.interruptions + 1)
            )
            query = sa.select(builds).where(builds.c.number.in_(numbers)).order_by(builds.c.number)
            return [_row(row) for row in connection.execute(query).mappings()]

    def set_build_target_cancelled(self, build_id: BuildId) -> BuildRow | None:
        """Want an open build to end; its row now (final when it was open no more), or None when there is none."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(builds).where(builds.c.id == build_id, _is_open).values(target=BuildStatus.CANCELLED)
            )
            row = connection.execute(sa.select(builds).where(builds.c.id == build_id)).mappings().first()
        return _row(row) if row is not None else None

    def set_build_finished(
        self, build_id: BuildId, outcome: BuiltEnvironment | LauncherError, *, log_bytes: int = 0
    ) -> BuildRow:
        """Record how an open build ended, and what that makes of its environment, in one transaction.

        outcome: what was built, or the error: BuildCancelled makes the build CANCELLED, any other FAILED.
        An environment that could be used all the time stays as it was when it could not be made anew.
        A build that ended before stays as it was. KeyError when there is no such build.
        """
        now = self._clock()
        values: dict[str, Any] = {"finished": now, "log_bytes": log_bytes}
        if isinstance(outcome, BuiltEnvironment):
            values |= {"status": BuildStatus.SUCCEEDED}
            same = environments.c.reference == outcome.reference
            sizes = {name: sa.case((same, environments.c[name]), else_=None) for name in ("own_bytes", "shared_bytes")}
            environment = {**ready_values(outcome, now), **sizes}
        else:
            cancelled = isinstance(outcome, BuildCancelled)
            values |= {
                "status": BuildStatus.CANCELLED if cancelled else BuildStatus.FAILED,
                "error_code": outcome.code,
                "error_message": outcome.message,
                "error_hint": outcome.hint,
            }
            environment = failed_values(outcome)
        query = sa.select(builds).where(builds.c.id == build_id)
        with self._database.write() as connection:
            if connection.execute(sa.update(builds).where(builds.c.id == build_id, _is_open).values(**values)).rowcount:
                key = sa.select(builds.c.environment_key).where(builds.c.id == build_id).scalar_subquery()
                one = sa.update(environments).where(environments.c.key == key)
                one = one if isinstance(outcome, BuiltEnvironment) else one.where(~_is_ready)
                connection.execute(one.values(**environment))
            row = connection.execute(query).mappings().first()
        if row is None:
            raise KeyError(build_id)
        return _row(row)

    def _environment_builds(
        self, connection: Connection, key: EnvironmentKey, recipe: Recipe, fingerprint: str, *, anew: bool
    ) -> None:
        now = self._clock()
        values: dict[str, Any] = {
            "kind": recipe.kind.value,
            "summary": recipe.summary,
            "fingerprint": fingerprint,
            "status": EnvironmentStatus.BUILDING,
            "last_used": now,
            "error_code": None,
            "error_message": None,
        }
        statement = self._database.insert(environments).values(key=key, created=now, **values)
        if anew:
            values["status"] = sa.case((_is_ready, EnvironmentStatus.READY), else_=EnvironmentStatus.BUILDING)
        connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))

    def _join(self, connection: Connection, number: int, username: Username) -> None:
        statement = self._database.insert(build_people).values(username=username, build_number=number)
        connection.execute(statement.on_conflict_do_nothing())
