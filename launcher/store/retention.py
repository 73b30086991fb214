"""Calls about what stays: who used which environment when, what goes, and the list of all for operators."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from launcher.models import BuildId, EnvironmentKey, EnvironmentSize, EnvironmentStatus, Username
from launcher.store.base import Calls
from launcher.store.rows import OPEN_STATUSES, ArtefactUse, EnvironmentRow, ListedEnvironment
from launcher.store.schema import build_people, builds, environments, sessions, tickets

_AT_ONCE = 500  # values in one statement; databases have a limit
_is_open = builds.c.status.in_(OPEN_STATUSES)
_being_built = sa.exists().where(builds.c.environment_key == environments.c.key, _is_open)


class RetentionCalls(Calls):
    """Calls about what stays and what goes."""

    def environments_page(
        self,
        *,
        search: str = "",
        username: Username | None = None,
        after: tuple[datetime, EnvironmentKey] | None = None,
        limit: int = 100,
    ) -> Sequence[ListedEnvironment]:
        """Environments, last used first: at most ``limit`` of those behind ``after``, the last one of a page before.

        search: a part of the spec of one of its builds, of its recipe's summary or kind, or the beginning of its key.
        username: only those that a session of this person was last launched with, or that they had built.
        """
        newest = (
            sa.select(builds.c.spec)
            .where(builds.c.environment_key == environments.c.key)
            .order_by(builds.c.number.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = sa.select(environments, newest.label("spec"), _being_built.label("building")).where(
            _matches(search), _of(username)
        )
        if after is not None:
            used, key = after
            query = query.where(
                (environments.c.last_used < used) | ((environments.c.last_used == used) & (environments.c.key < key))
            )
        query = query.order_by(environments.c.last_used.desc(), environments.c.key.desc()).limit(limit)
        with self._database.read() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        return [
            ListedEnvironment(spec=row.pop("spec"), building=bool(row.pop("building")), row=EnvironmentRow(**row))
            for row in rows
        ]

    def count_environments(self, *, search: str = "", username: Username | None = None) -> int:
        """How many environments `environments_page` would list on all pages."""
        query = sa.select(sa.func.count()).select_from(environments).where(_matches(search), _of(username))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one()

    def pin_environment(self, key: EnvironmentKey, *, pinned: bool) -> bool:
        """Keep an environment whatever its age and the room on the disk, or no longer; False when there is none."""
        values: dict[str, object] = {"pinned": pinned, **({"removal_asked": None} if pinned else {})}
        with self._database.write() as connection:
            update = sa.update(environments).where(environments.c.key == key).values(**values)
            return connection.execute(update).rowcount > 0

    def ask_removal(self, key: EnvironmentKey) -> bool:
        """Want an environment gone; False when there is none, it is pinned, or a build of it is open."""
        query = sa.update(environments).where(environments.c.key == key, ~environments.c.pinned, ~_being_built)
        with self._database.write_queue() as connection:
            return connection.execute(query.values(removal_asked=self._clock())).rowcount > 0

    def removals_asked(self) -> Sequence[EnvironmentRow]:
        """Environments that somebody wants gone, the oldest wish first."""
        query = sa.select(environments).where(environments.c.removal_asked.is_not(None))
        with self._database.read() as connection:
            found = connection.execute(query.order_by(environments.c.removal_asked, environments.c.key)).mappings()
            return [EnvironmentRow(**row) for row in found]

    def forget_asked(self, key: EnvironmentKey) -> bool:
        """Drop the row of an environment that somebody wants gone, and its builds; False when that is over.

        Used, pinned or built since the wish: then the wish is dropped instead.
        """
        one = environments.c.key == key
        unwanted = (environments.c.last_used <= environments.c.removal_asked) & ~environments.c.pinned & ~_being_built
        with self._database.write_queue() as connection:
            if connection.execute(sa.select(environments.c.key).where(one, unwanted)).first() is None:
                connection.execute(sa.update(environments).where(one).values(removal_asked=None))
                return False
            _forget(connection, [key])
            return True

    def artefacts(self) -> Sequence[ArtefactUse]:
        """Every artefact that a row names, the one that was unused for longest first."""
        used = sa.func.max(environments.c.last_used, type_=environments.c.last_used.type)
        query = (
            sa.select(
                environments.c.reference,
                used.label("last_used"),
                sa.func.max(sa.case((environments.c.pinned, 1), else_=0)).label("pinned"),
                sa.func.max(sa.case((_being_built, 1), else_=0)).label("building"),
            )
            .where(environments.c.reference.is_not(None))
            .group_by(environments.c.reference)
            .order_by(used, environments.c.reference)
        )
        with self._database.read() as connection:
            return [
                ArtefactUse(row["reference"], row["last_used"], bool(row["pinned"]), bool(row["building"]))
                for row in connection.execute(query).mappings()
            ]

    def forget_artefact(self, reference: str, unused_since: datetime) -> bool:
        """Drop every row that names an artefact, with the history of its builds, before the artefact goes.

        All or none: False when one of them is pinned, was used after ``unused_since``, or is being built.
        """
        named = environments.c.reference == reference
        wanted = environments.c.pinned | (environments.c.last_used > unused_since) | _being_built
        with self._database.write_queue() as connection:
            if connection.execute(sa.select(environments.c.key).where(named, wanted)).first() is not None:
                return False
            _forget(connection, list(connection.execute(sa.select(environments.c.key).where(named)).scalars()))
            return True

    def forget_failed_environments(self, before: datetime) -> int:
        """Drop rows of environments that never were, or are no more, and were last asked for before a moment; how many.

        Those with builds in the history stay until `forget_builds` has forgotten these.
        """
        has_builds = sa.exists().where(builds.c.environment_key == environments.c.key)
        gone = (environments.c.status == EnvironmentStatus.FAILED) & (environments.c.last_used < before) & ~has_builds
        with self._database.write_queue() as connection:
            return connection.execute(sa.delete(environments).where(gone)).rowcount

    def touch_artefacts(self, references: Collection[str], now: datetime | None = None) -> None:
        """Remember that artefacts are in use just now; those that somebody wants gone still go when they are not."""
        now = now or self._clock()
        with self._database.write() as connection:
            for some in _portions(references):
                named = environments.c.reference.in_(some) & (environments.c.last_used < now)
                named &= environments.c.removal_asked.is_(None)
                connection.execute(sa.update(environments).where(named).values(last_used=now))

    def unmeasured_artefacts(self) -> frozenset[str]:
        """Artefacts of ready environments whose size nobody measured."""
        query = sa.select(environments.c.reference).where(
            environments.c.status == EnvironmentStatus.READY,
            environments.c.reference.is_not(None),
            environments.c.own_bytes.is_(None),
        )
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())

    def save_sizes(self, sizes: Mapping[str, EnvironmentSize]) -> None:
        """Record what artefacts take, for every row that names them."""
        with self._database.write() as connection:
            for reference, size in sizes.items():
                values = {"own_bytes": size.own_bytes, "shared_bytes": size.shared_bytes}
                named = environments.c.reference == reference
                connection.execute(sa.update(environments).where(named).values(**values))

    def expired_builds(self, before: datetime) -> Sequence[BuildId]:
        """Builds that ended before a moment; the newest one of an environment that is ready stays in its history."""
        others = builds.alias()
        newest = sa.select(sa.func.max(others.c.number)).group_by(others.c.environment_key)
        kept = (environments.c.status == EnvironmentStatus.READY) & builds.c.number.in_(newest)
        query = (
            sa.select(builds.c.id)
            .join(environments, environments.c.key == builds.c.environment_key)
            .where(~_is_open, builds.c.finished < before, ~kept)
            .order_by(builds.c.number)
        )
        with self._database.read() as connection:
            return [BuildId(build_id) for build_id in connection.execute(query).scalars()]

    def forget_builds(self, build_ids: Collection[BuildId]) -> None:
        """Drop builds that are over from the history. Open or unknown ones stay as they are."""
        with self._database.write() as connection:
            for some in _portions(build_ids):
                connection.execute(sa.delete(builds).where(builds.c.id.in_(some), ~_is_open))

    def known_builds(self, build_ids: Collection[str]) -> frozenset[str]:
        """Those of the ids that are builds in the history."""
        found: set[str] = set()
        with self._database.read() as connection:
            for some in _portions(build_ids):
                found |= set(connection.execute(sa.select(builds.c.id).where(builds.c.id.in_(some))).scalars())
        return frozenset(found)

    def artefacts_of_tickets(self, *, redeemed_after: datetime, now: datetime | None = None) -> frozenset[str]:
        """Artefacts that sessions are about to start with: of tickets that are still good, or redeemed a moment ago."""
        open_or_fresh = tickets.c.redeemed_at.is_(None) | (tickets.c.redeemed_at > redeemed_after)
        query = sa.select(tickets.c.plan).where(tickets.c.expires > (now or self._clock()), open_or_fresh)
        with self._database.read() as connection:
            plans = connection.execute(query).scalars()
            return frozenset(plan["environment"] for plan in plans if plan.get("environment"))


def _matches(search: str) -> sa.ColumnElement[bool]:
    """The condition of a search; no words match everything."""
    words = search.strip()
    if not words:
        return sa.true()
    spec = sa.exists().where(
        builds.c.environment_key == environments.c.key, builds.c.spec.icontains(words, autoescape=True)
    )
    return sa.or_(
        environments.c.key.startswith(words.lower(), autoescape=True),
        environments.c.summary.icontains(words, autoescape=True),
        environments.c.kind.icontains(words, autoescape=True),
        spec,
    )


def _of(username: Username | None) -> sa.ColumnElement[bool]:
    """The condition that an environment has to do with somebody; None is everybody."""
    if username is None:
        return sa.true()
    launched = sa.select(sessions.c.environment_key).where(
        sessions.c.username == username, sessions.c.environment_key.is_not(None)
    )
    built = (
        sa.select(builds.c.environment_key)
        .join(build_people, build_people.c.build_number == builds.c.number)
        .where(build_people.c.username == username)
    )
    return environments.c.key.in_(launched.union(built))


def _forget(connection: Connection, keys: Sequence[str]) -> None:
    """Delete rows of environments and of their builds, none of which is open."""
    for some in _portions(keys):
        connection.execute(sa.delete(builds).where(builds.c.environment_key.in_(some)))
        connection.execute(sa.delete(environments).where(environments.c.key.in_(some)))


def _portions(values: Collection[str]) -> Iterator[list[str]]:
    every = list(values)
    return (every[start : start + _AT_ONCE] for start in range(0, len(every), _AT_ONCE))
