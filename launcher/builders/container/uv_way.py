"""The usual way: Debian packages in one layer, Python packages from a lock in another."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict

from launcher.builders.base import BuildLog
from launcher.builders.container.apt import PackageLayers
from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.place import Place
from launcher.builders.container.publisher import ImagePublisher
from launcher.builders.container.site import Site
from launcher.builders.container.steps import ContainerRunner
from launcher.builders.uv.dask import DaskPackages
from launcher.builders.uv.pipeline import Build
from launcher.builders.uv.pythons import choose
from launcher.builders.uv.workspace import Workspace
from launcher.models import BuildRequest, BuiltEnvironment, Recipe, RecipeKind

_FORMAT = 1  # of an image; a new one makes new environments


class UvWay:
    """`launcher.builders.container.ways.Way` with the pipeline that runtimes share."""

    kinds = frozenset(RecipeKind) - {
        RecipeKind.CONDA, RecipeKind.R, RecipeKind.JULIA, RecipeKind.NIX, RecipeKind.DOCKERFILE
    }  # fmt: skip

    def __init__(self, site: Site, config: ContainerBuilderConfig) -> None:
        self._site = site
        self._config = config
        self._packages = PackageLayers(site, config)
        self._publishing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        base = [str(_FORMAT), *config.kernel_requirements, *config.full_requirements]
        base += [config.index_url or "", *config.extra_index_urls]
        base += ["dask", *DaskPackages(config.dask_requirements).requirements] if config.dask_requirements else []
        self.fingerprint = hashlib.sha256("\0".join(base).encode()).hexdigest()[:16]

    def check(self, recipe: Recipe) -> None:
        """Refuse a Python that the base image does not have. Raises PythonUnavailable."""
        choose(recipe.python, list(self._site.pythons))

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Make the image, or find that an equal one is there."""
        interpreter = choose(request.recipe.python, list(self._site.pythons))
        async with self._site.engine() as engine:
            image = await self._packages.image(engine, request, log)
            workspace = Workspace(
                self._config, request.build_id, interpreter, request.snapshot.cache, self._site.identity.owner
            )
            place = Place(self._site, engine, workspace, self._config.state_directory, image)
            build = Build(
                request=request,
                log=log,
                config=self._config,
                workspace=workspace,
                runner=ContainerRunner(place),
                publisher=ImagePublisher(place, request.key),
                publishing=self._publishing,
                fingerprint=f"{self.fingerprint} {image}",
            )
            return await build.run()
