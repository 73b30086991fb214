"""Debian packages of an apt.txt: one layer for all environments with the same list."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from launcher.builders.base import BuildLog
from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.site import Site
from launcher.builders.removal import remove_tree
from launcher.builders.uv.egress import SOCKET_NAME, EgressMode, EgressPolicy, running
from launcher.builders.uv.limits import Watcher, out_of_memory
from launcher.builders.uv.output import Tail, follow
from launcher.builders.uv.workspace import BRIDGE_FILE
from launcher.engine.base import Bind, ContainerOrder, ImageConfig
from launcher.engine.client import Engine
from launcher.engine.labels import INPUTS, Kind, ours, state_id
from launcher.errors import BuildFailed, RecipeInvalid
from launcher.models import BuildRequest
from launcher.sources.tree import GitTree

# Not all that Debian allows: to apt, a minus behind a name means "remove".
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,100}(?<!-)(?::[a-z0-9-]{1,20})?(?:=[A-Za-z0-9.+:~-]{1,100})?")
_MOST = 300
_MIRROR = re.compile(r"\bhttps?://[A-Za-z0-9.:-]+/")
_MISSING = re.compile(r"E: Unable to locate package (\S{1,100})")
_PORTS = {"https": 443, "http": 80}
_REPOSITORY = "localhost/launcher/packages"
_SOURCES = "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true"
_PLACE = "/mnt"  # is there in every image, so that the layer holds no directory made for the mount
# What Debian's own scripts need to make files of other users; none of it reaches beyond the container.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID")
# Services must not be started, and nothing may be left with more power than the person who runs it.
_INSTALL = """
set -e
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
apt-get update -q -o Acquire::Retries=2 -o Acquire::Languages=none -o APT::Sandbox::User=root
apt-get install -q -y --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -- "$@"
apt-get clean
rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache /usr/sbin/policy-rc.d
find / -xdev -type f -perm /6000 -exec chmod a-s {} +
"""


def read_packages(file: str, text: str) -> tuple[str, ...]:
    """The packages of an apt.txt, sorted. Raises RecipeInvalid naming the line that is not one.

    A line may hold several; what follows a ``#`` is a comment.
    """
    found: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        for word in line.partition("#")[0].split():
            if not _PACKAGE.fullmatch(word):
                raise RecipeInvalid(f"{file} line {number}: {word[:80]!r} is not the name of a Debian package.")
            found.add(word)
    if len(found) > _MOST:
        raise RecipeInvalid(f"{file} names more than {_MOST} packages.")
    return tuple(sorted(found))


@dataclass(frozen=True)
class _Wanted:
    """A layer that has to be made, for the build that needs it first. ``labels``: of its image."""

    request: BuildRequest
    log: BuildLog
    packages: tuple[str, ...]
    labels: dict[str, str]


class PackageLayers:
    """Makes and finds the images with Debian packages."""

    def __init__(self, site: Site, config: ContainerBuilderConfig) -> None:
        self._site = site
        self._config = config
        self._making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def image(self, engine: Engine, request: BuildRequest, log: BuildLog) -> str:
        """The image to build on: the base image, or one with the packages of the recipe's apt.txt.

        Raises RecipeInvalid, BuildFailed, BuildLimitExceeded.
        """
        if request.recipe.apt is None:
            return self._site.base.id
        tree = await GitTree.load(request.snapshot.cache, request.snapshot.commit)
        text = await asyncio.to_thread(tree.read, request.recipe.apt)
        packages = read_packages(request.recipe.apt, text.decode(errors="replace"))
        if not packages:
            return self._site.base.id
        inputs = hashlib.sha256("\0".join([self._site.base.id, _INSTALL, *packages]).encode()).hexdigest()
        async with self._making[inputs]:  # a second build with this list waits and then uses it
            labels = {**ours(self._config.state_directory, Kind.PACKAGES), INPUTS: inputs}
            found = await engine.named(self._name(inputs), labels)
            if found is not None:
                log.write(f"The packages of {request.recipe.apt} are there already.\n")
                return found.id
            log.write(f"Installing {' '.join(packages)}\n")
            return await self._make(engine, _Wanted(request, log, packages, labels))

    async def _make(self, engine: Engine, wanted: _Wanted) -> str:
        place = self._config.work / wanted.request.build_id
        await asyncio.to_thread(_prepare, place)
        policy = EgressPolicy(EgressMode.INDEXES, await self._mirrors(engine, wanted.request), self._config.hosts)
        try:
            async with running(policy, place):
                return await self._install(engine, wanted, place)
        finally:
            await asyncio.to_thread(remove_tree, place)

    async def _install(self, engine: Engine, wanted: _Wanted, place: Path) -> str:
        limits = self._config.limits
        python = str(self._site.pythons[0].executable)
        bridge = [python, "-I", "-S", f"{_PLACE}/bridge.py", f"{_PLACE}/{SOCKET_NAME}", "core=0"]
        order = ContainerOrder(
            image=self._site.base.id,
            command=(*bridge, "/bin/sh", "-c", _INSTALL, "install", *wanted.packages),
            labels=ours(self._config.state_directory, Kind.BUILD, build=wanted.request.build_id),
            user="0:0",
            user_namespace="",  # files of Debian's own users keep their owners
            binds=(Bind(place, _PLACE),),
            writable_root=True,
            capabilities=_CAPABILITIES,
            memory_bytes=limits.memory_bytes,
            processes=limits.task_limit,
        )
        tail = Tail()
        async with engine.run(order) as started:

            async def work() -> int:
                await follow(started.output, tail, wanted.log.write, limits.idle_seconds)
                ended = await started.wait()
                if ended.out_of_memory:
                    raise out_of_memory(limits)
                return ended.status

            found = await engine.container(started.id)
            if await Watcher(limits, ()).during(work(), found.pid if found else 0):
                raise _failure(wanted.request.recipe.apt or "apt.txt", tail.text)
            name = self._name(wanted.labels[INPUTS])
            return await engine.commit(started.id, name, ImageConfig(labels=wanted.labels))

    def _name(self, inputs: str) -> str:
        return f"{_REPOSITORY}:{state_id(self._config.state_directory)}-{inputs}"

    async def _mirrors(self, engine: Engine, request: BuildRequest) -> frozenset[str]:
        """Where the base image gets Debian packages from, as ``host:port``."""
        order = ContainerOrder(
            image=self._site.base.id,
            command=("/bin/sh", "-c", _SOURCES),
            labels=ours(self._config.state_directory, Kind.BUILD, build=request.build_id),
        )
        async with engine.run(order) as asked:
            said = await asked.output.last_words()
        urls = [urlsplit(found[0]) for found in _MIRROR.finditer(said)]
        return frozenset(f"{url.hostname}:{url.port or _PORTS[url.scheme]}" for url in urls)


def _prepare(place: Path) -> None:
    """The directory that the container sees: the bridge now, the proxy's socket later."""
    place.mkdir(parents=True)
    shutil.copyfile(BRIDGE_FILE, place / "bridge.py")


def _failure(file: str, tail: str) -> BuildFailed:
    missing = _MISSING.findall(tail)
    reason = f": there is no package {', '.join(dict.fromkeys(missing))}" if missing else ""
    return BuildFailed(f"Installing the packages of {file} failed{reason}.", hint="The build's log has apt's words.")
