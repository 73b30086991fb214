"""The build queue: wishes in, environments out, whatever happens on the way."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from launcher.builds import BuildLogs, BuildQueue
from launcher.errors import BuildCancelled, BuildFailed, BuildNotFound, QueueFull, RecipeUnsupported
from launcher.models import BuildId, BuildStatus, EnvironmentSize, EnvironmentStatus, Username
from launcher.store import BuildRow, EnvironmentRow, Store
from tests.support import examples
from tests.support.gated_builder import GatedBuilder

ANA = Username("ana")


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/launcher.sqlite") as opened:
        yield opened


@pytest.fixture
def builder(tmp_path) -> GatedBuilder:
    (tmp_path / "environments").mkdir()
    return GatedBuilder(tmp_path / "environments", gate_open=False)


@pytest.fixture
def logs(tmp_path) -> BuildLogs:
    return BuildLogs(tmp_path / "logs", tick_seconds=0.001)


@pytest.fixture
async def queue(store, builder, logs) -> AsyncIterator[BuildQueue]:
    queue = BuildQueue(store, builder, logs, concurrency=2, max_waiting=3, retry_seconds=0.01)
    await queue.start()
    yield queue
    await queue.stop()


async def ask(queue: BuildQueue, number: int = 1, by: Username = ANA) -> BuildRow:
    row = await queue.ensure(examples.key(number), examples.recipe(), examples.snapshot(), asked_by=by)
    assert isinstance(row, BuildRow)
    return row


async def texts(queue: BuildQueue, build_id: BuildId, after: int = 0) -> list[str]:
    async with asyncio.timeout(10):
        return [record.text async for record in queue.watch(build_id, after)]


async def test_an_unknown_environment_is_built_and_then_simply_there(queue, builder, store) -> None:
    builder.gate(examples.key()).set()
    row = await ask(queue)
    ended = await queue.wait(row.id)
    assert ended.status is BuildStatus.SUCCEEDED
    assert ended.log_bytes > 0
    environment = await queue.ensure(examples.key(), examples.recipe(), examples.snapshot(), asked_by=ANA)
    assert isinstance(environment, EnvironmentRow)
    assert environment.reference == "env-00000001"
    assert environment.fingerprint == "gated-1"
    assert builder.started == [row.id]


async def test_fifty_clicks_share_one_build(queue, builder, store) -> None:
    rows = await asyncio.gather(*(ask(queue, by=Username(f"u{number}")) for number in range(50)))
    assert len({row.id for row in rows}) == 1
    builder.gate(examples.key()).set()
    ended = await asyncio.gather(*(queue.wait(row.id) for row in rows))
    assert {row.status for row in ended} == {BuildStatus.SUCCEEDED}
    assert len(builder.started) == 1
    assert len(store.builds_of(None)) == 1


async def test_builds_run_oldest_first_and_never_more_than_allowed(queue, builder) -> None:
    rows = [await ask(queue, number) for number in (5, 3, 4, 1, 2)]
    await builder.until_started(2)
    for number in (5, 3, 4, 1, 2):
        builder.gate(examples.key(number)).set()
    for row in rows:
        assert (await queue.wait(row.id)).status is BuildStatus.SUCCEEDED
    assert builder.started == [row.id for row in rows]
    assert builder.most_at_once == 2


async def test_a_full_queue_says_so_and_takes_more_when_a_build_is_over(queue, builder) -> None:
    rows = [await ask(queue, number) for number in range(5)]
    with pytest.raises(QueueFull):
        await ask(queue, 6)
    assert (await ask(queue, 4)).id == rows[4].id
    builder.gate(examples.key(0)).set()
    await queue.wait(rows[0].id)
    await ask(queue, 6)


async def test_a_recipe_the_builder_refuses_makes_no_row(queue, builder, store) -> None:
    builder.refusal = RecipeUnsupported("apt.txt needs containers.")
    with pytest.raises(RecipeUnsupported):
        await ask(queue)
    assert store.environment(examples.key()) is None


async def test_a_failed_build_keeps_its_words_and_the_next_ask_builds_again(queue, builder, store) -> None:
    builder.endings[examples.key()] = BuildFailed("No such package: nmpy.", hint="Did you mean numpy?")
    builder.gate(examples.key()).set()
    failed = await queue.wait((await ask(queue)).id)
    assert failed.status is BuildStatus.FAILED
    assert isinstance(failed.error, BuildFailed)
    assert (failed.error.message, failed.error.hint) == ("No such package: nmpy.", "Did you mean numpy?")
    assert (await texts(queue, failed.id))[-1] == "No such package: nmpy. Did you mean numpy?"
    builder.endings.clear()
    again = await queue.wait((await ask(queue)).id)
    assert again.status is BuildStatus.SUCCEEDED
    assert again.id != failed.id
    assert len(store.builds_of(ANA)) == 2


async def test_a_crashing_builder_fails_the_build_without_showing_its_words(queue, builder) -> None:
    builder.endings[examples.key(1)] = RuntimeError("/secret/path token=abc")
    builder.gate(examples.key(1)).set()
    builder.gate(examples.key(2)).set()
    failed = await queue.wait((await ask(queue, 1)).id)
    assert (failed.status, failed.error_code) == (BuildStatus.FAILED, "build_failed")
    assert "secret" not in f"{failed.error_message} {failed.error_hint} {await texts(queue, failed.id)}"
    assert (await queue.wait((await ask(queue, 2)).id)).status is BuildStatus.SUCCEEDED


async def test_a_timeout_inside_the_builder_is_not_taken_for_ours(queue, builder) -> None:
    builder.endings[examples.key()] = TimeoutError()
    builder.gate(examples.key()).set()
    assert (await queue.wait((await ask(queue)).id)).error_code == "build_failed"


async def test_a_build_that_never_ends_is_ended(store, builder, logs) -> None:
    queue = BuildQueue(store, builder, logs, timeout_seconds=0.05)
    await queue.start()
    row = await queue.wait((await ask(queue)).id)
    assert row.error_code == "build_limit_exceeded"
    assert builder.cleaned == [row.id]
    await queue.stop()


async def test_cancelling_a_running_build_ends_it_after_the_builder_has_cleaned_up(queue, builder, store) -> None:
    row = await ask(queue)
    await builder.until_started(1)
    builder.cleaning.clear()
    await queue.cancel(row.id)
    await builder.begins_to_clean.wait()
    await queue.cancel(row.id)
    await asyncio.sleep(0)
    assert builder.running == {row.id}
    assert store.build(row.id).is_open
    builder.cleaning.set()
    ended = await queue.wait(row.id)
    assert ended.status is BuildStatus.CANCELLED
    assert isinstance(ended.error, BuildCancelled)
    assert builder.cleaned == [row.id]
    assert store.environment(examples.key()).status is EnvironmentStatus.FAILED
    assert (await queue.cancel(row.id)).status is BuildStatus.CANCELLED


async def test_cancelling_a_waiting_build_ends_it_at_once_and_it_never_runs(queue, builder) -> None:
    rows = [await ask(queue, number) for number in (1, 2, 3)]
    await builder.until_started(2)
    assert (await queue.cancel(rows[2].id)).status is BuildStatus.CANCELLED
    assert await texts(queue, rows[2].id) == []
    builder.gate(examples.key(1)).set()
    await queue.wait(rows[0].id)
    assert rows[2].id not in builder.started


async def test_cancelling_before_the_worker_has_begun_works_too(queue, builder) -> None:
    row = await ask(queue)
    await asyncio.sleep(0)
    await queue.cancel(row.id)
    async with asyncio.timeout(10):
        assert (await queue.wait(row.id)).status is BuildStatus.CANCELLED


async def test_who_asks_while_a_build_is_being_cancelled_gets_a_new_one(queue, builder) -> None:
    first = await ask(queue)
    await builder.until_started(1)
    builder.cleaning.clear()
    await queue.cancel(first.id)
    asking = asyncio.create_task(ask(queue, by=Username("bob")))
    await asyncio.sleep(0)
    builder.cleaning.set()
    builder.gate(examples.key()).set()
    second = await asking
    assert second.id != first.id
    assert (await queue.wait(second.id)).status is BuildStatus.SUCCEEDED


async def test_an_environment_that_vanished_is_built_again(queue, builder) -> None:
    builder.gate(examples.key()).set()
    await queue.wait((await ask(queue)).id)
    await builder.remove("env-00000001")
    again = await ask(queue)
    assert (await queue.wait(again.id)).status is BuildStatus.SUCCEEDED
    assert len(builder.started) == 2


async def made(queue, builder, number: int = 1) -> EnvironmentRow:
    """An environment that is ready, whose next build waits at its gate."""
    builder.gate(examples.key(number)).set()
    await queue.wait((await ask(queue, number)).id)
    builder.gate(examples.key(number)).clear()
    environment = await queue.ready(examples.key(number))
    assert environment is not None
    return environment


async def rebuild(queue, by: Username = ANA) -> BuildRow:
    return await queue.rebuild(examples.key(), examples.recipe(), examples.snapshot(), asked_by=by)


async def test_what_is_made_anew_can_be_used_until_the_new_one_is_there(queue, builder, store) -> None:
    old = await made(queue, builder)
    store.save_sizes({old.reference: EnvironmentSize(10, 20)})
    rows = await asyncio.gather(*(rebuild(queue, Username(f"u{number}")) for number in range(5)))
    assert len({row.id for row in rows}) == 1, "one build, however many ask"
    meanwhile = await queue.ensure(examples.key(), examples.recipe(), examples.snapshot(), asked_by=ANA)
    assert isinstance(meanwhile, EnvironmentRow)
    assert (meanwhile.reference, meanwhile.own_bytes) == (old.reference, 10)
    builder.gate(examples.key()).set()
    assert (await queue.wait(rows[0].id)).status is BuildStatus.SUCCEEDED
    new = await queue.ready(examples.key())
    assert new.reference != old.reference
    assert new.own_bytes is None, "nobody measured the new one yet"
    assert await builder.exists(old.reference), "sessions may run in it: the sweep removes it when none does"


@pytest.mark.parametrize("end", ["fails", "is cancelled", "crashes"])
async def test_making_anew_that_comes_to_nothing_loses_nothing(queue, builder, store, end) -> None:
    old = await made(queue, builder)
    builder.endings[examples.key()] = RuntimeError("boom") if end == "crashes" else BuildFailed("No such package.")
    row = await rebuild(queue)
    if end == "is cancelled":
        await builder.until_started(2)
        await queue.cancel(row.id)
    else:
        builder.gate(examples.key()).set()
    ended = await queue.wait(row.id)
    assert ended.status is (BuildStatus.CANCELLED if end == "is cancelled" else BuildStatus.FAILED)
    after = await queue.ready(examples.key())
    assert (after.reference, after.status, after.error_code) == (old.reference, EnvironmentStatus.READY, None)
    builder.endings.clear()
    builder.gate(examples.key()).set()
    assert (await queue.wait((await rebuild(queue)).id)).status is BuildStatus.SUCCEEDED, "and it can be tried again"


async def test_an_environment_that_failed_is_simply_built(queue, builder, store) -> None:
    builder.endings[examples.key()] = BuildFailed("No such package.")
    builder.gate(examples.key()).set()
    await queue.wait((await ask(queue)).id)
    await queue.wait((await rebuild(queue)).id)
    assert store.environment(examples.key()).status is EnvironmentStatus.FAILED
    builder.endings.clear()
    await queue.wait((await rebuild(queue)).id)
    assert (await queue.ready(examples.key())) is not None


async def test_positions_count_down_as_the_queue_moves(queue, builder) -> None:
    rows = [await ask(queue, number) for number in range(5)]
    await builder.until_started(2)
    seen: list[int] = []
    async with asyncio.timeout(10):
        async for position in queue.positions(rows[4].id):
            seen.append(position)
            if position == 2:
                await queue.cancel(rows[3].id)
            elif position == 1:
                builder.gate(examples.key(0)).set()
            else:
                builder.gate(examples.key(1)).set()
    assert seen == [2, 1, 0]
    assert [position async for position in queue.positions(rows[0].id)] == []


async def test_held_builds_wait_and_say_why_running_ones_go_on(queue, builder) -> None:
    running = await ask(queue, 1)
    await builder.until_started(1)
    queue.line.hold("The disk is nearly full.")
    builder.gate(examples.key(1)).set()
    assert (await queue.wait(running.id)).status is BuildStatus.SUCCEEDED
    waiting = await ask(queue, 2)
    seen: list[tuple[int, str]] = []
    async with asyncio.timeout(10):
        async for position in queue.positions(waiting.id):
            seen.append((position, queue.line.held))
            queue.line.hold("" if len(seen) > 1 else "Somebody makes room.")
    assert seen[:2] == [(0, "The disk is nearly full."), (0, "Somebody makes room.")]
    await builder.until_started(2)
    builder.gate(examples.key(2)).set()
    assert (await queue.wait(waiting.id)).status is BuildStatus.SUCCEEDED


async def test_an_environment_that_is_removed_while_its_build_ends_is_made_again(queue, builder, store) -> None:
    row = await ask(queue)
    await builder.until_started(1)
    async with queue.artefacts:  # as whoever removes artefacts does
        builder.gate(examples.key()).set()
        async with asyncio.timeout(10):
            await builder.has_cleaned.wait()
        await builder.remove("env-00000001")
    assert (await queue.wait(row.id)).status is BuildStatus.SUCCEEDED
    assert await builder.exists("env-00000001")
    assert builder.started == [row.id, row.id]


async def test_nobody_can_watch_or_cancel_what_does_not_exist(queue, tmp_path) -> None:
    (tmp_path / "secret.jsonl").write_text('{"t":0,"text":"secret"}\n')
    for build_id in ("nothing", "../secret", "", "a/b", "x" * 100, "\x00"):
        with pytest.raises(BuildNotFound):
            await texts(queue, BuildId(build_id))
        with pytest.raises(BuildNotFound):
            await queue.cancel(BuildId(build_id))
        with pytest.raises(BuildNotFound):
            await queue.wait(BuildId(build_id))


async def test_stopping_keeps_the_rows_open_and_the_next_service_goes_on_under_the_same_id(
    store, builder, logs, tmp_path
) -> None:
    first = BuildQueue(store, builder, logs, concurrency=1)
    await first.start()
    running, waiting = await ask(first, 1), await ask(first, 2)
    await builder.until_started(1)
    watcher = asyncio.create_task(texts(first, running.id))
    await asyncio.sleep(0)
    await first.stop()
    assert builder.cleaned == [running.id]
    assert (await watcher)[-1] == "The service stops; this build starts again with it."
    assert [(row.id, row.status, row.interruptions) for row in store.builds_open()] == [
        (running.id, BuildStatus.WAITING, 0),
        (waiting.id, BuildStatus.WAITING, 0),
    ]
    seen = logs.size(running.id)
    second = BuildQueue(store, builder, BuildLogs(tmp_path / "logs", tick_seconds=0.001), concurrency=1)
    await second.start()
    builder.gate(examples.key(1)).set()
    builder.gate(examples.key(2)).set()
    assert (await second.wait(running.id)).status is BuildStatus.SUCCEEDED
    assert (await second.wait(waiting.id)).status is BuildStatus.SUCCEEDED
    assert builder.reaped == [running.id]
    assert builder.started == [running.id, running.id, waiting.id]
    assert await texts(second, running.id, seen) == [
        "The service was restarted; the build starts again.",
        "",
        "building 0001",
    ]
    await second.stop()


async def test_a_build_cancelled_while_the_service_was_down_is_reaped_and_not_run(store, builder, logs) -> None:
    first = BuildQueue(store, builder, logs)
    await first.start()
    row = await ask(first)
    await builder.until_started(1)
    await first.stop()
    store.set_build_target_cancelled(row.id)
    second = BuildQueue(store, builder, logs)
    await second.start()
    assert (await second.wait(row.id)).status is BuildStatus.CANCELLED
    assert builder.reaped == [row.id]
    assert builder.started == [row.id]
    await second.stop()


async def test_a_build_that_keeps_killing_the_service_is_given_up(store, builder, logs) -> None:
    first = BuildQueue(store, builder, logs)
    row = await ask(first)
    for _ in range(2):
        store.set_build_running(row.id)
        store.requeue_interrupted_builds()
    store.set_build_running(row.id)
    second = BuildQueue(store, builder, logs, max_interruptions=2)
    await second.start()
    ended = await second.wait(row.id)
    assert (ended.status, ended.interruptions) == (BuildStatus.FAILED, 3)
    assert "3 times" in ended.error_message
    assert builder.started == []
    assert builder.reaped == [row.id]
    await second.stop()


async def test_a_request_of_another_version_fails_with_words(store, builder, logs) -> None:
    store.create_build(
        BuildId("b1"), examples.key(), recipe=examples.recipe(), fingerprint="f", spec="s",
        request={"version": 99}, asked_by=ANA, max_open=9,
    )  # fmt: skip
    queue = BuildQueue(store, builder, logs)
    await queue.start()
    ended = await queue.wait(BuildId("b1"))
    assert ended.status is BuildStatus.FAILED
    assert "another version" in ended.error_message
    await queue.stop()


async def test_a_flood_ends_the_build_with_a_marker_and_the_reason(store, tmp_path) -> None:
    class Flooding(GatedBuilder):
        async def build(self, request, log):
            while True:
                log.write("y\n" * 1000)
                await asyncio.sleep(0)

    (tmp_path / "environments").mkdir()
    logs = BuildLogs(tmp_path / "logs", total_limit=100_000)
    queue = BuildQueue(store, Flooding(tmp_path / "environments"), logs)
    await queue.start()
    ended = await queue.wait((await ask(queue)).id)
    assert ended.error_code == "build_limit_exceeded"
    assert 100_000 <= ended.log_bytes < 101_000
    records = [record async for record in queue.watch(ended.id)]
    assert [record.note for record in records[-2:]] == [True, True]
    assert "printed more than" in records[-1].text
    await queue.stop()


async def test_what_a_build_ended_as_is_saved_as_soon_as_the_database_lets_it(queue, builder, store, tmp_path) -> None:
    row = await ask(queue)
    await builder.until_started(1)
    # A database that says no for a while: the table is elsewhere.
    with sqlite3.connect(tmp_path / "launcher.sqlite") as other:
        other.execute("ALTER TABLE builds RENAME TO gone")
    builder.gate(examples.key()).set()
    with capture_logs() as said:
        async with asyncio.timeout(10):
            await builder.has_cleaned.wait()
            while not said:  # noqa: ASYNC110 - it is told to the log only
                await asyncio.sleep(0.001)
    assert {entry["event"] for entry in said} == {"build_state_not_saved"}
    with sqlite3.connect(tmp_path / "launcher.sqlite") as other:
        other.execute("ALTER TABLE gone RENAME TO builds")
    other.close()
    async with asyncio.timeout(10):
        assert (await queue.wait(row.id)).status is BuildStatus.SUCCEEDED


async def test_the_log_directory_and_its_files_are_for_our_eyes_only(queue, builder, tmp_path) -> None:
    builder.gate(examples.key()).set()
    await queue.wait((await ask(queue)).id)
    directory = tmp_path / "logs"
    (file,) = directory.iterdir()
    assert [oct(path.stat().st_mode & 0o777) for path in (directory, file)] == ["0o700", "0o600"]
