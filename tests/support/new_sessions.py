"""Regular sessions for tests of the web: real plans, tickets and rows; environments of no runtime."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from launcher.builders.fake import FakeBuilder
from launcher.builds import BuildLogs, BuildQueue
from launcher.errors import RepositoryNotFound
from launcher.models import LaunchPlan, Resolved, Snapshot
from launcher.policy.environments import ListedEnvironment, ListedEnvironments
from launcher.policy.sizes import MachineSizes, read_sizes
from launcher.policy.trust import TrustPolicy
from launcher.sessions.flights import Flights
from launcher.sessions.new_session import NewSession
from launcher.sessions.parts import LaunchParts
from launcher.sessions.session_offer import RegularSessions
from launcher.store import Store
from launcher.store.schema import tickets
from launcher.tickets import TicketSigner
from tests.support.git_server import git, make_repository
from tests.support.scripted_launches import ScriptedSources

LISTED = (
    ListedEnvironment("geo", "Geospatial", "Maps and rasters", repository="gh/org/geo/main"),
    ListedEnvironment("staff", "For staff", repository="gh/org/staff/main", groups=("staff",)),
    ListedEnvironment("banned", "Banned since", repository="gh/org/banned/main"),
    ListedEnvironment("broken", "Broken", repository="gh/org/broken/main"),
)
SIZES = (
    {"name": "small", "title": "Small", "memory": "1G", "cpus": 1},
    {"name": "large", "title": "Large", "description": "for big data", "memory": "8G"},
    {"name": "huge", "title": "Huge", "memory": "64G", "groups": ["staff"]},
)
FILES = {"broken": {"apt.txt": "gdal\n"}}
"""Name of a repository -> its files; every other one has a recipe of its own."""


class SourcesOnDisk(ScriptedSources):
    """The scripted providers, and the files of whatever they name; ``gh/org/missing`` is not there."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def resolve(self, spec: Any) -> Resolved:
        if "/missing/" in spec.raw:
            raise RepositoryNotFound("There is no such repository.", hint="Check its name.")
        return await super().resolve(spec)

    async def fetch(self, resolved: Resolved) -> Snapshot:
        name = resolved.repository.name
        cache = self._directory / name
        if not cache.exists():
            make_repository(cache, FILES.get(name, {"requirements.txt": f"# {name}\n"}))
        commit = git(cache, "rev-parse", "main").strip()
        return Snapshot(resolved, cache, commit)


@dataclass
class NewSessions:
    """A `NewSession` and what is around it; ``make`` one again after a change."""

    directory: Path
    api_url: str
    builder: FakeBuilder = field(default_factory=FakeBuilder)
    policy: TrustPolicy = field(
        default_factory=lambda: TrustPolicy(trusted=("gh/org/official*",), banned=("gh/org/banned*",))
    )
    sizes: MachineSizes = field(default_factory=lambda: MachineSizes(read_sizes(SIZES)))
    regular: RegularSessions = field(default_factory=lambda: RegularSessions(listed=ListedEnvironments(LISTED)))

    def __post_init__(self) -> None:
        self._flights: list[Flights] = []
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "repositories").mkdir(exist_ok=True)
        self.store = Store.open(f"sqlite:///{self.directory}/launcher.sqlite")
        self.queue = BuildQueue(self.store, self.builder, BuildLogs(self.directory / "logs"))
        self.sources = SourcesOnDisk(self.directory / "repositories")

    async def begin(self) -> None:
        """Build what is asked for."""
        await self.queue.start()

    async def end(self) -> None:
        """Let what was begun come to its end, and stop building."""
        self.builder.release()
        flights = [flight for flights in self._flights for flight in flights._flights.values()]
        await asyncio.gather(*(flight.task.task for flight in flights))
        await self.queue.stop()
        self.store.close()

    def make(self) -> NewSession:
        """One as everything is now."""
        signer = TicketSigner("t" * 64)
        parts = LaunchParts(
            self.sources, self.builder, self.queue, self.store, self.policy, signer, self.api_url, sizes=self.sizes
        )
        self._flights.append(Flights(self.queue))
        return NewSession(parts, self._flights[-1], self.regular)

    def plans(self) -> list[LaunchPlan]:
        """The plans of all tickets so far, the oldest first."""
        with self.store._database.read() as connection:  # nobody else lists tickets
            rows = connection.execute(sa.select(tickets.c.plan).order_by(tickets.c.expires)).scalars()
            return [LaunchPlan.from_json(row) for row in rows]
