"""Build logs: every line to every watcher, once, in order, from wherever they left off."""

from __future__ import annotations

import asyncio
import json
import os
import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.builds import BuildLogs, LogRecord
from launcher.builds.logfile import LogWriter
from launcher.errors import BuildLimitExceeded, BuildNotFound, StateUnusable
from launcher.models import BuildId

START = datetime(2026, 1, 1, tzinfo=UTC)
B1 = BuildId("b1")


@pytest.fixture
def logs(tmp_path) -> BuildLogs:
    return BuildLogs(tmp_path / "logs", tick_seconds=0.001, clock=lambda: START)


def end(logs: BuildLogs, writer: LogWriter, build_id: BuildId = B1) -> None:
    writer.close()
    logs.close(build_id)


async def read(logs: BuildLogs, build_id: BuildId = B1, after: int = 0) -> list[LogRecord]:
    async with asyncio.timeout(20):
        return [record async for record in logs.watch(build_id, after)]


async def test_a_record_says_when_at_which_stage_and_what(tmp_path) -> None:
    now = START
    logs = BuildLogs(tmp_path / "logs", clock=lambda: now)
    writer = logs.open(B1, START)
    writer.write("before any stage\n")
    now = START + timedelta(seconds=1.5)
    writer.stage("building")
    writer.write("half a line")
    now = START - timedelta(hours=1)  # the machine's clock was set back
    writer.note("the launcher's words\nin two lines")
    end(logs, writer)
    records = await read(logs)
    assert [(record.seconds, record.stage, record.text, record.note) for record in records] == [
        (0, None, "before any stage", False),
        (1.5, "building", "", False),
        (1.5, "building", "half a line", False),
        (1.5, "building", "the launcher's words", True),
        (1.5, "building", "in two lines", True),
    ]
    with (tmp_path / "logs" / "b1.jsonl").open("rb") as file:
        assert [(json.loads(line)["text"], file.tell()) for line in iter(file.readline, b"")] == [
            (record.text, record.id) for record in records
        ]


async def test_an_unknown_stage_is_a_mistake_of_the_builder(logs) -> None:
    writer = logs.open(B1, START)
    with pytest.raises(ValueError, match="no stage"):
        writer.stage("ready")
    end(logs, writer)
    with pytest.raises(ValueError, match="closed"):
        writer.write("too late\n")


async def test_a_thousand_watchers_get_every_line_in_order_wherever_they_join(logs) -> None:
    lines = [f"line {number}" for number in range(200)]
    writer = logs.open(B1, START)
    watchers = []
    for number, line in enumerate(lines):
        watchers += [asyncio.create_task(read(logs)) for _ in range(5)]
        writer.write(line + "\n")
        if number % 10 == 0:
            await asyncio.sleep(0.002)
    end(logs, writer)
    assert len(watchers) == 1000
    for seen in await asyncio.gather(*watchers):
        assert [record.text for record in seen] == lines


