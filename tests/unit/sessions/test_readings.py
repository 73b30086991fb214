"""What is remembered of commits, with a real git server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import RefNotFound
from launcher.models import Resolved
from launcher.sessions.readings import FRESH_SECONDS, Readings
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
        self.spec = self.sources.parse("git", git_spec(server.url("r"), "main").removeprefix("git/"))

    async def resolved(self) -> Resolved:
        return await self.sources.resolve(self.spec)


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


async def test_a_branch_is_asked_for_again_after_a_moment(place: Place) -> None:
    now = 100.0
    readings = Readings(place.sources, clock=lambda: now)
    first = await readings.resolve(place.spec)
    new = commit(place.path, {"a.txt": "a\n"})
    now += FRESH_SECONDS
    assert await readings.resolve(place.spec) is first
    now += 0.1
    assert (await readings.resolve(place.spec)).ref == new
    now += FRESH_SECONDS
    assert (await readings.resolve(place.spec)).ref == new


async def test_an_error_is_not_remembered(place: Place) -> None:
    readings = Readings(place.sources, clock=lambda: 0.0)
    missing = place.sources.parse("git", place.spec.raw.replace("main", "later"))
    with pytest.raises(RefNotFound):
        await readings.resolve(missing)
    new = commit(place.path, {"a.txt": "a\n"}, branch="later")
    assert (await readings.resolve(missing)).ref == new
