"""A container builder with what it needs, on the tests' own engine.

A test file imports the fixtures that it wants: ``from tests.support.container_builds import container_site`` and those
of `tests.support.engine`.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from launcher.builders.container.builder import ContainerBuilder
from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.images import EnvironmentImage
from launcher.builders.container.site import Site, look_at
from launcher.engine.base import ContainerOrder
from launcher.engine.find import EngineAddress
from launcher.engine.labels import STATE, Kind, ours, state_id
from launcher.models import BuiltEnvironment
from tests.support.builds import Bench, building, tiny_packages
from tests.support.engine import STATE_DIRECTORY

_T = TypeVar("_T")


@pytest.fixture(scope="session")
def container_site(container_engine: EngineAddress, base_image: str) -> Site:
    """The tests' engine and base image, as a builder wants them."""
    return aside(look_at(container_engine, base_image, ours(STATE_DIRECTORY, Kind.BUILD)))


BOTH = pytest.mark.parametrize("runtime", ["process", "container"])
"""For tests of what the runtimes do differently: the others run with the process runtime, which is quicker."""


@pytest.fixture
def runtime() -> str:
    """Which runtime a test's builder is of, unless the test says more: see `BOTH`."""
    return "process"


@pytest.fixture
def bench_of(runtime: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Any]:
    """`builds.building` or `container_building`, below the test's own directory."""
    if runtime == "process":
        return partial(building, tmp_path)
    return partial(container_building, tmp_path, request.getfixturevalue("container_site"))


@contextmanager
def container_building(directory: Path, site: Site, **settings: object) -> Iterator[ContainerBench]:
    """A container builder with an index of tiny packages; what it made is removed in the end."""
    with tiny_packages(directory / "index") as index:
        allowed = (index.host, *settings.pop("allow_hosts", ()))
        config = ContainerBuilderConfig.from_environment(
            directory / "state", {}, index_url=index.url, allow_hosts=allowed, **settings
        )
        bench = ContainerBench(directory, index, config, ContainerBuilder(config, site), site)
        try:
            yield bench
        finally:
            aside(bench.clear())


@dataclass
class ContainerBench(Bench):
    """A container builder and what is around it."""

    config: ContainerBuilderConfig
    builder: ContainerBuilder
    site: Site

    def meta(self, built: BuiltEnvironment) -> EnvironmentImage:
        meta = aside(self.builder.meta(built.reference))
        assert meta is not None
        return meta

    def environment(self, built: BuiltEnvironment) -> Path:
        raise AssertionError(f"{built.reference} is no directory")

    def kept(self, built: BuiltEnvironment) -> set[str]:
        listed = self.run(built, "/bin/sh", "-c", "cd /srv/environment-overlay && find . -type f -o -type l")
        return {line.removeprefix("./") for line in listed.stdout.splitlines()}

    def powerful(self, built: BuiltEnvironment) -> list[str]:
        found = self.run(built, "/bin/sh", "-c", "find / -xdev -perm /6000 -type f 2>/dev/null")
        return found.stdout.splitlines()

    def remains(self) -> list[str]:
        return [*super().remains(), *aside(self._containers())]

    def run(self, built: BuiltEnvironment, *command: str) -> subprocess.CompletedProcess[str]:
        return aside(self._run(built, command))

    async def clear(self) -> None:
        """Remove everything of this builder from the engine."""
        async with self.site.engine() as engine:
            mine = {STATE: state_id(self.config.state_directory)}
            for container in await engine.containers(mine):
                await engine.remove(container.id)
            for image in await engine.images(mine):
                await engine.remove_image(image.id, every_name=True)

    async def _containers(self) -> list[str]:
        async with self.site.engine() as engine:
            return [one.id for one in await engine.containers({STATE: state_id(self.config.state_directory)})]

    async def _run(self, built: BuiltEnvironment, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        async with self.site.engine() as engine:
            labels = ours(self.config.state_directory, Kind.SESSION)
            async with engine.run(ContainerOrder(image=built.reference, command=command, labels=labels)) as running:
                said = b"".join([piece async for piece in running.output])
                status = (await running.wait()).status
        return subprocess.CompletedProcess(command, status, said.decode(), "")


def aside(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of some work in an event loop of its own: the test's may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result(120)
