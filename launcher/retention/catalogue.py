"""Environments for people: the list with what each takes; for operators keeping one and removing one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from launcher.errors import BadRequest, EnvironmentInUse, EnvironmentNotFound, NotAllowed
from launcher.models import BuildId, EnvironmentKey, Person, Username
from launcher.retention.collector import Collector
from launcher.store import EnvironmentRow, ListedEnvironment, Store

MOST = 200
"""Environments of one page."""


@dataclass(frozen=True)
class KnownEnvironment:
    """An environment in the list.

    in_use: a session runs in it or starts with it. build: the newest one, while the history has it.
    used_by: people whose last launch of a session was with it; for admins only, else empty.
    """

    listed: ListedEnvironment
    in_use: bool
    build: BuildId | None = None
    used_by: Sequence[Username] = ()

    @property
    def row(self) -> EnvironmentRow:
        """What the store knows of it."""
        return self.listed.row

    def to_json(self) -> dict[str, Any]:
        """JSON values, times in ISO 8601, sizes in bytes (None until they were measured)."""
        row = self.row
        return {
            "key": row.key,
            "reference": row.reference,
            "status": row.status.value,
            "kind": row.kind,
            "summary": row.summary,
            "spec": self.listed.spec,
            "mode": row.mode.value if row.mode is not None else None,
            "python": row.python,
            "own_bytes": row.own_bytes,
            "shared_bytes": row.shared_bytes,
            "created": row.created.isoformat(),
            "last_used": row.last_used.isoformat(),
            "pinned": row.pinned,
            "building": self.listed.building,
            "in_use": self.in_use,
            "removing": row.removal_asked is not None,
            "build": self.build,
            "used_by": list(self.used_by),
            "error": {"code": row.error_code, "message": row.error_message} if row.error_code else None,
        }


@dataclass(frozen=True)
class EnvironmentPage:
    """Some environments, the last used first. total: on all pages. following: ask for the next page with it."""

    environments: Sequence[KnownEnvironment]
    total: int
    following: str | None


class EnvironmentCatalogue:
    """Environments for people: everybody sees those they used or had built, admins all; only admins change them."""

    def __init__(self, store: Store, collector: Collector) -> None:
        self._store = store
        self._collector = collector

    async def page(
        self, person: Person, *, search: str = "", after: str | None = None, limit: int = 50
    ) -> EnvironmentPage:
        """A page of the environments that match a search. Raises BadRequest for an odd ``after``."""
        username = None if person.admin else person.name
        limit = min(max(limit, 1), MOST)
        position = _position(after) if after else None
        found = self._store.environments_page(search=search, username=username, after=position, limit=limit + 1)
        in_use = await self._collector.in_use()
        keys = [listed.row.key for listed in found[:limit]]
        newest, users = self._store.newest_builds(keys), self._store.users_of(keys) if person.admin else {}
        page = [
            KnownEnvironment(one, one.row.reference in in_use, newest.get(one.row.key), users.get(one.row.key, ()))
            for one in found[:limit]
        ]
        following = _cursor(page[-1].row) if len(found) > limit else None
        return EnvironmentPage(page, self._store.count_environments(search=search, username=username), following)

    async def pin(self, person: Person, key: EnvironmentKey, *, pinned: bool) -> None:
        """Keep an environment whatever its age, or no longer. Raises NotAllowed, EnvironmentNotFound."""
        _require_admin(person)
        if not self._store.pin_environment(key, pinned=pinned):
            raise _unknown()

    async def remove(self, person: Person, key: EnvironmentKey) -> None:
        """Remove an environment now. Raises NotAllowed, EnvironmentNotFound, EnvironmentInUse."""
        _require_admin(person)
        await ask_removal(self._store, self._collector, key)
        if not await self._collector.remove(key) and self._store.environment(key) is not None:
            raise EnvironmentInUse("Somebody has just begun to use this environment.", hint="Try again later.")


async def ask_removal(store: Store, collector: Collector, key: EnvironmentKey) -> None:
    """Want an environment gone. Raises EnvironmentNotFound, EnvironmentInUse saying what keeps it."""
    row = store.environment(key)
    if row is None:
        raise _unknown()
    if row.pinned:
        raise EnvironmentInUse("This environment is pinned.", hint="Unpin it first.")
    if row.reference in await collector.in_use():
        raise EnvironmentInUse("A session runs in this environment.", hint="Try again when it has ended.")
    if not store.ask_removal(key):
        raise EnvironmentInUse("This environment is being built.", hint="Cancel the build, or wait for its end.")


def _unknown() -> EnvironmentNotFound:
    return EnvironmentNotFound("There is no such environment.", hint="It may have been removed already.")


def _require_admin(person: Person) -> None:
    if not person.admin:
        raise NotAllowed("Only admins of this hub change its environments.", hint="Ask an admin.")


def _cursor(row: EnvironmentRow) -> str:
    return f"{row.last_used.isoformat()}~{row.key}"


def _position(after: str) -> tuple[datetime, EnvironmentKey]:
    moment, _, key = after.partition("~")
    try:
        used = datetime.fromisoformat(moment)
    except ValueError:
        used = None
    if used is None or used.tzinfo is None or not key:
        raise BadRequest("`after` is not the end of a page.", hint="Use `next` of the page before.")
    return used, EnvironmentKey(key)
