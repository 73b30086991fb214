"""A disk that is nearly full: builds wait and say so, unused environments go, and builds go on by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from launcher.errors import StateUnusable
from launcher.retention.loop import DISK_FULL, Retention, free_bytes
from launcher.retention.policy import RetentionPolicy
from tests.support import examples
from tests.support.retention import ANA, World

FREE = RetentionPolicy(free_bytes=4096, grace=timedelta(minutes=15))


class Disk:
    """A disk of 8 KiB on which environments of the fake builder take 1 KiB each, besides what others put there."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.others = 0
        self.broken = False

    def __call__(self, _place: Path) -> int:
        if self.broken:
            raise OSError("no such disk")
        taken = 1024 * len(self._world.builder._environments)
        return 8192 - taken - self.others


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.builds.stop()
    made.store.close()


@pytest.fixture
async def disk(world) -> Disk:
    return Disk(world)


@pytest.fixture
async def retention(world, disk) -> AsyncIterator[Retention]:
    made = Retention(world.collector(FREE), free=disk, look_seconds=0.005, pass_seconds=60)
    yield made
    await made.stop()


async def held(world: World, reason: str) -> None:
    """Wait until builds are held for a reason, or for none."""
    async with asyncio.timeout(10):
        while world.builds.line.held != reason:  # noqa: ASYNC110 - a test looks from outside
            await asyncio.sleep(0.002)


async def test_builds_wait_while_the_disk_is_full_and_go_on_by_themselves(world, disk, retention) -> None:
    disk.others = 6000
    await retention.start()
    await world.builds.start()
    assert world.builds.line.held == DISK_FULL
    row = await world.builds.ensure(examples.key(1), examples.recipe(), examples.snapshot(), asked_by=ANA)
    assert [position async for position in _first(world.builds.positions(row.id))] == [0]
    assert world.builder.started == []
    disk.others = 0
    async with asyncio.timeout(10):
        await world.builds.wait(row.id)
    assert len(world.builder.started) == 1
    assert world.builds.line.held == ""


async def _first(positions):
    async for position in positions:
        yield position
        return


async def test_unused_environments_make_room_those_used_just_now_do_not(world, disk, retention) -> None:
    await world.builds.start()
    for number in range(3):
        await world.environment(number)
    world.later(hours=1)
    world.store.touch_environment(examples.key(2))
    disk.others = 3000
    await retention.start()
    await held(world, "")
    assert await world.keys() == {2}
    disk.others = 6000
    await held(world, DISK_FULL)
    assert await world.keys() == {2}


async def test_a_wish_to_remove_is_found_without_being_told(world, retention) -> None:
    await world.builds.start()
    await world.environment(1)
    await retention.start()
    world.store.ask_removal(examples.key(1))
    async with asyncio.timeout(10):
        while await world.builder.references():  # noqa: ASYNC110 - a test looks from outside
            await asyncio.sleep(0.002)


async def test_passes_are_made_by_themselves(world, disk) -> None:
    await world.builds.start()
    await world.environment(1)
    world.later(days=40)
    policy = RetentionPolicy(max_age=timedelta(days=30))
    collector = world.collector(policy)
    retention = Retention(collector, free=disk, look_seconds=0.005, pass_seconds=0.01)
    await retention.start()
    async with asyncio.timeout(10):
        while await world.builder.references():  # noqa: ASYNC110 - a test looks from outside
            await asyncio.sleep(0.002)
    await retention.stop()


async def test_trouble_does_not_end_the_loop(world, disk, retention, monkeypatch) -> None:
    disk.broken = True
    await retention.start()
    await world.builds.start()
    await asyncio.sleep(0.02)  # some looks that fail
    disk.broken, disk.others = False, 8000
    await held(world, DISK_FULL)

    def unusable() -> None:
        raise StateUnusable("The database is locked.")

    monkeypatch.setattr(world.store, "removals_asked", unusable)
    await asyncio.sleep(0.02)
    disk.others = 0
    await held(world, "")


def test_the_disk_of_a_directory_that_is_not_there_yet_is_that_of_its_parent(tmp_path) -> None:
    assert free_bytes(tmp_path / "not" / "yet") == pytest.approx(free_bytes(tmp_path), rel=0.5)
