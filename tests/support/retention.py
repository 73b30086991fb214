"""A store, a queue with the fake builder and a collector on one clock, for tests of what stays and what goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from launcher.builders.fake import FakeBuilder
from launcher.builds import BuildLogs, BuildQueue
from launcher.models import Username
from launcher.retention.collector import Collector
from launcher.retention.parts import RetentionParts
from launcher.retention.policy import RetentionPolicy
from launcher.store import Store
from tests.support import examples

ANA = Username("ana")
DAYS = RetentionPolicy(max_age=timedelta(days=30), log_max_age=timedelta(days=10))


@dataclass
class World:
    """A store, a queue that builds with the fake builder, and a collector, all on one clock."""

    directory: Path
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    users: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store = Store.open(f"sqlite:///{self.directory}/launcher.sqlite", clock=lambda: self.now)
        self.builder = FakeBuilder()
        self.logs = BuildLogs(self.directory / "logs")
        self.builds = BuildQueue(self.store, self.builder, self.logs, clock=lambda: self.now)

    def collector(self, policy: RetentionPolicy = DAYS) -> Collector:
        return Collector(
            RetentionParts(self.store, self.builder, self.builds, self.logs),
            policy=policy,
            users=lambda: frozenset(self.users),
            clock=lambda: self.now,
        )

    async def environment(self, number: int, *, files: str = "") -> str:
        """Build an environment, as a click does; environments of equal ``files`` share an artefact."""
        recipe = examples.recipe(files={"requirements.txt": files or f"{number:040x}"})
        await self.builds.ensure(examples.key(number), recipe, examples.snapshot(), asked_by=ANA)
        (row,) = self.store.builds_of(None, limit=1)
        await self.builds.wait(row.id)
        reference = self.store.environment(examples.key(number)).reference
        assert reference is not None
        return reference

    def later(self, **delta: float) -> None:
        self.now += timedelta(**delta)

    async def keys(self) -> set[int]:
        """Numbers of the environments that have a row; their artefacts must be there, and no others."""
        rows = [one.row for one in self.store.environments_page()]
        assert await self.builder.references() == {row.reference for row in rows if row.reference}
        return {int(row.key, 16) for row in rows}
