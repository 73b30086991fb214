"""Calls that look back: builds page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import sqlalchemy as sa

from launcher.models import BuildId, BuildStatus, EnvironmentKey, Username
from launcher.store.base import Calls
from launcher.store.rows import BuildRow
from launcher.store.schema import build_people, builds, environments, sessions


@dataclass(frozen=True)
class BuildFilter:
    """Which builds are meant.

    statuses: any of them; empty means all. username: who asked for it or joined; None means anybody.
    text: is somewhere in the spec or in the name of who asked first, whatever its case, or begins the environment's
    key; "" means all.
    """

    statuses: tuple[BuildStatus, ...] = ()
    username: Username | None = None
    text: str = ""


class HistoryCalls(Calls):
    """Calls about what was."""

    def builds_page(self, wanted: BuildFilter, *, limit: int, before: int | None = None) -> Sequence[BuildRow]:
        """At most ``limit`` builds, newest first; only those with a smaller number than ``before``, when it is given.

        The page after a page is asked for with the number of its last build, so that new builds move nothing.
        """
        number: sa.Column[int] = builds.c.number
        query = sa.select(builds)
        if wanted.username is not None:
            # ordered by the index of this person's builds, so that others' builds are never looked at
            number = build_people.c.build_number
            query = query.join(build_people, number == builds.c.number)
            query = query.where(build_people.c.username == wanted.username)
        if before is not None:
            query = query.where(number < before)
        if wanted.statuses:
            query = query.where(builds.c.status.in_(wanted.statuses))
        if wanted.text:
            query = query.where(_says(wanted.text))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(number.desc()).limit(limit))
            return [BuildRow(**row) for row in found.mappings()]

    def newest_builds(self, keys: Sequence[EnvironmentKey]) -> Mapping[EnvironmentKey, BuildId]:
        """The newest build of each environment, of the few that are asked for."""
        newest = (
            sa.select(sa.func.max(builds.c.number))
            .where(builds.c.environment_key.in_(keys))
            .group_by(builds.c.environment_key)
        )
        query = sa.select(builds.c.environment_key, builds.c.id).where(builds.c.number.in_(newest))
        with self._database.read() as connection:
            return {EnvironmentKey(row.environment_key): BuildId(row.id) for row in connection.execute(query)}

    def users_of(self, keys: Sequence[EnvironmentKey]) -> Mapping[EnvironmentKey, Sequence[Username]]:
        """Who last launched a session with each environment, of the few that are asked for."""
        query = (
            sa.select(sessions.c.environment_key, sessions.c.username)
            .where(sessions.c.environment_key.in_(keys))
            .distinct()
            .order_by(sessions.c.username)
        )
        found: dict[EnvironmentKey, list[Username]] = {}
        with self._database.read() as connection:
            for row in connection.execute(query):
                found.setdefault(EnvironmentKey(row.environment_key), []).append(Username(row.username))
        return found

    def people_of(self, keys: Sequence[EnvironmentKey]) -> Mapping[EnvironmentKey, frozenset[Username]]:
        """Whose each environment is, of the few that are asked for: who last launched with it, or had it built."""
        built = (
            sa.select(builds.c.environment_key, build_people.c.username)
            .join(builds, builds.c.number == build_people.c.build_number)
            .where(builds.c.environment_key.in_(keys))
            .distinct()
        )
        people = {key: set(users) for key, users in self.users_of(keys).items()}
        with self._database.read() as connection:
            for row in connection.execute(built):
                people.setdefault(EnvironmentKey(row.environment_key), set()).add(Username(row.username))
        return {key: frozenset(users) for key, users in people.items()}

    def last_build_seconds(self, kind: str, limit: int = 20) -> list[float]:
        """How long the last builds of one kind of recipe took that went well, newest first."""
        query = (
            sa.select(builds.c.started, builds.c.finished)
            .join(environments, environments.c.key == builds.c.environment_key)
            .where(environments.c.kind == kind, builds.c.status == BuildStatus.SUCCEEDED, builds.c.started.is_not(None))
            .order_by(builds.c.number.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(row.finished - row.started).total_seconds() for row in connection.execute(query)]


def _says(text: str) -> sa.ColumnElement[bool]:
    """Whether a build has to do with what somebody typed; specs are percent-encoded, people are not."""
    return sa.or_(
        builds.c.spec.icontains(text, autoescape=True),
        builds.c.spec.icontains(quote(text, safe=""), autoescape=True),
        builds.c.asked_by.icontains(text, autoescape=True),
        builds.c.environment_key.startswith(text.lower(), autoescape=True),
    )
