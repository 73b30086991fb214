"""`ContainerBuilder`: environments as images, for launchers on one machine with podman or docker."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import structlog

from launcher.builders.base import BuildLog
from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.images import EnvironmentImage, present, storage
from launcher.builders.container.leftovers import collect_layers, remove_ended
from launcher.builders.container.place import volume_name
from launcher.builders.container.site import Site
from launcher.builders.container.uv_way import UvWay
from launcher.builders.container.ways import Way, choose_way
from launcher.builders.uv.cache import collect_wheels
from launcher.builders.uv.workspace import builds_on_disk, remove_build, wheels
from launcher.engine.base import Image
from launcher.engine.labels import BUILD, STATE, Kind, ours, state_id
from launcher.errors import BuildLimitExceeded, EngineError
from launcher.models import BuildId, BuildRequest, BuiltEnvironment, Recipe, Storage

logger = structlog.get_logger(__name__)
_BUILD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")


class ContainerBuilder:
    """Makes images in containers of an engine; see `launcher.builders.base.Builder` for the promises.

    ``ways``: others than the usual one, for recipes that it cannot build.
    """

    def __init__(self, config: ContainerBuilderConfig, site: Site, ways: Sequence[Way] = ()) -> None:
        self._config = config
        self._site = site
        self._storage: Path | None = None
        self._ways: tuple[Way, ...] = (UvWay(site, config), *ways)
        parts = [site.base.id, *(way.fingerprint for way in self._ways)]
        self.fingerprint = f"container-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:16]}"

    def check(self, recipe: Recipe) -> None:
        """Refuse what no way can build. Raises RecipeUnsupported, PythonUnavailable."""
        choose_way(recipe, self._ways).check(recipe)

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Make the environment's image, or find that an equal one is there."""
        if not _BUILD_ID.fullmatch(request.build_id):
            raise ValueError("a build id must be usable as a file name")
        self.check(request.recipe)
        await self.reap(request.build_id)
        try:
            async with asyncio.timeout(self._config.limits.seconds):
                return await choose_way(request.recipe, self._ways).build(request, log)
        except EngineError as error:
            raise _for_people(error, request.build_id) from error
        except TimeoutError:
            raise BuildLimitExceeded(
                f"The build took longer than {self._config.limits.seconds:g} seconds.",
                hint="The operator can raise the limits of builds.",
            ) from None
        finally:
            await asyncio.shield(asyncio.create_task(self.reap(request.build_id)))

    async def reap(self, build_id: BuildId) -> None:
        """End and remove whatever a build left behind, in this process or in one before."""
        if not _BUILD_ID.fullmatch(build_id):
            return
        async with self._site.engine() as engine:
            # Of its kind: sessions have the labels of their image, also of the build that made it.
            labels = ours(self._config.state_directory, Kind.BUILD, build=build_id)
            while left := await engine.containers(labels):
                await asyncio.gather(*(engine.remove(container.id) for container in left))
            await engine.volumes.remove(volume_name(self._config.state_directory, build_id))
        await asyncio.to_thread(remove_build, self._config, build_id)

    async def reap_others(self, builds: frozenset[BuildId]) -> None:
        """End and remove what is left of other builds than these."""
        async with self._site.engine() as engine:
            left = await engine.containers(ours(self._config.state_directory, Kind.BUILD))
        found = {BuildId(container.labels.get(BUILD, "")) for container in left}
        found |= await asyncio.to_thread(builds_on_disk, self._config)
        for build_id in found - builds:
            await self.reap(build_id)

    async def exists(self, reference: str) -> bool:
        """Whether the environment's image is there."""
        return await self._image(reference) is not None

    async def remove(self, reference: str) -> None:
        """Delete an environment's image, unless a container uses it."""
        if await self._image(reference) is not None:
            async with self._site.engine() as engine:
                await engine.remove_image(reference, every_name=True)

    async def references(self) -> frozenset[str]:
        """Every environment in the engine that is this launcher's."""
        async with self._site.engine() as engine:
            return frozenset(image.id for image in await present(engine, self._config.state_directory))

    async def storage(self, references: frozenset[str] | None = None) -> Storage:
        """See `Builder.storage`: packages of one apt.txt are shared; the base image is nobody's."""
        async with self._site.engine() as engine:
            found = await present(engine, self._config.state_directory)
            wanted = [image for image in found if references is None or image.id in references]
            return await storage(engine, wanted, self._site.base)

    async def collect_caches(self, unused_since: datetime) -> int:
        """Delete what came before a moment: wheels, of which images hold copies, and layers that no image has."""
        freed = await asyncio.to_thread(collect_wheels, wheels(self._config), unused_since)
        async with self._site.engine() as engine:
            await remove_ended(engine, self._config.state_directory)
            return freed + await collect_layers(engine, self._config.state_directory, self._site.base, unused_since)

    async def places(self) -> tuple[Path, ...]:
        """Where the engine keeps images, and where caches and builds are."""
        if self._storage is None:  # podman takes a second for the answer, and is asked every few seconds
            async with self._site.engine() as engine:
                self._storage = Path((await engine.info()).storage)
        return self._storage, self._config.cache, self._config.work

    async def meta(self, reference: str) -> EnvironmentImage | None:
        """What is known of an environment, or None when it is not there."""
        image = await self._image(reference)
        return EnvironmentImage.read(image.labels) if image is not None else None

    async def _image(self, reference: str) -> Image | None:
        """The image of a reference, if it is an environment of this launcher."""
        if not _IMAGE_ID.fullmatch(reference):
            return None
        async with self._site.engine() as engine:
            image = await engine.image(reference)
        if image is None or image.labels.get(STATE) != state_id(self._config.state_directory):
            return None
        return image if EnvironmentImage.read(image.labels) is not None else None


def _for_people(error: EngineError, build_id: BuildId) -> EngineError:
    """The error without the engine's own words, which are about this machine: they go to the service's log."""
    if not error.said:
        return error
    logger.warning("engine_refused", build_id=build_id, status=error.status, reason=error.said)
    told = EngineError(
        "The container engine refused a part of this build.",
        hint=f"Launch again. If it stays so, tell the operator; the service's log has more about build {build_id}.",
    )
    told.status = error.status
    return told
