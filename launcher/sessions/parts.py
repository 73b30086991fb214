"""What launches work with, and the questions that a launch and its preview both ask."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from launcher.builders.base import Builder
from launcher.builds import BuildQueue
from launcher.dask.config import DaskSettings
from launcher.environments import detect, environment_key, with_dask
from launcher.errors import BuildFailed, ConfirmationRequired
from launcher.models import EnvironmentKey, Recipe, Repository, Resolved, ServerName, SessionMode, Snapshot, Trust
from launcher.policy.dask import DaskPolicy
from launcher.policy.sizes import MachineSizes
from launcher.policy.trust import TrustPolicy
from launcher.sessions.base import LaunchRequest
from launcher.sessions.hub import HubClient
from launcher.sources.base import Sources
from launcher.sources.tree import GitTree
from launcher.store import EnvironmentRow, Store
from launcher.tickets import TicketSigner


@dataclass(frozen=True)
class LaunchParts:
    """Everything a launch works with."""

    sources: Sources
    builder: Builder
    builds: BuildQueue
    store: Store
    policy: TrustPolicy
    signer: TicketSigner
    hub_api_url: str
    dask: DaskSettings | None = None
    sizes: MachineSizes = field(default_factory=MachineSizes)

    @property
    def dask_policy(self) -> DaskPolicy:
        """Who gets Dask; nobody on a hub without it."""
        dask = self.dask
        return DaskPolicy(dask.scope, dask.groups, dask.environments) if dask else DaskPolicy()

    def hub(self, token: str) -> HubClient:
        """The Hub's API for one visitor."""
        return HubClient(self.hub_api_url, token)


@dataclass(frozen=True)
class Ready:
    """Where a launch ended: the facts of the ready event that are the same for every listener.

    url: path of the session on the hub, ends with a slash; None for a build-only launch.
    """

    url: str | None
    server_name: ServerName
    image: str
    repository: Repository
    ref_url: str
    persistent_spec: str


@dataclass(frozen=True)
class Environment:
    """What a session needs to know of its environment."""

    reference: str
    mode: SessionMode

    @classmethod
    def of(cls, row: EnvironmentRow) -> Environment:
        """From a row that says ready. Raises BuildFailed when it does not."""
        if row.reference is None or row.mode is None:
            raise BuildFailed("The build left no environment.", hint="Open the launch link again to build it anew.")
        return cls(row.reference, row.mode)


@dataclass(frozen=True)
class Prepared:
    """A resolved spec with its files read."""

    snapshot: Snapshot
    recipe: Recipe
    key: EnvironmentKey


async def read_recipe(parts: LaunchParts, resolved: Resolved, *, dask: bool) -> Prepared:
    """Fetch a resolved ref, read its recipe, add Dask to it if told so, and refuse what the builder cannot do."""
    snapshot = await parts.sources.fetch(resolved)
    return prepared(parts, snapshot, await detected(snapshot), dask=dask)


async def detected(snapshot: Snapshot) -> Recipe:
    """The recipe of a snapshot, as the repository has it. Raises RecipeError, SourceInvalid."""
    return await asyncio.to_thread(detect, await GitTree.load(snapshot.cache, snapshot.commit))


def prepared(parts: LaunchParts, snapshot: Snapshot, recipe: Recipe, *, dask: bool) -> Prepared:
    """A recipe, with Dask added if told so, and its key; refuses what the builder cannot do."""
    recipe = with_dask(recipe) if dask else recipe
    parts.builder.check(recipe)
    return Prepared(snapshot, recipe, environment_key(recipe, parts.builder.fingerprint))


def trust_of(parts: LaunchParts, request: LaunchRequest, repository: Repository) -> Trust:
    """The trust tier of this request; remembers the repository when the person asks for that.

    Raises RepositoryNotAllowed, and ConfirmationRequired for an unknown repository nobody said yes to.
    """
    parts.policy.check(repository)
    if request.trust and request.confirmed:
        parts.store.trust_repository(request.person.name, repository.id)
    mine = parts.store.is_mine(request.person.name, repository.id)
    trust = parts.policy.trust(repository, mine=mine)
    if trust is Trust.UNKNOWN and not request.confirmed:
        raise ConfirmationRequired(
            f"{repository.display_name} is not a repository this hub knows to be safe.",
            hint="Open its launch page, read what it will get, and say yes there.",
        )
    return trust
