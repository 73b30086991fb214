"""What a person may choose for a regular session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from launcher.errors import LauncherError
from launcher.models import BuildStatus, EnvironmentKey, EnvironmentStatus, MachineSize, Person, Repository, Trust
from launcher.policy.environments import ListedEnvironment, ListedEnvironments
from launcher.sessions.parts import LaunchParts
from launcher.sources.base import spec_at
from launcher.store import BuildFilter

MOST_RECENT = 8
"""Recent environments that are offered at once; older ones can still be chosen by their repository."""
_MOST_BUILDS = 100
_MOST_SESSIONS = 200


@dataclass(frozen=True)
class RegularSessions:
    """The operator's say about regular sessions.

    own: the launcher starts them; if not, JupyterHub does, by the operator's own spawner, and nothing can be chosen.
    listed: the environments of their list. allows_image: whether a person may name an image; None where there are none.
    """

    own: bool = True
    listed: ListedEnvironments = field(default_factory=ListedEnvironments)
    allows_image: Callable[[str], bool] | None = None


@dataclass(frozen=True)
class RecentEnvironment:
    """A ready environment that the person used, of a repository that is trusted in front of them.

    name: of the repository. used: when they last asked for it.
    """

    key: EnvironmentKey
    name: str
    used: datetime


@dataclass(frozen=True)
class Offer:
    """Everything to choose from.

    available: False where regular sessions are not the launcher's; then there is nothing else in it.
    sizes: the first is what one gets without a choice; empty on a hub without sizes.
    images: whether an image may be named.
    """

    available: bool
    sizes: tuple[MachineSize, ...] = ()
    listed: tuple[ListedEnvironment, ...] = ()
    recent: tuple[RecentEnvironment, ...] = ()
    images: bool = False


def make_offer(parts: LaunchParts, regular: RegularSessions, person: Person) -> Offer:
    """What this person may choose; asks nobody but the store."""
    if not regular.own:
        return Offer(available=False)
    return Offer(
        available=True,
        sizes=parts.sizes.offered(person),
        listed=regular.listed.offered(person),
        recent=tuple(islice(recent_environments(parts, person), MOST_RECENT)),
        images=regular.allows_image is not None,
    )


def recent_environments(parts: LaunchParts, person: Person) -> Iterator[RecentEnvironment]:
    """The person's own, the last used first: of sessions they launched and builds they asked for.

    Only ready ones, and only of repositories that may still launch and are still trusted. One for each environment.
    """
    mine = {row.repository_id for row in parts.store.list_trusted(person.name)}
    seen: set[EnvironmentKey] = set()
    for key, spec, used in sorted(_used(parts, person), key=lambda one: one[2], reverse=True):
        if key in seen:
            continue
        repository = _repository(parts, spec)
        if repository is None:
            continue
        if parts.policy.trust(repository, mine=repository.id in mine) is Trust.UNKNOWN:
            continue
        row = parts.store.environment(key)
        if row is not None and row.status is EnvironmentStatus.READY:
            seen.add(key)
            yield RecentEnvironment(key, repository.display_name, used)


def _used(parts: LaunchParts, person: Person) -> Iterator[tuple[EnvironmentKey, str, datetime]]:
    """Environment, spec and time of everything this person had to do with."""
    for session in list(parts.store.sessions_of(person.name))[:_MOST_SESSIONS]:
        if session.environment_key is not None:
            yield EnvironmentKey(session.environment_key), session.spec, session.last_launched
    wanted = BuildFilter((BuildStatus.SUCCEEDED,), person.name)
    for build in parts.store.builds_page(wanted, limit=_MOST_BUILDS):
        yield build.environment_key, build.spec, build.finished or build.created


def _repository(parts: LaunchParts, spec: str) -> Repository | None:
    """The repository of a spec that was launched once; None when it could not be any more."""
    try:
        repository = parts.sources.repository(spec_at(parts.sources, spec))
        parts.policy.check(repository)
    except LauncherError:
        return None
    return repository
