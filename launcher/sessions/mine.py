"""What is mine: a person's sessions, the repositories they used, whom they trust, and their project homes.

Sessions are asked of the Hub with the visitor's own token each time, because only the Hub knows what runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from launcher.errors import HomeInUse, LauncherError, NotFound, SessionNotFound
from launcher.models import Person, Repository, RepositoryId, ServerName, Trust, Username
from launcher.policy.culling import CullPolicy
from launcher.policy.sizes import MachineSizes
from launcher.policy.trust import TrustPolicy
from launcher.sessions.hub import HubClient, HubSession
from launcher.sessions.names import project_name
from launcher.sessions.project_homes import HomeSize, ProjectHomes
from launcher.sessions.running import RunningSession, describe
from launcher.sources.base import Sources, spec_at
from launcher.store import SessionRow, Store, TrustRow

MOST_REPOSITORIES = 200
_FORGES = frozenset({"gh", "gl", "gist"})
_SIZES_SECONDS = 0.4  # for the sizes of all homes of one page together


@dataclass(frozen=True)
class UsedRepository:
    """A repository a person launched, or trusts.

    spec: of the last launch; ref, ref_url: what that was. Those and ``server_name`` are None when it never got so far.
    trust: now; the person can take ``mine`` back. running: it has a session. project_home: None when there is none.
    size: name of the last launch's machine size; None when the person may not choose that one (any more).
    """

    repository: RepositoryId
    name: str
    trust: Trust
    server_name: ServerName | None = None
    spec: str | None = None
    ref: str | None = None
    ref_url: str | None = None
    last_launched: datetime | None = None
    running: bool = False
    project_home: HomeSize | None = None
    size: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values, times in ISO 8601."""
        return {**asdict(self), "last_launched": _iso(self.last_launched)}


