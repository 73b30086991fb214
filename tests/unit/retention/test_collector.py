"""What goes, what stays, and that a pass that was cut short is finished by the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from launcher.errors import BuildFailed
from launcher.models import BuildId, EnvironmentSize, Storage
from launcher.retention.policy import Reason, RetentionPolicy
from tests.support import examples
from tests.support.retention import ANA, World


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.builds.start()
    yield made
    await made.builds.stop()
    made.store.close()


async def test_what_nobody_used_for_long_goes_and_a_click_makes_it_young(world) -> None:
    for number in (1, 2):
        await world.environment(number)
    world.later(days=20)
    await world.builds.ensure(examples.key(2), examples.recipe(), examples.snapshot(), asked_by=ANA)
    world.later(days=15)
    gone = await world.collector().collect()
    assert [doomed.reason for doomed in gone.environments] == [Reason.AGE]
    assert await world.keys() == {2}
    assert world.logs.ids() == {row.id for row in world.store.builds_of(None)}


async def test_without_limits_everything_stays(world) -> None:
    await world.environment(1)
    world.later(days=10_000)
    await world.collector(RetentionPolicy()).collect()
    assert await world.keys() == {1}
    assert len(world.logs.ids()) == 1


async def test_what_is_pinned_used_by_a_session_starting_or_being_built_stays(world) -> None:
    references = [await world.environment(number) for number in range(6)]
    world.store.pin_environment(examples.key(0), pinned=True)
    world.users.add(references[1])
    world.later(days=40)
    plan = replace(examples.plan(), environment=references[2])
    world.store.issue_ticket("ticket", plan, world.now + timedelta(minutes=5))
    world.store.touch_environment(examples.key(3))
    world.builder.hold()
    await world.builder.remove(references[4])
    await world.builds.ensure(examples.key(4), examples.recipe(), examples.snapshot(), asked_by=ANA)
    assert [doomed.reference for doomed in (await world.collector().plan()).environments] == [references[5]]
    await world.collector().collect()
    assert {int(one.row.key, 16) for one in world.store.environments_page()} == {0, 1, 2, 3, 4}
    world.builder.release()


@pytest.mark.parametrize("what", ["session", "click", "pin"])
async def test_what_somebody_begins_to_use_during_a_pass_stays(world, monkeypatch, what) -> None:
    reference = await world.environment(1)
    world.later(days=40)
    measured = world.builder.storage

    async def meanwhile(references: frozenset[str] | None = None) -> Storage:
        """The pass has asked who uses what, and goes on to decide."""
        if what == "session":
            world.users.add(reference)
        elif what == "click":
            world.store.touch_environment(examples.key(1))
        else:
            world.store.pin_environment(examples.key(1), pinned=True)
        return await measured(references)

    monkeypatch.setattr(world.builder, "storage", meanwhile)
    assert (await world.collector().collect()).environments == []
    assert await world.keys() == {1}


async def test_a_session_that_ran_for_long_keeps_its_environment_for_as_long_again(world) -> None:
    world.users.add(await world.environment(1))
    world.later(days=40)
    await world.collector().collect()
    world.users.clear()
    world.later(days=20)
    await world.collector().collect()
    assert await world.keys() == {1}
    world.later(days=20)
    await world.collector().collect()
    assert await world.keys() == set()


async def test_environments_that_share_an_artefact_go_together_or_not_at_all(world) -> None:
    for number in (1, 2):
        await world.environment(number, files="same")
    world.later(days=31)
    world.store.touch_environment(examples.key(2))
    await world.collector().collect()
    assert await world.keys() == {1, 2}
    world.later(days=31)
    await world.collector().collect()
    assert await world.keys() == set()


async def test_too_many_go_oldest_use_first_but_never_those_used_just_now(world) -> None:
    for number in range(5):
        await world.environment(number)
        world.later(hours=1)
    world.store.touch_environment(examples.key(0))
    policy = RetentionPolicy(max_count=3)
    await world.collector(policy).collect()
    assert await world.keys() == {0, 3, 4}
    await world.collector(RetentionPolicy(max_count=1)).collect()
    assert await world.keys() == {0}


async def test_too_big_goes_until_the_rest_fits(world) -> None:
    for number in range(5):
        await world.environment(number)  # 1024 bytes each
        world.later(hours=1)
    await world.collector(RetentionPolicy(max_bytes=3000)).collect()
    assert await world.keys() == {3, 4}
    sizes = {(one.row.own_bytes, one.row.shared_bytes) for one in world.store.environments_page()}
    assert sizes == {(1024, 0)}


async def test_room_is_made_with_what_was_used_longest_ago(world) -> None:
    for number in range(4):
        await world.environment(number)
        world.later(hours=1)
    assert await world.collector(RetentionPolicy()).make_room(1500) == 2
    assert await world.keys() == {2, 3}


async def test_artefacts_nobody_knows_are_swept_when_they_stay_unknown(world) -> None:
    reference = await world.environment(1)
    world.later(days=1)
    world.store.forget_artefact(reference, world.now)  # as a crash between row and artefact leaves it
    collector = world.collector()
    assert (await collector.collect()).environments == []
    world.later(hours=1)
    gone = await collector.collect()
    assert [(doomed.reference, doomed.reason) for doomed in gone.environments] == [(reference, Reason.UNKNOWN)]
    assert await world.builder.references() == frozenset()


async def test_an_unknown_artefact_in_which_a_session_runs_stays(world) -> None:
    reference = await world.environment(1)
    world.later(days=1)
    world.store.forget_artefact(reference, world.now)
    world.users.add(reference)
    await world.collector().collect(at_once=True)
    assert await world.builder.references() == {reference}


async def test_old_histories_go_with_their_logs_and_what_never_was_is_forgotten(world) -> None:
    await world.environment(1)
    world.builder.fail(examples.key(2), lambda: BuildFailed("No."))
    row = await world.builds.ensure(examples.key(2), examples.recipe(), examples.snapshot(), asked_by=ANA)
    await world.builds.wait(row.id)
    (world.directory / "logs" / "orphan.jsonl").write_text("{}\n")
    world.later(days=11)
    gone = await world.collector().collect()
    assert list(gone.builds) == [row.id]
    assert world.logs.ids() == {one.id for one in world.store.builds_of(None)} != set()
    assert await world.keys() == {1}


async def test_a_wish_is_done_at_once_and_the_artefact_stays_while_another_needs_it(world) -> None:
    for number in (1, 2):
        reference = await world.environment(number, files="same")
    collector = world.collector()
    for number, left in ((1, {2}), (2, set())):
        world.users.add(reference)
        assert world.store.ask_removal(examples.key(number))
        assert not await collector.remove(examples.key(number))
        world.users.clear()
        assert await collector.remove(examples.key(number))
        assert await world.keys() == left


async def test_what_dead_builds_left_is_reaped(world) -> None:
    world.builder.crash(BuildId("dead"))
    await world.collector().collect()
    assert world.builder.left_behind == set()


async def test_sizes_are_those_that_were_measured(world) -> None:
    reference = await world.environment(1)
    assert world.store.unmeasured_artefacts() == {reference}
    await world.collector().measure()
    assert world.store.unmeasured_artefacts() == frozenset()
    world.store.save_sizes({reference: EnvironmentSize(1, 2)})
    (only,) = world.store.environments_page()
    assert (only.row.own_bytes, only.row.shared_bytes) == (1, 2)
