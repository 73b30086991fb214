"""Calls about environments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from launcher.errors import LauncherError
from launcher.models import BuildStatus, BuiltEnvironment, EnvironmentKey, EnvironmentStatus
from launcher.store.base import Calls
from launcher.store.rows import EnvironmentRow
from launcher.store.schema import builds, environments


class EnvironmentCalls(Calls):
    """Calls about environments."""

    def environment(self, key: EnvironmentKey) -> EnvironmentRow | None:
        """The environment of a key, whatever its status; None when it was never asked for."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(environments).where(environments.c.key == key)).mappings().first()
        return EnvironmentRow(**row) if row is not None else None

    def touch_environment(self, key: EnvironmentKey, now: datetime | None = None) -> bool:
        """Remember that the environment was used just now, never back in time; False when there is none any more."""
        now = now or self._clock()
        later = sa.case((environments.c.last_used < now, now), else_=environments.c.last_used)
        with self._database.write() as connection:
            touched = sa.update(environments).where(environments.c.key == key).values(last_used=later)
            return connection.execute(touched).rowcount > 0

    def save_environment_ready(
        self, key: EnvironmentKey, built: BuiltEnvironment, *, kind: str, summary: str, fingerprint: str
    ) -> EnvironmentRow:
        """Record an environment that exists, known before or not (builds do this themselves when they finish)."""
        now = self._clock()
        values = {"kind": kind, "summary": summary, "fingerprint": fingerprint, **ready_values(built, now)}
        with self._database.write() as connection:
            statement = self._database.insert(environments).values(key=key, created=now, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))
            return one_environment(connection, key)

    def save_environment_failed(self, key: EnvironmentKey, error: LauncherError) -> None:
        """Record that an environment cannot be used, and why: its artefact is gone or was found damaged."""
        with self._database.write() as connection:
            connection.execute(sa.update(environments).where(environments.c.key == key).values(**failed_values(error)))

    def forget_environment(self, key: EnvironmentKey) -> bool:
        """Drop an environment's row and the history of its builds; False when it is building or not there."""
        is_open = builds.c.status.in_([BuildStatus.WAITING, BuildStatus.RUNNING])
        with self._database.write_queue() as connection:
            if connection.execute(sa.select(builds.c.id).where(builds.c.environment_key == key, is_open)).first():
                return False
            connection.execute(sa.delete(builds).where(builds.c.environment_key == key))
            return connection.execute(sa.delete(environments).where(environments.c.key == key)).rowcount > 0

    def list_environments(self, limit: int = 100, after: EnvironmentKey | None = None) -> Sequence[EnvironmentRow]:
        """Environments by key, at most ``limit`` of those that follow ``after``: the page after a page's last key."""
        query = sa.select(environments).order_by(environments.c.key).limit(limit)
        if after is not None:
            query = query.where(environments.c.key > after)
        with self._database.read() as connection:
            return [EnvironmentRow(**row) for row in connection.execute(query).mappings()]

    def environments_with_reference(self, reference: str) -> Sequence[EnvironmentRow]:
        """The ready environments that share one artefact."""
        query = (
            sa.select(environments)
            .where(environments.c.reference == reference, environments.c.status == EnvironmentStatus.READY)
            .order_by(environments.c.key)
        )
        with self._database.read() as connection:
            return [EnvironmentRow(**row) for row in connection.execute(query).mappings()]


def one_environment(connection: Connection, key: EnvironmentKey) -> EnvironmentRow:
    """The environment of a key that is known to be there."""
    return EnvironmentRow(
        **connection.execute(sa.select(environments).where(environments.c.key == key)).mappings().one()
    )


def ready_values(built: BuiltEnvironment, now: datetime) -> dict[str, object]:
    """The columns of an environment that exists."""
    return {
        "status": EnvironmentStatus.READY,
        "lock": built.lock,
        "reference": built.reference,
        "mode": built.mode,
        "python": built.python,
        "size_bytes": built.size_bytes,
        "last_used": now,
        "error_code": None,
        "error_message": None,
    }


def failed_values(error: LauncherError) -> dict[str, object]:
    """The columns of an environment that could not be made."""
    return {"status": EnvironmentStatus.FAILED, "error_code": error.code, "error_message": error.message}