class MyLaunches:
    """Everything of one person; nobody, not even an operator, gets at somebody else's through this.

    ``regular_size`` says the machine size of a person's regular session, of which there is no row.
    """

    def __init__(
        self,
        store: Store,
        sources: Sources,
        policy: TrustPolicy,
        homes: ProjectHomes,
        hub_api_url: str,
        *,
        sizes: MachineSizes | None = None,
        regular_size: Callable[[Username], str] = lambda _: "",
        culling: CullPolicy | None = None,
    ) -> None:
        self._store = store
        self._sources = sources
        self._policy = policy
        self._homes = homes
        self._hub_api_url = hub_api_url
        self._sizes = sizes or MachineSizes()
        self._regular_size = regular_size
        self._culling = culling or CullPolicy()

    async def sessions(self, person: Person, hub_token: str) -> tuple[RunningSession, ...]:
        """Sessions that run, start or stop, the youngest first. Raises HubUnavailable, LoginRequired."""
        running = await self._hub(hub_token).sessions(person.name)
        rows = {str(row.server_name): row for row in self._store.sessions_of(person.name)}
        found = [self._described(one, rows.get(one.name), person.name) for one in running]
        found.sort(key=lambda one: one.started.timestamp() if one.started else 0, reverse=True)
        return tuple(found)

    def _described(self, session: HubSession, row: SessionRow | None, user: Username) -> RunningSession:
        size = row.size if row is not None else None if session.name else self._regular_size(user)
        return describe(session, row, self._sizes.named(size), self._culling)

    async def stop(self, person: Person, hub_token: str, server_name: str) -> None:
        """Stop a session; returns when the Hub has begun to. Raises SessionNotFound, HubUnavailable."""
        hub = self._hub(hub_token)
        await _require_session(hub, person.name, server_name)
        await hub.stop(person.name, server_name)

    async def keep_alive(self, person: Person, hub_token: str, server_name: str) -> None:
        """Count a session as used now, so that it is not ended yet.

        Raises SessionNotFound, HubUnavailable, and NotAllowed when the login may not say so.
        """
        hub = self._hub(hub_token)
        await _require_session(hub, person.name, server_name)
        await hub.note_activity(person.name, server_name)

    async def repositories(self, person: Person, running: frozenset[str] = frozenset()) -> tuple[UsedRepository, ...]:
        """Repositories launched or trusted, last launched first. running: names of servers that run now."""
        rows = list(self._store.sessions_of(person.name))[:MOST_REPOSITORIES]
        trusted = {row.repository_id: row for row in self._store.list_trusted(person.name)}
        homes = await self._home_sizes(person.name, rows)
        sizes = {size.name for size in self._sizes.offered(person)}
        used = [
            self._used(
                row, mine=row.repository_id in trusted, running=row.server_name in running, home=home, sizes=sizes
            )
            for row, home in zip(rows, homes, strict=True)
        ]
        known = {row.repository_id for row in rows}
        return (*used, *(_only_trusted(row) for row in trusted.values() if row.repository_id not in known))

    def distrust(self, person: Person, repository: RepositoryId) -> None:
        """Take "mine" back: the next session sees a project home again. Nothing to take back is fine."""
        self._store.untrust(person.name, repository)

    async def home(self, person: Person, server_name: str) -> tuple[SessionRow, HomeSize]:
        """The repository of a server, and how big its project home is. Raises NotFound."""
        row, project = self._project(person.name, server_name)
        size = await self._homes.size(person.name, project)
        if size is None:
            raise NotFound("There is no project home of this repository.", hint="It may have been deleted already.")
        return row, size

    def home_archive(self, person: Person, server_name: str) -> AsyncIterator[bytes]:
        """The project home as a gzipped tar, piece by piece. Raises NotFound."""
        _, project = self._project(person.name, server_name)
        return self._homes.archive(person.name, project)

    async def delete_home(self, person: Person, hub_token: str, server_name: str) -> None:
        """Delete a repository's project home for good. Raises NotFound, and HomeInUse while its session is there."""
        _, project = self._project(person.name, server_name)
        running = await self._hub(hub_token).sessions(person.name)
        if any(one.name == server_name for one in running):
            raise HomeInUse("The session of this repository is running.", hint="Stop it first, then delete its home.")
        await self._homes.delete(person.name, project)

    def _hub(self, token: str) -> HubClient:
        return HubClient(self._hub_api_url, token)

    def _project(self, user: Username, server_name: str) -> tuple[SessionRow, str]:
        row = self._store.session(user, ServerName(server_name))
        project = self._project_name(row) if row is not None else None
        if row is None or project is None:
            raise NotFound("You have not launched such a repository.", hint="Look for it on the page of your launches.")
        return row, project

    def _project_name(self, row: SessionRow) -> str | None:
        """The name of the repository's project homes; None when the launcher does not know its provider any more."""
        try:
            repository = self._sources.repository(spec_at(self._sources, row.spec))
        except LauncherError:
            return None
        return project_name(repository)

    async def _home_sizes(self, user: Username, rows: list[SessionRow]) -> list[HomeSize | None]:
        """Sizes of the project homes, all in one short time; later ones are incomplete when it is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SIZES_SECONDS
        sizes: list[HomeSize | None] = []
        for row in rows:
            project = self._project_name(row)
            if project is None or not self._homes.exists(user, project):
                sizes.append(None)
            elif loop.time() >= deadline:
                sizes.append(HomeSize(0, 0, complete=False))
            else:
                sizes.append(await self._homes.size(user, project, seconds=max(0, deadline - loop.time())))
        return sizes

    def _used(
        self, row: SessionRow, *, mine: bool, running: bool, home: HomeSize | None, sizes: Collection[str]
    ) -> UsedRepository:
        return UsedRepository(
            repository=row.repository_id,
            name=row.display_name,
            trust=self._policy.trust(_repository(row.repository_id, row.display_name), mine=mine),
            server_name=row.server_name,
            spec=row.spec,
            ref=row.ref,
            ref_url=row.ref_url,
            last_launched=row.last_launched,
            running=running,
            project_home=home,
            size=row.size if row.size in sizes else None,
        )


async def _require_session(hub: HubClient, user: Username, server_name: str) -> None:
    if all(one.name != server_name for one in await hub.sessions(user)):
        raise SessionNotFound("You have no such session running.", hint="It may have ended already.")


def _repository(identity: RepositoryId, display_name: str) -> Repository:
    """As much of a repository as the trust policy looks at."""
    return Repository(identity, identity.partition(":")[0], display_name, display_name, "")


def _only_trusted(row: TrustRow) -> UsedRepository:
    provider, _, path = row.repository_id.partition(":")
    name = unquote(path.partition("/")[2] if provider in _FORGES else path)
    return UsedRepository(row.repository_id, name, Trust.MINE)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
