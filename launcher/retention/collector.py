"""Removing what the policy does not keep, so that a crash at any point leaves nothing that the next pass cannot mend.

Rows go first, then the artefact: what a crash leaves between the two is an artefact that nobody knows, and is swept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from launcher.crashpoints import crash_point
from launcher.models import BuildId, EnvironmentKey, Storage
from launcher.retention.parts import RetentionParts
from launcher.retention.policy import Reason, RetentionPolicy
from launcher.store import ArtefactUse
from launcher.store.store import utc_now

logger = structlog.get_logger(__name__)
_STARTING = timedelta(seconds=10)  # from a redeemed ticket to the record of its session


@dataclass(frozen=True)
class Doomed:
    """An environment that goes. own_bytes: what nobody else has of it."""

    reference: str
    reason: Reason
    own_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a pass removes, or has removed."""

    environments: Sequence[Doomed] = ()
    builds: Sequence[BuildId] = ()
    cache_bytes: int = field(default=0)


class Collector:
    """Collects environments, histories of builds, logs and caches.

    users: references of environments that sessions run in or start with; asked again directly before each removal.
    For use on one event loop's thread, one for each queue of builds.
    """

    def __init__(
        self,
        parts: RetentionParts,
        *,
        policy: RetentionPolicy,
        users: Callable[[], frozenset[str]],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.parts = parts
        self.policy = policy
        self._store = parts.store
        self._builder = parts.builder
        self._builds = parts.builds
        self._logs = parts.logs
        self._users = users
        self._clock = clock
        self._unknown: dict[str, datetime] = {}

    async def plan(self, *, at_once: bool = False) -> Plan:
        """What `collect` would remove now. ``at_once``: also what was unknown for the first time just now."""
        now = self._clock()
        in_use = await self.in_use()
        storage = await self._builder.storage()
        uses = self._store.artefacts()
        removable = [use for use in self.policy.removable(uses, in_use, now) if use.reference in storage.environments]
        chosen = {use.reference: Reason.AGE for use in self.policy.too_old(removable, now)}
        for use in self.policy.too_many(removable, len(storage.environments)):
            chosen.setdefault(use.reference, Reason.COUNT)
        for reference in await self._too_big(removable, storage):
            chosen.setdefault(reference, Reason.SIZE)
        for reference in self._unknown_of(storage, uses, now, at_once=at_once) - in_use:
            chosen[reference] = Reason.UNKNOWN
        doomed = [
            Doomed(reference, reason, storage.environments[reference].own_bytes) for reference, reason in chosen.items()
        ]
        return Plan(doomed, self._expired_builds(now))

    async def collect(self, *, at_once: bool = False) -> Plan:
        """One pass over everything; what was removed."""
        now = self._clock()
        self._store.touch_artefacts(await self.in_use(), now)
        plan = await self.plan(at_once=at_once)
        gone = [doomed for doomed in plan.environments if await self._remove(doomed.reference, doomed.reason)]
        self._forget_logs(plan.builds, now)
        await self._builder.reap_others(frozenset(row.id for row in self._store.builds_open()))
        freed = await self.collect_caches(self.policy.cache_max_age)
        await self.measure()
        self._store.purge_expired_tickets()
        return Plan(gone, plan.builds, freed)

    async def make_room(self, missing_bytes: int) -> int:
        """Remove caches, then what was used longest ago, until about ``missing_bytes`` are free more.

        How many environments went.
        """
        if await self.collect_caches(self.policy.grace) >= missing_bytes:
            return 0
        removable = self.policy.removable(self._store.artefacts(), await self.in_use(), self._clock())
        storage = await self._builder.storage() if removable else Storage({}, 0)
        removed = freed = 0
        for use in removable:
            if freed >= missing_bytes:
                break
            size = storage.environments.get(use.reference)
            if size is not None and await self._remove(use.reference, Reason.DISK):
                removed, freed = removed + 1, freed + size.own_bytes
        if removed:
            await self.collect_caches(self.policy.grace)  # they shared their files with it
            await self.measure()
        return removed

    async def collect_caches(self, max_age: timedelta | None) -> int:
        """Delete old parts of caches while no build runs; bytes that are free now."""
        if max_age is None or self._builds.running:
            return 0
        with self._builds.line.pause():
            return await self._builder.collect_caches(self._clock() - max_age)

    async def measure(self) -> None:
        """Record what every environment takes."""
        storage = await self._builder.storage()
        self._store.save_sizes(storage.environments)

    async def remove(self, key: EnvironmentKey) -> bool:
        """Remove an environment that somebody asked to remove (`Store.ask_removal`); False when it is in use.

        Its artefact stays as long as another environment has the same.
        """
        async with self._builds.artefacts:
            row = self._store.environment(key)
            if row is None or row.reference in await self.in_use() or not self._store.forget_asked(key):
                return False
            crash_point("retention:forgotten")
            if row.reference is not None:
                await self._remove_nameless(row.reference)
        logger.info("environment_removed", key=key, reason="somebody asked for it")
        return True

    async def in_use(self) -> frozenset[str]:
        """References of environments that sessions run in, or are about to start with."""
        now = self._clock()
        starting = self._store.artefacts_of_tickets(redeemed_after=now - _STARTING, now=now)
        return starting | await asyncio.to_thread(self._users)

    async def _remove(self, reference: str, reason: Reason) -> bool:
        """Remove an artefact and all rows that name it, unless somebody uses it by now."""
        async with self._builds.artefacts:
            if reference in await self.in_use():
                return False
            if not self._store.forget_artefact(reference, self._clock() - self.policy.grace):
                return False
            crash_point("retention:forgotten")
            await self._builder.remove(reference)
            crash_point("retention:removed")
        self._unknown.pop(reference, None)
        logger.info("environment_removed", reference=reference, reason=reason.value)
        return True

    async def _remove_nameless(self, reference: str) -> None:
        if not any(use.reference == reference for use in self._store.artefacts()):
            await self._builder.remove(reference)

    async def _too_big(self, removable: Sequence[ArtefactUse], storage: Storage) -> list[str]:
        """The fewest, oldest use first, without which the rest takes no more than allowed."""
        limit = self.policy.max_bytes
        if limit is None or storage.total_bytes <= limit:
            return []
        order = [use.reference for use in removable]
        fewest, most = 1, len(order)
        while fewest < most:  # shared files make a sum meaningless: the rest is measured
            middle = (fewest + most) // 2
            rest = await self._builder.storage(frozenset(storage.environments.keys() - set(order[:middle])))
            fewest, most = (fewest, middle) if rest.total_bytes <= limit else (middle + 1, most)
        return order[:fewest]

    def _unknown_of(
        self, storage: Storage, uses: Sequence[ArtefactUse], now: datetime, *, at_once: bool
    ) -> frozenset[str]:
        """Artefacts that no row names, seen so for a while: a build names its own when it has ended."""
        unknown = storage.environments.keys() - {use.reference for use in uses}
        self._unknown = {reference: self._unknown.get(reference, now) for reference in unknown}
        return frozenset(
            reference for reference, since in self._unknown.items() if at_once or now - since >= self.policy.grace
        )

    def _expired_builds(self, now: datetime) -> Sequence[BuildId]:
        max_age = self.policy.log_max_age
        return self._store.expired_builds(now - max_age) if max_age is not None else ()

    def _forget_logs(self, expired: Sequence[BuildId], now: datetime) -> None:
        """Delete logs first, then rows: a row without a log says so, a log without a row is swept."""
        for build_id in expired:
            self._logs.remove(build_id)
        self._store.forget_builds(expired)
        if self.policy.log_max_age is not None:
            self._store.forget_failed_environments(now - self.policy.log_max_age)
        logs = self._logs.ids()
        for unknown in logs - self._store.known_builds(logs):
            self._logs.remove(BuildId(unknown))
