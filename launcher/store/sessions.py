"""Calls about what people said and where their sessions belong."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from launcher.models import EnvironmentKey, HomeKind, RepositoryId, Resolved, ServerName, Username
from launcher.store.base import Calls
from launcher.store.rows import SessionRow, TrustRow
from launcher.store.schema import sessions, trust


class SessionCalls(Calls):
    """Calls about trust and sessions."""

    def trust_repository(self, username: Username, repository_id: RepositoryId) -> None:
        """Remember that the person calls this repository theirs. Again is fine."""
        statement = self._database.insert(trust).values(
            username=username, repository_id=repository_id, created=self._clock()
        )
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def untrust(self, username: Username, repository_id: RepositoryId) -> None:
        """Forget it. Nothing to forget is fine."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(trust).where(trust.c.username == username, trust.c.repository_id == repository_id)
            )

    def is_mine(self, username: Username, repository_id: RepositoryId) -> bool:
        """Whether this person said that this repository, spelled exactly so, is theirs."""
        query = sa.select(trust.c.username).where(trust.c.username == username, trust.c.repository_id == repository_id)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def list_trusted(self, username: Username) -> Sequence[TrustRow]:
        """The repositories a person called theirs, newest first."""
        query = (
            sa.select(trust).where(trust.c.username == username).order_by(trust.c.created.desc(), trust.c.repository_id)
        )
        with self._database.read() as connection:
            return [TrustRow(**row) for row in connection.execute(query).mappings()]

    def save_session(
        self,
        username: Username,
        server_name: ServerName,
        resolved: Resolved,
        *,
        environment_key: EnvironmentKey | None,
        home: HomeKind,
        size: str | None = None,
    ) -> SessionRow:
        """Record that a launch of this server begins, over what its last launch said."""
        now = self._clock()
        values = {
            "repository_id": resolved.repository.id,
            "display_name": resolved.repository.display_name,
            "spec": resolved.spec.path,
            "ref": resolved.ref,
            "persistent_spec": resolved.persistent_spec,
            "ref_url": resolved.ref_url,
            "environment_key": environment_key,
            "home": home,
            "last_launched": now,
            "size": size,
        }
        statement = self._database.insert(sessions).values(
            username=username, server_name=server_name, created=now, **values
        )
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["username", "server_name"], set_=values))
            query = sa.select(sessions).where(sessions.c.username == username, sessions.c.server_name == server_name)
            return SessionRow(**connection.execute(query).mappings().one())

    def session(self, username: Username, server_name: ServerName) -> SessionRow | None:
        """One session, or None when this person never launched it."""
        query = sa.select(sessions).where(sessions.c.username == username, sessions.c.server_name == server_name)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return SessionRow(**row) if row is not None else None

    def sessions_of(self, username: Username) -> Sequence[SessionRow]:
        """Every session of a person, last launched first."""
        query = (
            sa.select(sessions)
            .where(sessions.c.username == username)
            .order_by(sessions.c.last_launched.desc(), sessions.c.server_name)
        )
        with self._database.read() as connection:
            return [SessionRow(**row) for row in connection.execute(query).mappings()]