async def test_those_who_keep_up_share_the_very_same_batches(logs) -> None:
    async def batches() -> list[tuple[LogRecord, ...]]:
        return [batch async for batch in logs.batches(B1)]

    writer = logs.open(B1, START)
    watchers = [asyncio.create_task(batches()) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(5):
        writer.write("x\ny\nz\n")
        await asyncio.sleep(0.01)
    end(logs, writer)
    first, *others = await asyncio.gather(*watchers)
    assert len(first) >= 2
    for other in others:
        assert all(mine is yours for mine, yours in zip(first, other, strict=True))


async def test_lines_of_one_tick_come_together_and_the_first_after_a_pause_at_once(tmp_path) -> None:
    logs = BuildLogs(tmp_path / "logs", tick_seconds=3600)
    writer = logs.open(B1, START)
    batches = logs.batches(B1)
    first = asyncio.create_task(anext(batches))
    await asyncio.sleep(0)
    writer.write("one\ntwo\n")
    async with asyncio.timeout(10):
        assert [record.text for record in await first] == ["one", "two"]
    for number in range(100):
        writer.write(f"{number}\n")
        await asyncio.sleep(0)
    second = asyncio.create_task(anext(batches))
    done, _ = await asyncio.wait({second}, timeout=0.05)
    assert not done
    end(logs, writer)
    assert len(await second) == 100
    await batches.aclose()


async def test_a_slow_or_gone_watcher_holds_up_nobody_and_misses_nothing(tmp_path) -> None:
    logs = BuildLogs(tmp_path / "logs", tick_seconds=0.0001)
    writer = logs.open(B1, START)
    writer.write("first\n")
    slow, gone = logs.watch(B1), logs.watch(B1)
    assert (await anext(slow)).text == (await anext(gone)).text == "first"
    await gone.aclose()
    count = 20_000
    for number in range(count):  # far more than the tail in memory holds
        writer.write(f"{number:050d}\n")
        if number % 100 == 0:
            await asyncio.sleep(0)
    channel = logs._channels[B1]
    held = sum(batch.end - batch.start for batch in channel._batches) + channel._new_end - channel._new_start
    assert held < 512 * 1024 < logs.size(B1)
    end(logs, writer)
    assert [int(record.text) async for record in slow] == list(range(count))


async def test_watching_goes_on_exactly_after_any_record(logs) -> None:
    writer = logs.open(B1, START)
    for number in range(50):
        writer.write(f"line {number} \N{PILE OF POO} \x1b[31m\n")
    half = await _first(logs, 25)
    live = [asyncio.create_task(read(logs, B1, record.id)) for record in half]
    for number in range(50, 100):
        writer.write(f"line {number}\n")
        await asyncio.sleep(0)
    end(logs, writer)
    everything = await read(logs)
    assert len(everything) == 100
    for index, task in enumerate(live):
        assert await task == everything[index + 1 :]
    for index, record in enumerate(everything):
        assert await read(logs, B1, record.id) == everything[index + 1 :]


async def _first(logs: BuildLogs, count: int) -> list[LogRecord]:
    watcher = logs.watch(B1)
    records = [await anext(watcher) for _ in range(count)]
    await watcher.aclose()
    return records


async def test_a_place_that_is_no_record_never_shows_half_a_record(logs) -> None:
    writer = logs.open(B1, START)
    writer.write("one\ntwo\nthree\n")
    end(logs, writer)
    everything = await read(logs)
    starts = [0, *(record.id for record in everything)]
    for after in range(1, logs.size(B1) + 1):
        whole = [record for record, start in zip(everything, starts, strict=False) if start >= after]
        assert await read(logs, B1, after) == whole
    for after in (-1, 0, logs.size(B1) + 1, 10**30):
        assert await read(logs, B1, after) == everything


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(0, 400), garbage=st.binary(max_size=20))
async def test_a_log_torn_by_a_crash_is_mended_and_goes_on(tmp_path_factory, cut, garbage) -> None:
    directory = tmp_path_factory.mktemp("logs")
    logs = BuildLogs(directory)
    writer = logs.open(B1, START)
    writer.write("".join(f"line {number}\n" for number in range(10)))
    end(logs, writer)
    before = await read(logs)
    path = directory / "b1.jsonl"
    torn = path.read_bytes()[:cut] + garbage.replace(b"\n", b"")
    path.write_bytes(torn)

    logs = BuildLogs(directory)
    writer = logs.open(B1, START)
    writer.write("after the crash\n")
    end(logs, writer)
    after = await read(logs)
    assert [record.text for record in after] == [
        *(record.text for record in before if record.id <= min(cut, len(torn))),
        "after the crash",
    ]
    assert await read(logs, B1, after[-2].id if len(after) > 1 else 0) == after[-1:]


async def test_a_line_damaged_in_the_middle_hides_only_itself(logs, tmp_path) -> None:
    writer = logs.open(B1, START)
    writer.write("one\ntwo\nthree\n")
    end(logs, writer)
    path = tmp_path / "logs" / "b1.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = b"\x00" * len(lines[1])
    path.write_bytes(b"\n".join(lines))
    assert [record.text for record in await read(logs)] == ["one", "three"]


