"""Limits and schedulers that do as they like, against the real backend: its rows, its loops, its connections."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from dask_gateway_server.backends.base import PublicException

from launcher.dask.description import describe
from launcher.errors import ClusterStartFailed
from tests.support.backend import RunningBackend, Scheduler, running_backend

LIMITS = {"clusters": 3, "workers": 4}


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[RunningBackend]:
    async with running_backend(tmp_path, "rosa", "tom", user_limits=LIMITS) as running:
        yield running


@pytest.fixture
async def scheduler() -> AsyncIterator[Scheduler]:
    scheduler = Scheduler()
    await scheduler.server.start_server()
    yield scheduler
    await scheduler.server.close()


async def never(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


def outcomes(results: list[Any]) -> tuple[int, int]:
    """How many went well, and how many were refused; anything else fails the test."""
    refused = [one for one in results if isinstance(one, BaseException)]
    assert all(isinstance(one, PublicException) for one in refused), refused
    return len(results) - len(refused), len(refused)


async def test_of_twenty_clusters_wanted_at_once_only_the_allowed_are_made(gateway: RunningBackend) -> None:
    wanted = [gateway.backend.start_cluster(gateway.user(), {}) for _ in range(20)]
    assert outcomes(await asyncio.gather(*wanted, return_exceptions=True)) == (3, 17)
    assert len(list(gateway.backend.db.active_clusters())) == 3
    assert await gateway.backend.start_cluster(gateway.user("tom"), {})


async def test_of_twenty_orders_to_scale_at_once_none_goes_beyond_the_limit(
    gateway: RunningBackend, scheduler: Scheduler
) -> None:
    rows = [await gateway.start(scheduler) for _ in range(3)]
    orders = [gateway.scale(rows[number % 3], 2 + number % 3) for number in range(20)]
    await asyncio.gather(*orders, return_exceptions=True)
    assert sum(gateway.backend.room.held_by(row).workers for row in rows) <= 4


async def test_a_scheduler_that_does_not_answer_keeps_what_it_had_and_no_more(
    gateway: RunningBackend, scheduler: Scheduler
) -> None:
    """It agrees to four workers, and then holds the answer to "none" until somebody else has them."""
    held, other = await gateway.start(scheduler), await gateway.start(scheduler)
    await gateway.scale(held, 4)
    answered = asyncio.Event()

    async def late(_: web.Request) -> web.Response:
        await answered.wait()
        return web.Response(status=500)

    scheduler.answer = late
    down = asyncio.create_task(gateway.scale(held, 0))
    await gateway.until(lambda: len(scheduler.told) == 2)
    with pytest.raises(PublicException, match="4 workers in your other clusters"):
        await gateway.scale(other, 4)
    answered.set()
    with pytest.raises(PublicException, match="does not run any more"):
        await down
    await gateway.until(held.shutdown.is_set)
    assert held.state["reason"] == "Its scheduler did not answer any more."


async def test_a_cluster_that_ends_slowly_still_counts_and_then_makes_room(
    gateway: RunningBackend, scheduler: Scheduler
) -> None:
    rows = [await gateway.start(scheduler) for _ in range(3)]
    gateway.runtime.may_end.clear()
    await gateway.backend.stop_cluster(rows[0].name)
    wanted = asyncio.create_task(gateway.backend.start_cluster(gateway.user(), {}))
    await gateway.until(lambda: rows[0].name in gateway.runtime.started)
    assert len(gateway.backend.room.held()) == 3
    assert not wanted.done()
    gateway.runtime.may_end.set()
    assert await asyncio.wait_for(wanted, 10)


async def test_many_schedulers_that_never_answer_hold_up_nobody_else(
    gateway: RunningBackend, scheduler: Scheduler
) -> None:
    quiet = Scheduler()
    quiet.answer = never
    await quiet.server.start_server()
    bad = [await gateway.start(quiet) for _ in range(3)]
    orders = [asyncio.create_task(gateway.scale(row, 1)) for row in bad for _ in range(40)]
    looks = [asyncio.create_task(describe(row, gateway.backend.session, "")) for row in bad for _ in range(100)]
    good = await gateway.start(scheduler, "tom")
    async with asyncio.timeout(2):
        await gateway.scale(good, 2)
    for task in [*orders, *looks]:
        task.cancel()
    await asyncio.gather(*orders, *looks, return_exceptions=True)
    await quiet.server.close()


async def test_a_scheduler_cannot_send_the_gateway_elsewhere(gateway: RunningBackend, scheduler: Scheduler) -> None:
    elsewhere = Scheduler()
    await elsewhere.server.start_server()

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": f"{elsewhere.address}/api/comm"})

    row = await gateway.start(scheduler)
    scheduler.answer = redirect
    with pytest.raises(PublicException, match="does not run any more"):
        await gateway.scale(row, 1)
    assert elsewhere.told == []
    await elsewhere.server.close()


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"workers": ' + b"[" * 200_000, b"\xff\xfe", b"1" * 5000, b""])
async def test_whatever_a_scheduler_says_of_itself_its_cluster_can_be_listed(
    gateway: RunningBackend, scheduler: Scheduler, body: bytes
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    row = await gateway.start(scheduler)
    scheduler.answer = answer
    found = await describe(row, gateway.backend.session, "")
    assert (found["name"], found["workers"], found["idle_seconds"]) == (row.name, 0, None)


async def test_a_flood_of_heartbeats_is_slowed_down(gateway: RunningBackend, scheduler: Scheduler) -> None:
    row = await gateway.start(scheduler)
    await gateway.scale(row, 4)
    flood = [gateway.heartbeat(row, scheduler, count=number % 5) for number in range(500)]
    taken, refused = outcomes(await asyncio.gather(*flood, return_exceptions=True))
    assert taken <= 25
    assert refused >= 475
    await gateway.heartbeat(row, scheduler, count=1)
    assert row.count == 1


@pytest.mark.parametrize(
    "options", [{"keep_hours": math.nan}, {"worker_memory": math.nan}, {"worker_memory": math.inf}]
)
async def test_what_is_not_a_number_is_no_amount(gateway: RunningBackend, options: dict[str, float]) -> None:
    with pytest.raises(PublicException, match=next(iter(options))):
        await gateway.backend.start_cluster(gateway.user(), options)
    assert list(gateway.backend.db.active_clusters()) == []


@pytest.mark.parametrize("value", ["\ud800", "\0", None, []])
async def test_a_variable_that_no_process_can_have_is_refused(gateway: RunningBackend, value: object) -> None:
    with pytest.raises(PublicException, match="environment: A must be text"):
        await gateway.backend.start_cluster(gateway.user(), {"environment": {"A": value}})


async def test_a_group_shares_its_limit_whoever_of_it_asks(tmp_path: Path, scheduler: Scheduler) -> None:
    limits = {"group_limits": {"course": {"workers": 3}}, "user_limits": {}}
    async with running_backend(tmp_path, "rosa", "tom", **limits) as gateway:
        first = await gateway.start(scheduler, "rosa", "course")
        second = await gateway.start(scheduler, "tom", "course")
        await gateway.scale(first, 2)
        with pytest.raises(PublicException, match="group course"):
            await gateway.scale(second, 2)
        await gateway.scale(second, 1)


async def test_what_clusters_hold_is_known_after_a_restart(tmp_path: Path, scheduler: Scheduler) -> None:
    async with running_backend(tmp_path, user_limits=LIMITS) as gateway:
        row = await gateway.start(scheduler)
        await gateway.scale(row, 3)
    async with running_backend(tmp_path, user_limits=LIMITS) as gateway:
        other = await gateway.start(scheduler)
        with pytest.raises(PublicException, match="3 workers in your other clusters"):
            await gateway.scale(other, 2)
        await gateway.scale(other, 1)


async def test_a_cluster_whose_session_went_while_the_gateway_was_down_ends(
    tmp_path: Path, scheduler: Scheduler
) -> None:
    async with running_backend(tmp_path) as gateway:
        row = await gateway.start(scheduler)
        kept = await gateway.start(scheduler, keep_hours=1.0)
    async with running_backend(tmp_path, "tom", session_grace_seconds=0) as gateway:
        ended = gateway.backend.db.get_cluster(row.name)
        async with asyncio.timeout(10):
            await ended.shutdown
        assert ended.state["reason"] == "Its session ended."
        assert gateway.backend.db.get_cluster(kept.name).is_active()


async def test_clusters_that_are_given_up_say_why(gateway: RunningBackend, scheduler: Scheduler) -> None:
    async def fail(*_: object) -> None:
        raise ClusterStartFailed("No.")

    backend = gateway.backend
    silent, helpless = await gateway.start(scheduler), await gateway.start(scheduler)
    silent.last_heartbeat = 0
    await backend._check_timeouts()  # upstream's, every few seconds
    gateway.runtime.start_worker = fail
    await gateway.scale(helpless, 1)
    for _ in range(backend.worker_start_failure_limit + 1):
        await gateway.heartbeat(helpless, scheduler, count=1)
    for row in (silent, helpless):
        async with asyncio.timeout(10):
            await row.shutdown
    assert silent.state["reason"] == "Its scheduler was not heard of any more."
    assert helpless.state["reason"] == "Its workers could not be started; their logs say why."


async def test_the_reason_of_an_end_that_did_not_come_is_forgotten(tmp_path: Path, scheduler: Scheduler) -> None:
    async with running_backend(tmp_path) as gateway:
        row = await gateway.start(scheduler)
        gateway.backend._remember(row, reason="It was stopped.")  # killed before the next row was written
    async with running_backend(tmp_path) as gateway:
        found = await describe(gateway.backend.db.get_cluster(row.name), gateway.backend.session, "")
        assert (found["status"], found["reason"]) == ("running", "")
