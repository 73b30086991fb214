"""What every builder promises, whatever runs behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import pytest

from launcher.builders.base import Builder
from launcher.builders.fake import FakeBuilder
from launcher.environments import with_dask
from launcher.errors import BuildError, BuildFailed, RecipeUnsupported
from launcher.models import BuildId, BuildRequest, EnvironmentKey, RecipeKind
from tests.support.builds import Bench, MemoryLog, building, request
from tests.support.container_builds import container_building, container_site
from tests.support.engine import base_image, container_engine
from tests.support.wheels import wheel

__all__ = ["base_image", "container_engine", "container_site"]  # fixtures


class Harness(Protocol):
    """A builder and requests that do to it what their names say."""

    builder: Builder

    def good(self, package: str = "alpha") -> BuildRequest: ...

    def failing(self) -> BuildRequest: ...

    def slow(self) -> BuildRequest: ...

    def remains(self) -> list[str]: ...

    def leave_behind(self, build_id: BuildId) -> None: ...


class RealHarness:
    def __init__(self, bench: Bench) -> None:
        self.directory = bench.directory
        self.builder = bench.builder
        self.remains = bench.remains
        wheel(bench.index.directory, "beta", requires=["alpha"])
        wheel(bench.index.directory, "dask")

    def _request(self, line: str) -> BuildRequest:
        files = {"requirements.txt": f"{line}\n", "notebook.ipynb": "{}"}
        return request(self.directory, files, RecipeKind.REQUIREMENTS, "requirements.txt")

    def good(self, package: str = "alpha") -> BuildRequest:
        return self._request(package)

    def failing(self) -> BuildRequest:
        return self._request("no-such-package")

    def slow(self) -> BuildRequest:
        files = {"postBuild": "#!/bin/sh\necho waiting\nexec sleep 60\n"}
        return request(self.directory, files, RecipeKind.NONE, None, post_build="postBuild")

    def leave_behind(self, build_id: BuildId) -> None:
        for place in (self.directory / "state" / "builds", self.directory / "state" / "cache" / "staging"):
            (place / build_id / "somewhere").mkdir(parents=True)


class FakeHarness:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.builder = FakeBuilder(lines=["waiting\n", "done\n"])

    def good(self, package: str = "alpha") -> BuildRequest:
        self.builder.release()
        files = {"requirements.txt": f"{package}\n"}
        return request(self.directory, files, RecipeKind.REQUIREMENTS, "requirements.txt")

    def failing(self) -> BuildRequest:
        made = self.good("no-such-package")
        self.builder.fail(made.key, lambda: BuildFailed("No package of that name.", hint="Correct the name."))
        return made

    def slow(self) -> BuildRequest:
        made = self.good("slow")
        self.builder.hold()
        return made

    def leave_behind(self, build_id: BuildId) -> None:
        self.builder.crash(build_id)

    def remains(self) -> list[str]:
        return [*self.builder.running, *self.builder.left_behind]


@pytest.fixture(params=["fake", "process", "container"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    if request.param == "fake":
        yield FakeHarness(tmp_path)
    elif request.param == "process":
        with building(tmp_path, dask_requirements=("dask",)) as bench:
            yield RealHarness(bench)
    else:
        site = request.getfixturevalue("container_site")
        with container_building(tmp_path, site, dask_requirements=("dask",)) as bench:
            yield RealHarness(bench)


async def until_it_says(builder: Builder, made: BuildRequest, word: str) -> tuple[asyncio.Task[object], MemoryLog]:
    """A build that has begun and said a word."""
    heard = asyncio.Event()
    log = MemoryLog(said=lambda text: heard.set() if word in text else None)
    task: asyncio.Task[object] = asyncio.create_task(builder.build(made, log))
    waiting = asyncio.create_task(heard.wait())
    done, _ = await asyncio.wait({task, waiting}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    assert heard.is_set(), (log.text, done)
    return task, log


async def test_a_built_environment_exists_and_is_listed(harness: Harness) -> None:
    built = await harness.builder.build(harness.good(), MemoryLog())
    assert await harness.builder.exists(built.reference)
    assert await harness.builder.references() == {built.reference}
    assert built.size_bytes > 0
    assert built.python.startswith("3.")


async def test_a_build_speaks_and_names_its_stages_in_order(harness: Harness) -> None:
    log = MemoryLog()
    await harness.builder.build(harness.good(), log)
    assert log.stages == ["fetching", "building", "pushing"]
    assert log.text.strip()


async def test_two_repositories_with_one_lock_share_one_environment_unless_it_is_made_anew(harness: Harness) -> None:
    first, second = harness.good(), harness.good()
    assert first.key != second.key
    built = [await harness.builder.build(one, MemoryLog()) for one in (first, second)]
    assert built[0].reference == built[1].reference
    assert len(await harness.builder.references()) == 1
    anew = await harness.builder.build(replace(first, build_id=BuildId("anew"), anew=True), MemoryLog())
    assert anew.lock == built[0].lock
    assert await harness.builder.references() == {anew.reference, built[0].reference}, "somebody may still work in it"


async def test_two_builds_of_one_lock_at_the_same_time_make_one_environment(harness: Harness) -> None:
    requests = [harness.good(), harness.good()]
    built = await asyncio.gather(*(harness.builder.build(one, MemoryLog()) for one in requests))
    assert len({one.reference for one in built}) == 1
    assert harness.remains() == []


async def test_different_packages_make_different_environments(harness: Harness) -> None:
    one = await harness.builder.build(harness.good("alpha"), MemoryLog())
    other = await harness.builder.build(harness.good("beta"), MemoryLog())
    assert one.reference != other.reference
    assert one.lock != other.lock


async def test_dask_that_was_chosen_makes_another_environment(harness: Harness) -> None:
    made = harness.good()
    plain = await harness.builder.build(made, MemoryLog())
    chosen = replace(made, recipe=with_dask(made.recipe), key=EnvironmentKey("d" * 64))
    built = await harness.builder.build(chosen, MemoryLog())
    assert built.reference != plain.reference
    assert built.lock != plain.lock
    assert (await harness.builder.build(made, MemoryLog())).reference == plain.reference


async def test_a_failed_build_says_so_and_leaves_nothing(harness: Harness) -> None:
    with pytest.raises(BuildFailed) as failure:
        await harness.builder.build(harness.failing(), MemoryLog())
    assert failure.value.hint
    assert "/" not in failure.value.message
    assert await harness.builder.references() == frozenset()
    assert harness.remains() == []


async def test_a_failed_build_can_be_repeated_with_another_recipe(harness: Harness) -> None:
    failing = harness.failing()
    with pytest.raises(BuildError):
        await harness.builder.build(failing, MemoryLog())
    good = replace(harness.good(), build_id=failing.build_id)
    assert await harness.builder.exists((await harness.builder.build(good, MemoryLog())).reference)


async def test_a_cancelled_build_ends_and_leaves_nothing(harness: Harness) -> None:
    task, _ = await until_it_says(harness.builder, harness.slow(), "waiting")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert harness.remains() == []
    assert await harness.builder.references() == frozenset()


async def test_reaping_what_does_not_exist_is_fine(harness: Harness) -> None:
    await harness.builder.reap(harness.good().build_id)
    await harness.builder.reap(harness.good().build_id)


async def test_removing_makes_an_environment_not_exist(harness: Harness) -> None:
    made = harness.good()
    built = await harness.builder.build(made, MemoryLog())
    await harness.builder.remove(built.reference)
    await harness.builder.remove(built.reference)
    assert not await harness.builder.exists(built.reference)
    assert await harness.builder.references() == frozenset()
    again = await harness.builder.build(made, MemoryLog())
    assert again.lock == built.lock
    assert await harness.builder.exists(again.reference)


async def test_storage_tells_what_each_environment_takes_and_counts_nothing_twice(harness: Harness) -> None:
    built = [await harness.builder.build(harness.good(name), MemoryLog()) for name in ("alpha", "beta")]
    references = {one.reference for one in built}
    storage = await harness.builder.storage()
    assert storage.environments.keys() == references
    assert all(size.own_bytes > 0 and size.shared_bytes >= 0 for size in storage.environments.values())
    own = sum(size.own_bytes for size in storage.environments.values())
    assert own <= storage.total_bytes <= own + sum(size.shared_bytes for size in storage.environments.values())
    one = await harness.builder.storage(frozenset({built[0].reference, "0" * 64}))
    assert one.environments.keys() == {built[0].reference}
    await harness.builder.remove(built[0].reference)
    assert (await harness.builder.storage()).total_bytes < storage.total_bytes


async def test_what_other_builds_left_is_reaped_and_a_running_one_goes_on(harness: Harness) -> None:
    task, _ = await until_it_says(harness.builder, made := harness.slow(), "waiting")
    await harness.builder.reap_others(frozenset({made.build_id}))
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    harness.leave_behind(BuildId("lost"))
    assert harness.remains()
    await harness.builder.reap_others(frozenset())
    assert harness.remains() == []


async def test_caches_can_be_emptied_and_the_next_build_fills_them_again(harness: Harness) -> None:
    built = await harness.builder.build(harness.good(), MemoryLog())
    assert await harness.builder.collect_caches(datetime.now(UTC)) >= 0
    assert await harness.builder.exists(built.reference)
    await harness.builder.remove(built.reference)
    await harness.builder.collect_caches(datetime.now(UTC))
    again = await harness.builder.build(harness.good(), MemoryLog())
    assert again.lock == built.lock


async def test_a_reference_nobody_made_does_not_exist(harness: Harness) -> None:
    for reference in ("", "..", "../state", "0" * 64, "/etc"):
        assert not await harness.builder.exists(reference)
        await harness.builder.remove(reference)


async def test_an_error_of_the_log_ends_the_build(harness: Harness) -> None:
    def enough(text: str) -> None:
        raise BuildFailed("That is enough.")

    with pytest.raises(BuildFailed, match="enough"):
        await harness.builder.build(harness.good(), MemoryLog(said=enough))
    assert harness.remains() == []


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        (RecipeKind.CONDA, "environment.yml"),
        (RecipeKind.R, "install.R"),
        (RecipeKind.JULIA, "Project.toml"),
        (RecipeKind.NIX, "default.nix"),
        (RecipeKind.DOCKERFILE, "binder/Dockerfile"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_building(harness: Harness, kind: RecipeKind, file: str) -> None:
    good = harness.good()
    with pytest.raises(RecipeUnsupported, match=file) as refusal:
        harness.builder.check(replace(good.recipe, kind=kind, main=file))
    assert refusal.value.hint
    log = MemoryLog()
    with pytest.raises(RecipeUnsupported):
        await harness.builder.build(replace(good, recipe=replace(good.recipe, kind=kind, main=file)), log)
    assert log.text == ""


@pytest.mark.parametrize("harness", ["fake", "process"], indirect=True)
async def test_system_packages_are_refused_by_the_name_of_their_file(harness: Harness) -> None:
    with pytest.raises(RecipeUnsupported, match=r"binder/apt\.txt") as refusal:
        harness.builder.check(replace(harness.good().recipe, apt="binder/apt.txt"))
    assert "container" in refusal.value.hint


async def test_the_fingerprint_is_text_that_fits_in_a_key(harness: Harness) -> None:
    assert harness.builder.fingerprint
    assert harness.builder.fingerprint.isascii()