async def test_the_log_of_a_build_that_has_none_is_empty_and_an_announced_one_is_waited_for(logs) -> None:
    assert await read(logs) == []
    logs.announce(B1)
    early = asyncio.create_task(read(logs))
    await asyncio.sleep(0)
    assert not early.done()
    writer = logs.open(B1, START)
    writer.write("hello\n")
    end(logs, writer)
    assert [record.text for record in await early] == ["hello"]
    logs.remove(B1)
    logs.remove(B1)
    assert await read(logs) == []


async def test_a_log_that_is_full_ends_with_one_marker_and_refuses_more(tmp_path) -> None:
    logs = BuildLogs(tmp_path / "logs", total_limit=10_000)
    writer = logs.open(B1, START)
    with pytest.raises(BuildLimitExceeded):
        writer.write("0123456789\n" * 10_000)
    for _ in range(3):
        with pytest.raises(BuildLimitExceeded) as refused:
            writer.write("more\n")
    writer.note("the launcher still has the last word")
    end(logs, writer)
    records = await read(logs)
    assert [record.text for record in records if record.note] == [
        refused.value.message,
        "the launcher still has the last word",
    ]
    assert logs.size(B1) < 11_000
    writer = BuildLogs(tmp_path / "logs", total_limit=10_000).open(B1, START)
    with pytest.raises(BuildLimitExceeded):
        writer.write("after a restart it is still full\n")
    writer.close()


@pytest.mark.parametrize("noise", ["\r50%", "\x1b]0;title\x07", "x", "\x00"])
async def test_noise_that_leaves_no_line_is_limited_too(tmp_path, noise) -> None:
    logs = BuildLogs(tmp_path / "logs", total_limit=10_000)
    writer = logs.open(B1, START)
    with pytest.raises(BuildLimitExceeded):  # noqa: PT012 - which write it is does not matter
        for _ in range(100):
            writer.write(noise * 1000)
    end(logs, writer)
    assert logs.size(B1) < 11_000


async def test_a_disk_that_is_full_refuses_the_line_and_keeps_whole_ones(logs) -> None:
    writer = logs.open(B1, START)
    writer.write("kept\n")
    descriptor = writer._file._descriptor
    full = os.open("/dev/full", os.O_WRONLY)
    kept = os.dup(descriptor)
    os.dup2(full, descriptor)
    with pytest.raises(StateUnusable, match="full"):
        writer.write("lost\n")
    os.dup2(kept, descriptor)
    os.close(full)
    os.close(kept)
    writer.write("again\n")
    end(logs, writer)
    assert [record.text for record in await read(logs)] == ["kept", "again"]


async def test_a_line_the_disk_took_only_half_of_is_taken_back(logs) -> None:
    writer = logs.open(B1, START)
    writer.write("kept\n")
    size, (soft, hard) = logs.size(B1), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(StateUnusable, match="full"):
            writer.write("only half of this fits\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert logs.size(B1) == size
    writer.write("again\n")
    end(logs, writer)
    assert [record.text for record in await read(logs)] == ["kept", "again"]


@pytest.mark.parametrize("build_id", ["..", "../b1", "a/b", "", ".b1", "b1.jsonl", "x" * 65, "b1\n", "\x00", "é"])
async def test_an_id_that_could_name_another_file_is_no_build(logs, build_id) -> None:
    with pytest.raises(BuildNotFound):
        await read(logs, BuildId(build_id))
    with pytest.raises(BuildNotFound):
        logs.open(BuildId(build_id), START)


async def test_no_descriptor_is_left_open_by_writers_and_watchers(logs) -> None:
    before = _descriptors()
    for number in range(20):
        build_id = BuildId(f"b{number}")
        writer = logs.open(build_id, START)
        writer.write("x\n")
        watcher = logs.watch(build_id)
        await anext(watcher)
        await watcher.aclose()
        end(logs, writer, build_id)
    assert _descriptors() == before


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
