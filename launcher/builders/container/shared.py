"""A container builder whose environments are kept in a registry, too."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path

import structlog

from launcher.builders.base import Builder, BuildLog
from launcher.engine.client import Engine
from launcher.engine.registry import Registry
from launcher.errors import LauncherError, RegistryUnavailable
from launcher.models import BuildId, BuildRequest, BuiltEnvironment, Recipe, Storage

logger = structlog.get_logger(__name__)


class SharedBuilder:
    """A `Builder` around another: what it built is pushed, and what is gone from this machine is pulled again.

    A registry that does not answer ends no build: the environment can be used on this machine.
    """

    def __init__(
        self, builder: Builder, registry: Registry, engine: Callable[[], AbstractAsyncContextManager[Engine]]
    ) -> None:
        self._builder = builder
        self._registry = registry
        self._engine = engine
        self._pulling: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.fingerprint = builder.fingerprint

    def check(self, recipe: Recipe) -> None:
        """See `Builder.check`."""
        self._builder.check(recipe)

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Build, then push."""
        built = await self._builder.build(request, log)
        try:
            async with self._engine() as engine:
                await self._registry.push(engine, built.reference)
            log.write("The image is kept in the registry.\n")
        except LauncherError as error:
            logger.warning("environment_not_pushed", reference=built.reference, reason=error.message)
            log.write(f"The image is on this machine only. {error.message}\n")
        return built

    async def reap(self, build_id: BuildId) -> None:
        """See `Builder.reap`."""
        await self._builder.reap(build_id)

    async def exists(self, reference: str) -> bool:
        """Whether the environment is here, or could be brought here from the registry just now."""
        if await self._builder.exists(reference):
            return True
        async with self._pulling[reference]:  # many clicks bring it once
            if await self._builder.exists(reference):
                return True
            try:
                async with self._engine() as engine:
                    return await self._registry.pull(engine, reference) and await self._builder.exists(reference)
            except RegistryUnavailable as error:
                logger.warning("environment_not_pulled", reference=reference, reason=error.message)
                return False

    async def remove(self, reference: str) -> None:
        """Remove it from this machine; what the registry keeps is for those who run it to decide."""
        await self._builder.remove(reference)
        self._registry.forget(reference)

    async def references(self) -> frozenset[str]:
        """See `Builder.references`: on this machine."""
        return await self._builder.references()

    async def storage(self, references: frozenset[str] | None = None) -> Storage:
        """See `Builder.storage`: on this machine."""
        return await self._builder.storage(references)

    async def reap_others(self, builds: frozenset[BuildId]) -> None:
        """See `Builder.reap_others`."""
        await self._builder.reap_others(builds)

    async def collect_caches(self, unused_since: datetime) -> int:
        """See `Builder.collect_caches`."""
        return await self._builder.collect_caches(unused_since)

    async def places(self) -> tuple[Path, ...]:
        """See `Builder.places`."""
        return await self._builder.places()
