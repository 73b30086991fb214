"""What is remembered of commits, with a real git server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.models import Resolved
from launcher.sessions.readings import Readings
from launcher.sources.registry import RepositorySources, SourcesConfig
from tests.support.git_server import GitServer, commit, make_repository
from tests.support.running import git_spec


class Place:
    """One repository, and sources that have it."""

    def __init__(self, directory: Path, server: GitServer) -> None:
        self.path = make_repository(server.directory / "r", {"requirements.txt": "numpy\n"})
        self.cache = directory / "cache"
        self.sources = RepositorySources(
            SourcesConfig(cache_directory=self.cache, allow_hosts=frozenset({server.host}))
        )
        self._spec = self.sources.parse("git", git_spec(server.url("r"), "main").removeprefix("git/"))

    async def resolved(self) -> Resolved:
        return await self.sources.resolve(self._spec)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "git").mkdir()
    with GitServer(tmp_path / "git") as server:
        yield Place(tmp_path, server)


async def test_a_commit_is_read_once_and_a_new_one_anew(place: Place) -> None:
    readings = Readings(place.sources)
    first = await readings.read(await place.resolved())
    assert (first.recipe.main, first.commit is not None) == ("requirements.txt", True)
    for repository in place.cache.iterdir():
        shutil.rmtree(repository, ignore_errors=True)
    assert await readings.read(await place.resolved()) is first
    commit(place.path, {"environment.yml": "dependencies: [numpy]\n"}, "Other packages")
    second = await readings.read(await place.resolved())
    assert second.recipe.main == "environment.yml"
    assert second.commit is not None
    assert second.commit.subject == "Other packages"


async def test_only_so_many_are_remembered(place: Place) -> None:
    readings = Readings(place.sources, most=1)
    old = await place.resolved()
    first = await readings.read(old)
    commit(place.path, {"a.txt": "a\n"})
    await readings.read(await place.resolved())
    again = await readings.read(old)
    assert again is not first
    assert again.recipe == first.recipe
