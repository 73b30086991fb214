"""The way of repositories with a Dockerfile."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.dockerfile.bases import Bases
from launcher.builders.container.dockerfile.checkout import check_out, pack
from launcher.builders.container.dockerfile.context import Context
from launcher.builders.container.dockerfile.finish import find, finish
from launcher.builders.container.dockerfile.instructions import Dockerfile, read_dockerfile
from launcher.builders.container.dockerfile.job import Job, way_out
from launcher.builders.container.dockerfile.stage import StageRun
from launcher.builders.container.dockerfile.words import expand
from launcher.builders.container.site import Site
from launcher.errors import RecipeInvalid
from launcher.models import BuildRequest, BuiltEnvironment, Recipe, RecipeKind

_FORMAT = 1  # of an image; a new one makes new environments
_IGNORE = (".dockerignore", ".containerignore")
_LONGEST_IGNORE = 2**16


class DockerfileWay:
    """`launcher.builders.container.ways.Way` without a builder of the engine's: see `launcher.builders.container`.

    ``allowed``: patterns of images that Dockerfiles may start from, see `Bases`.
    """

    kinds = frozenset({RecipeKind.DOCKERFILE})

    def __init__(self, site: Site, config: ContainerBuilderConfig, allowed: Sequence[str] = ()) -> None:
        self._site = site
        self._config = config
        self._bases = Bases(site.base, allowed)
        self.fingerprint = hashlib.sha256(f"dockerfile {_FORMAT} {config.index_url}".encode()).hexdigest()[:16]

    def check(self, recipe: Recipe) -> None:
        """Nothing to refuse before the file is read, which the build does first."""

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Make the image, or find that of the same key."""
        file = request.recipe.main or "Dockerfile"
        place = self._config.work / request.build_id
        async with self._site.engine() as engine:
            if (found := await find(engine, self._config.state_directory, request)) is not None:
                log.write("An environment of exactly these files exists and is used.\n")
                return found
            log.stage("fetching")
            tree = await check_out(request, place / "repository", links=True, limits=self._config.limits)
            text = (await asyncio.to_thread(tree.read, file)).decode(errors="replace")
            dockerfile = read_dockerfile(text, file)
            check_images(dockerfile, file, self._bases)
            archive = place / "context.tar"
            await asyncio.to_thread(pack, place / "repository", archive)
            ignored = await asyncio.to_thread(_ignored, place / "repository")
            context = await asyncio.to_thread(Context, archive, ignored)
            job = Job(engine, self._site, self._config, request.build_id, log, self._bases, context, file, place)
            try:
                return await build_stages(job, dockerfile, request)
            finally:
                context.close()


def check_images(dockerfile: Dockerfile, file: str, bases: Bases) -> None:
    """Refuse before anything runs what may not be used. Raises RecipeUnsupported."""
    made: set[str] = set()
    for number, stage in enumerate(dockerfile.stages):
        if stage.base.lower() not in made:
            bases.check(stage.base, f"{file}: FROM")
        for one in stage.instructions:
            source = expand(one.flags.get("from", ""), dockerfile.arguments)
            if source and "$" not in one.flags["from"] and source.lower() not in made:
                bases.check(source, f"{file} line {one.line}")
        made |= {stage.name, str(number)}


async def build_stages(job: Job, dockerfile: Dockerfile, request: BuildRequest) -> BuiltEnvironment:
    """Build all stages, one after the other, and make an environment of the last."""
    made: dict[str, StageRun] = {}
    job.log.stage("building")
    async with way_out(job) as way:
        for number, stage in enumerate(dockerfile.stages):
            before = made.get(stage.base.lower())
            if before is None:
                job.bases.check(stage.base, f"{job.file}: FROM")
                job.log.write(f"FROM {stage.base[:200]}\n")
            base = await job.bases.find(job.engine, stage.base) if before is None else await before.as_base()
            run = StageRun(job, way, base, dockerfile.arguments)
            await run.run(stage.instructions, made)
            made |= {stage.name: run, str(number): run}
    job.log.stage("pushing")
    return await finish(job, run.image, request, environment=run.environment, base=job.site.base)


def _ignored(repository: Path) -> list[str]:
    """The lines of the file that keeps files out of the context; a link is not looked behind."""
    for name in _IGNORE:
        path = repository / name
        if path.is_file() and not path.is_symlink():
            if path.stat().st_size > _LONGEST_IGNORE:
                raise RecipeInvalid(f"{name} is longer than {_LONGEST_IGNORE} bytes.")
            lines = path.read_text(errors="replace").splitlines()
            return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return []
