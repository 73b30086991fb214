"""The way of repositories with environment.yml, R, Julia or Nix: repo2docker says how, our containers do it."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import re
import signal
import sys
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.dockerfile.bases import Bases, full_name
from launcher.builders.container.dockerfile.checkout import check_out
from launcher.builders.container.dockerfile.context import Context
from launcher.builders.container.dockerfile.finish import find
from launcher.builders.container.dockerfile.instructions import read_dockerfile
from launcher.builders.container.dockerfile.job import Job
from launcher.builders.container.dockerfile.way import build_stages
from launcher.builders.container.site import Site
from launcher.builders.uv.egress import SOCKET_NAME, running
from launcher.builders.uv.workspace import BRIDGE_FILE
from launcher.engine.base_image import REPOSITORY
from launcher.errors import BuildFailed, RecipeInvalid, RecipeUnsupported
from launcher.models import BuildRequest, BuiltEnvironment, Recipe, RecipeKind

_FORMAT = 1
_RENDER = Path(__file__).with_name("render.py")
_FILE = "repo2docker's Dockerfile"
_REPOSITORY_DIRECTORY = "/srv/repo"  # not the home, which a session's own home hides
_ARGUMENTS = {"NB_USER": "jovyan", "NB_UID": "1000", "REPO_DIR": _REPOSITORY_DIRECTORY}
_LIMITS = "core=0,nofile=1024,as=4294967296"
_SILENT = re.compile(r"ConnectionError|Max retries exceeded|ProxyError|Name or service not known|Timeout")
_LAST = 4000


class StockWay:
    """`launcher.builders.container.ways.Way` with an unchanged repo2docker.

    ``base``: the image that it builds on, "" for the launcher's own.
    """

    kinds = frozenset({RecipeKind.CONDA, RecipeKind.R, RecipeKind.JULIA, RecipeKind.NIX})

    def __init__(self, site: Site, config: ContainerBuilderConfig, base: str = "") -> None:
        self._base = base or REPOSITORY
        self._site = site
        self._config = config
        self._bases = Bases(site.base, (full_name(self._base),))
        self._installed = importlib.util.find_spec("repo2docker") is not None
        stock = version("jupyter-repo2docker") if self._installed else "none"
        parts = f"repo2docker {_FORMAT} {stock} {self._base} {config.index_url}"
        self.fingerprint = hashlib.sha256(parts.encode()).hexdigest()[:16]

    def check(self, recipe: Recipe) -> None:
        """Refuse everything when repo2docker is not installed. Raises RecipeUnsupported."""
        if not self._installed:
            raise RecipeUnsupported(
                f"{recipe.main or recipe.kind.value} needs repo2docker, which this launcher does not have.",
                hint="The operator can install it: pip install 'jupyterhub-launcher[containers]'.",
            )

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Make the image, or find that of the same key."""
        place = self._config.work / request.build_id
        async with self._site.engine() as engine:
            if (found := await find(engine, self._config.state_directory, request)) is not None:
                log.write("An environment of exactly these files exists and is used.\n")
                return found
            log.stage("fetching")
            await check_out(request, place / "repository", links=False, limits=self._config.limits)
            await Rendering(self._config, place, self._base).render(request.recipe, log)
            text = await asyncio.to_thread(dockerfile_of, place / "context.tar")
            context = await asyncio.to_thread(Context, place / "context.tar")
            job = Job(
                engine, self._site, self._config, request.build_id, log, self._bases, context, _FILE, place, _ARGUMENTS
            )
            try:
                return await build_stages(job, read_dockerfile(text, _FILE, _ARGUMENTS), request)
            finally:
                context.close()


@dataclass(frozen=True)
class Rendering:
    """One run of repo2docker over the checked-out files of a build.

    place: the build's directory. base: see `StockWay`.
    """

    config: ContainerBuilderConfig
    place: Path
    base: str = REPOSITORY

    async def render(self, recipe: Recipe, log: BuildLog) -> None:
        """Have repo2docker write its context. R and Julia ask the internet for versions, by the proxy of builds.

        Raises BuildFailed, RecipeInvalid with its words.
        """
        async with running(self.config.egress_policy, self.place / "render"):
            status, said = await self._run()
        if status:
            log.write(said[-_LAST:])
            raise failure(recipe, said)

    async def _run(self) -> tuple[int | None, str]:
        bridge = (sys.executable, "-I", "-S", str(BRIDGE_FILE), f"../render/{SOCKET_NAME}", _LIMITS)
        process = await asyncio.create_subprocess_exec(
            *(*bridge, sys.executable, "-I", "-W", "ignore", str(_RENDER), "../context.tar"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=self.place / "repository",
            env={
                "PATH": os.defpath,
                "HOME": str(self.place / "render"),
                "R2D_BASE_IMAGE": self.base,
                "R2D_REPO_DIR": _REPOSITORY_DIRECTORY,
            },
            start_new_session=True,
        )
        try:
            said = (await process.communicate())[0].decode(errors="replace")
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # the bridge and repo2docker
                await process.wait()
        return process.returncode, said


def dockerfile_of(archive: Path) -> str:
    """The Dockerfile that repo2docker rendered; it expects to begin as root."""
    with tarfile.open(archive) as context:
        file = context.extractfile("Dockerfile")
        text = file.read().decode() if file is not None else ""
    return re.sub(r"^(FROM .*)$", r"\1\nUSER root", text, count=1, flags=re.MULTILINE)


def failure(recipe: Recipe, said: str) -> BuildFailed | RecipeInvalid:
    """repo2docker's words as ours."""
    file = recipe.main or recipe.kind.value
    if _SILENT.search(said):
        return BuildFailed(
            f"What {file} asks for cannot be looked up: a server that repo2docker needs does not answer.",
            hint="Builds may not be allowed to reach it: the operator can see c.Launcher.build_network.",
        )
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "")
    reason = last.partition(": ")[2] if re.match(r"[\w.]*(?:Error|Exception): ", last) else last
    return RecipeInvalid(f"repo2docker cannot read {file}: {reason[:300] or 'it does not say why'}.".replace("..", "."))
