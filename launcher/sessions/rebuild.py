"""Making an environment anew: for newer packages where a recipe leaves versions open, or when one is damaged."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.builds.codec import UnreadableRequest, request_from_json
from launcher.errors import EnvironmentNotFound, NotAllowed, RebuildImpossible
from launcher.models import BuildId, BuildRequest, EnvironmentKey, Person
from launcher.sessions.parts import LaunchParts

_LAUNCH = "Launch its repository again: that builds what it needs now."


class Rebuilds:
    """Who may have which environment made anew, and the wish for it.

    Everybody with the same recipe has the same environment. So admins may, and a person to whom it belongs alone.
    """

    def __init__(self, parts: LaunchParts) -> None:
        self._parts = parts

    def allowed(self, person: Person, keys: Sequence[EnvironmentKey]) -> frozenset[EnvironmentKey]:
        """Those of the few environments that are asked for which this person may have made anew."""
        if person.admin:
            return frozenset(keys)
        people = self._parts.store.people_of(keys)
        return frozenset(key for key in keys if people.get(key) == frozenset({person.name}))

    async def rebuild(self, person: Person, key: EnvironmentKey) -> BuildId:
        """Ask for a build that makes the environment anew, or join the one that is open; its id.

        The old one can be used until the new one is there, and its sessions go on with it. A build that fails changes
        nothing. Raises EnvironmentNotFound, NotAllowed, RebuildImpossible, RepositoryNotAllowed, SourceError and
        QueueFull.
        """
        self._check(person, key)
        request = self._last_request(key)
        resolved = request.snapshot.resolved
        self._parts.policy.check(resolved.repository)
        snapshot = await self._parts.sources.fetch(resolved)
        return (await self._parts.builds.rebuild(key, request.recipe, snapshot, asked_by=person.name)).id

    def _check(self, person: Person, key: EnvironmentKey) -> None:
        row = self._parts.store.environment(key)
        if row is None or not (person.admin or person.name in self._parts.store.people_of([key]).get(key, ())):
            raise EnvironmentNotFound("There is no such environment.", hint="It may have been removed already.")
        if key not in self.allowed(person, [key]):
            raise NotAllowed("Others use this environment as well.", hint="Ask an admin of this hub to rebuild it.")
        if row.fingerprint != self._parts.builder.fingerprint:
            raise RebuildImpossible("This environment is of an earlier version of the launcher.", hint=_LAUNCH)

    def _last_request(self, key: EnvironmentKey) -> BuildRequest:
        """What the newest build of an environment was asked for."""
        newest = self._parts.store.newest_builds([key]).get(key)
        row = self._parts.store.build(newest) if newest is not None else None
        try:
            if row is not None:
                return request_from_json(row.id, key, row.request)
        except UnreadableRequest:
            pass
        raise RebuildImpossible("What this environment was built from is forgotten.", hint=_LAUNCH)
