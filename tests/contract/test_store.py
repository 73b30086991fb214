"""The store keeps the same promises on SQLite and on PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import BuildCancelled, BuildFailed, QueueFull, StateUnusable, TicketInvalid
from launcher.models import (
    BuildId,
    BuildStatus,
    EnvironmentSize,
    EnvironmentStatus,
    HomeKind,
    RepositoryId,
    ServerName,
    Username,
)
from launcher.store import BuildRow, Store
from tests.support import examples
from tests.support.postgresql import PostgreSQL, running_postgresql

ANA, BOB = Username("ana"), Username("bob")


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    with running_postgresql() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request, tmp_path) -> Callable[[], str]:
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/launcher.sqlite"
    return request.getfixturevalue("postgresql").fresh_database


@pytest.fixture
def url(fresh_url) -> str:
    return fresh_url()


@pytest.fixture
def store(url, clock) -> Iterator[Store]:
    with Store.open(url, clock=clock) as opened:
        yield opened


def ask(
    store: Store, build_id: str, number: int = 1, *, by: Username = ANA, max_open: int = 100
) -> tuple[BuildRow, bool]:
    return store.create_build(
        BuildId(build_id),
        examples.key(number),
        recipe=examples.recipe(),
        fingerprint="fake-1",
        spec="gh/org/repo/main",
        request={"n": number},
        asked_by=by,
        max_open=max_open,
    )


def test_a_reopened_store_finds_everything_as_it_was(url, clock) -> None:
    with Store.open(url, clock=clock) as store:
        ask(store, "b1")
        store.trust_repository(ANA, RepositoryId("gh:x"))
        before = store.build(BuildId("b1"))
    with Store.open(url, clock=clock) as store:
        assert store.build(BuildId("b1")) == before
        assert store.is_mine(ANA, RepositoryId("gh:x"))


def test_asking_for_an_environment_makes_a_waiting_build_and_a_building_environment(store, clock) -> None:
    row, created = ask(store, "b1")
    assert created
    assert (row.id, row.status, row.target, row.asked_by) == ("b1", BuildStatus.WAITING, BuildStatus.SUCCEEDED, "ana")
    assert row.request == {"n": 1}
    assert row.created == clock.now
    assert row.created.tzinfo is UTC
    environment = store.environment(examples.key())
    assert environment is not None
    assert environment.status is EnvironmentStatus.BUILDING
    assert environment.summary == "requirements.txt"


def test_a_second_ask_joins_the_open_build_and_both_people_see_it(store) -> None:
    first, _ = ask(store, "b1")
    second, created = ask(store, "b2", by=BOB)
    assert (second, created) == (first, False)
    assert [row.id for row in store.builds_of(BOB)] == ["b1"]
    assert [row.id for row in store.builds_of(ANA)] == ["b1"]
    assert store.asked_for_build(BOB, first.id)
    assert not store.asked_for_build(Username("eve"), first.id)
    assert store.builds_of(Username("eve")) == []
    assert store.build(BuildId("b2")) is None


def test_fifty_threads_asking_at_once_share_one_build(store) -> None:
    start = threading.Barrier(50)

    def one(number: int) -> bool:
        start.wait()
        return ask(store, f"b{number}", by=Username(f"u{number}"))[1]

    with ThreadPoolExecutor(50) as pool:
        created = list(pool.map(one, range(50)))
    assert created.count(True) == 1
    assert len(store.builds_of(None)) == 1
    (row,) = store.builds_open()
    assert all(store.asked_for_build(Username(f"u{number}"), row.id) for number in range(50))


def test_a_full_queue_refuses_new_builds_but_lets_people_join(store) -> None:
    ask(store, "b1", 1, max_open=2)
    ask(store, "b2", 2, max_open=2)
    with pytest.raises(QueueFull) as refused:
        ask(store, "b3", 3, max_open=2)
    assert refused.value.retry_after
    assert store.environment(examples.key(3)) is None
    assert ask(store, "b4", 2, max_open=2)[1] is False


def test_twenty_threads_cannot_overfill_the_queue(store) -> None:
    start = threading.Barrier(20)

    def one(number: int) -> bool:
        start.wait()
        try:
            return ask(store, f"b{number}", number, max_open=5)[1]
        except QueueFull:
            return False

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(20))).count(True) == 5
    assert len(store.builds_open()) == 5


def test_builds_wait_in_the_order_they_were_asked_for(store) -> None:
    for number in (3, 1, 2):
        ask(store, f"b{number}", number)
    assert [row.id for row in store.builds_waiting(2)] == ["b3", "b1"]
    assert [store.queue_position(BuildId(f"b{number}")) for number in (3, 1, 2)] == [0, 1, 2]
    assert store.set_build_running(BuildId("b3")) is not None
    assert [store.queue_position(BuildId(f"b{number}")) for number in (3, 1, 2)] == [0, 0, 1]
    assert store.queue_position(BuildId("nothing")) == 0


def test_a_build_is_claimed_by_one_worker_only(store) -> None:
    ask(store, "b1")
    with ThreadPoolExecutor(10) as pool:
        claims = list(pool.map(lambda _: store.set_build_running(BuildId("b1")), range(10)))
    assert sum(claim is not None for claim in claims) == 1


def test_success_makes_build_and_environment_ready_together(store, clock) -> None:
    ask(store, "b1")
    store.set_build_running(BuildId("b1"))
    clock.forward(seconds=3)
    row = store.set_build_finished(BuildId("b1"), examples.built(), log_bytes=77)
    assert (row.status, row.log_bytes, row.finished, row.is_open) == (BuildStatus.SUCCEEDED, 77, clock.now, False)
    environment = store.environment(examples.key())
    assert environment is not None
    assert (environment.status, environment.reference, environment.python) == (EnvironmentStatus.READY, "env-1", "3.11")
    assert store.environments_with_reference("env-1") == [environment]
    assert store.open_build_for(examples.key()) is None


def test_failure_is_kept_as_history_and_the_next_ask_builds_again(store) -> None:
    ask(store, "b1")
    row = store.set_build_finished(BuildId("b1"), BuildFailed("No such package.", hint="Look at line 3."))
    assert (row.status, row.error_code, row.error_message) == (BuildStatus.FAILED, "build_failed", "No such package.")
    assert row.error_hint == "Look at line 3."
    failed = store.environment(examples.key())
    assert failed is not None
    assert (failed.status, failed.error_code) == (EnvironmentStatus.FAILED, "build_failed")
    again, created = ask(store, "b2")
    assert created
    assert again.number > row.number
    assert [build.status for build in store.builds_of(None)] == [BuildStatus.WAITING, BuildStatus.FAILED]
    building = store.environment(examples.key())
    assert building is not None
    assert (building.status, building.error_code) == (EnvironmentStatus.BUILDING, None)


def test_an_ended_build_cannot_end_again_or_become_anything_else(store) -> None:
    ask(store, "b1")
    ended = store.set_build_finished(BuildId("b1"), BuildCancelled("Cancelled."))
    assert ended.status is BuildStatus.CANCELLED
    assert store.set_build_finished(BuildId("b1"), examples.built()) == ended
    assert store.set_build_target_cancelled(BuildId("b1")) == ended
    assert store.set_build_running(BuildId("b1")) is None
    assert store.environment(examples.key()).status is EnvironmentStatus.FAILED
    with pytest.raises(KeyError):
        store.set_build_finished(BuildId("other"), examples.built())
    assert store.set_build_target_cancelled(BuildId("other")) is None


def test_cancelling_sets_the_target_of_an_open_build(store) -> None:
    ask(store, "b1")
    row = store.set_build_target_cancelled(BuildId("b1"))
    assert row is not None
    assert (row.status, row.target) == (BuildStatus.WAITING, BuildStatus.CANCELLED)


def test_what_ran_when_the_service_died_waits_again_in_its_old_place(store) -> None:
    for number in (1, 2, 3):
        ask(store, f"b{number}", number)
    store.set_build_running(BuildId("b1"))
    store.set_build_running(BuildId("b2"))
    store.release_build(BuildId("b2"))
    assert [(row.id, row.status, row.interruptions) for row in store.requeue_interrupted_builds()] == [
        ("b1", BuildStatus.WAITING, 1)
    ]
    assert [(row.id, row.interruptions) for row in store.builds_waiting(9)] == [("b1", 1), ("b2", 0), ("b3", 0)]
    assert store.requeue_interrupted_builds() == []


def test_the_first_start_of_a_build_stays_its_start(store, clock) -> None:
    ask(store, "b1")
    first = store.set_build_running(BuildId("b1")).started
    clock.forward(minutes=5)
    store.requeue_interrupted_builds()
    assert store.set_build_running(BuildId("b1")).started == first


def test_environments_are_listed_page_by_page(store) -> None:
    for number in range(5):
        store.save_environment_ready(
            examples.key(number), examples.built(f"e{number}"), kind="none", summary="s", fingerprint="f"
        )
    first = store.list_environments(2)
    rest = store.list_environments(10, after=first[-1].key)
    assert [row.key for row in [*first, *rest]] == [examples.key(number) for number in range(5)]


def test_two_environments_may_share_one_artefact(store) -> None:
    for number in (1, 2):
        store.save_environment_ready(examples.key(number), examples.built("e"), kind="k", summary="s", fingerprint="f")
    assert [row.key for row in store.environments_with_reference("e")] == [examples.key(1), examples.key(2)]
    store.save_environment_failed(examples.key(1), BuildFailed("It is gone."))
    assert [row.key for row in store.environments_with_reference("e")] == [examples.key(2)]


def test_touching_moves_the_last_use_forward_and_never_back(store, clock) -> None:
    store.save_environment_ready(examples.key(), examples.built(), kind="k", summary="s", fingerprint="f")
    later = clock.now + timedelta(hours=1)
    store.touch_environment(examples.key(), later)
    store.touch_environment(examples.key(), clock.now)
    assert store.environment(examples.key()).last_used == later
    store.touch_environment(examples.key(99), later)


def test_an_environment_is_forgotten_with_its_history_unless_it_builds(store) -> None:
    ask(store, "b1")
    assert store.forget_environment(examples.key()) is False
    store.set_build_finished(BuildId("b1"), examples.built())
    assert store.forget_environment(examples.key()) is True
    assert store.environment(examples.key()) is None
    assert store.builds_of(None) == []
    assert store.forget_environment(examples.key()) is False


def test_words_a_database_cannot_keep_do_not_break_a_row(store) -> None:
    ask(store, "b1")
    row = store.set_build_finished(
        BuildId("b1"), BuildFailed("nul \x00 half \ud800 whole \N{PILE OF POO}" + "x" * 9000)
    )
    assert row.error_message.startswith("nul \ufffd half \ufffd whole \N{PILE OF POO}x")
    assert len(row.error_message) == 4000


def test_trust_belongs_to_one_person_and_one_exact_repository(store) -> None:
    mine = RepositoryId("gh:github.com/org/repo")
    store.trust_repository(ANA, mine)
    store.trust_repository(ANA, mine)
    assert store.is_mine(ANA, mine)
    assert not store.is_mine(BOB, mine)
    assert not store.is_mine(ANA, RepositoryId("gh:github.com/org/Repo"))
    assert [row.repository_id for row in store.list_trusted(ANA)] == [mine]
    store.untrust(ANA, mine)
    store.untrust(ANA, mine)
    assert not store.is_mine(ANA, mine)


def test_a_session_remembers_its_repository_across_launches(store, clock) -> None:
    server = ServerName("repo-1")
    first = store.save_session(ANA, server, examples.resolved(), environment_key=examples.key(), home=HomeKind.PROJECT)
    clock.forward(days=1)
    second = store.save_session(ANA, server, examples.resolved(), environment_key=None, home=HomeKind.PERSONAL)
    assert (second.created, second.last_launched) == (first.created, clock.now)
    assert (second.home, second.environment_key) == (HomeKind.PERSONAL, None)
    assert store.session(ANA, server) == second
    assert store.session(BOB, server) is None
    assert second.repository_id == "gh:github.com/org/repo"
    store.save_session(
        ANA, ServerName("other"), examples.resolved("other"), environment_key=examples.key(2), home=HomeKind.PROJECT
    )
    assert [row.server_name for row in store.sessions_of(ANA)] == ["other", "repo-1"]


def test_fifty_redeemers_of_one_ticket_get_one_plan(store, clock) -> None:
    store.issue_ticket("t1", examples.plan(), clock.now + timedelta(minutes=5))
    start = threading.Barrier(50)

    def redeem(_: int) -> object:
        start.wait()
        return store.redeem_ticket("t1", clock.now)

    with ThreadPoolExecutor(50) as pool:
        plans = [plan for plan in pool.map(redeem, range(50)) if plan is not None]
    assert plans == [examples.plan()]
    assert store.redeem_ticket("t1", clock.now) is None


def test_an_expired_or_unknown_ticket_is_worth_nothing(store, clock) -> None:
    store.issue_ticket("t1", examples.plan(), clock.now + timedelta(seconds=10))
    assert store.redeem_ticket("nothing", clock.now) is None
    assert store.redeem_ticket("t1", clock.now + timedelta(seconds=10)) is None
    assert store.redeem_ticket("t1", clock.now + timedelta(seconds=9)) == examples.plan()


def test_a_ticket_id_is_issued_once(store, clock) -> None:
    store.issue_ticket("t1", examples.plan(), clock.now + timedelta(seconds=10))
    with pytest.raises(TicketInvalid):
        store.issue_ticket("t1", examples.plan("bob"), clock.now + timedelta(seconds=10))
    assert store.redeem_ticket("t1", clock.now).user == "ana"


def test_purging_forgets_what_is_over_and_keeps_redeemed_tickets_until_then(store, clock) -> None:
    store.issue_ticket("t1", examples.plan(), clock.now + timedelta(seconds=10))
    store.issue_ticket("t2", examples.plan(), clock.now + timedelta(seconds=20))
    store.redeem_ticket("t1", clock.now)
    assert store.purge_expired_tickets(clock.now) == 0
    assert store.purge_expired_tickets(clock.now + timedelta(seconds=10)) == 1
    with pytest.raises(TicketInvalid):
        store.issue_ticket("t2", examples.plan(), clock.now)


def test_a_moment_without_a_time_zone_is_refused(store) -> None:
    with pytest.raises(Exception, match="time zone"):
        store.issue_ticket("t1", examples.plan(), datetime(2026, 1, 1))  # noqa: DTZ001


def test_moments_come_back_in_utc_whatever_zone_they_were_told_in(fresh_url) -> None:
    from zoneinfo import ZoneInfo

    moment = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=ZoneInfo("Europe/Berlin"))
    with Store.open(fresh_url(), clock=lambda: moment) as store:
        row, _ = ask(store, "b1")
    assert row.created == moment
    assert row.created.tzinfo is UTC


def test_two_services_cannot_hold_one_postgresql_database(postgresql) -> None:
    url = postgresql.fresh_database()
    with Store.open(url) as first, Store.open(url) as second:
        first.hold_alone()
        first.hold_alone()
        with pytest.raises(StateUnusable, match="Another launcher"):
            second.hold_alone()
        first.close()
        second.hold_alone()


def test_a_postgresql_database_is_free_again_when_its_service_was_killed(postgresql) -> None:
    url = postgresql.fresh_database()
    hold = "store = Store.open(sys.argv[1]); store.hold_alone(); print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"import sys; from launcher.store import Store; {hold}", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"1\n"
        holder.kill()
    with Store.open(url) as store:
        store.hold_alone()


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=25))
def test_whatever_happens_each_environment_has_at_most_one_open_build_and_a_true_status(
    tmp_path_factory, steps
) -> None:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('store')}/launcher.sqlite") as store:
        for count, (step, number) in enumerate(steps):
            _step(store, step, number, count)
        open_keys = [row.environment_key for row in store.builds_open()]
        assert len(open_keys) == len(set(open_keys))
        for row in store.list_environments():
            assert (row.status is EnvironmentStatus.BUILDING) == (row.key in open_keys)


def _step(store: Store, step: int, number: int, count: int) -> None:
    row = store.open_build_for(examples.key(number))
    build_id = row.id if row is not None else BuildId("none")
    match step:
        case 0:
            ask(store, f"b{count}", number)
        case 1:
            store.set_build_running(build_id)
        case 2:
            store.set_build_target_cancelled(build_id)
        case 3 if row is not None:
            store.set_build_finished(build_id, examples.built(f"e{count}"))
        case 4 if row is not None:
            store.set_build_finished(build_id, BuildFailed("no"))
        case 5:
            store.requeue_interrupted_builds()
        case _:
            store.forget_environment(examples.key(number))


def ready(store: Store, number: int, reference: str, build_id: str = "", *, by: Username = ANA) -> None:
    """An environment that was built just now."""
    row, _ = ask(store, build_id or f"ready-{number}", number, by=by)
    store.set_build_running(row.id)
    store.set_build_finished(row.id, examples.built(reference))


def test_environments_come_in_pages_the_last_used_first(store, clock) -> None:
    for number in range(5):
        clock.forward(minutes=number > 2)  # the first three at the same moment
        ready(store, number, f"env-{number}")
    seen, after = [], None
    while page := store.environments_page(after=after, limit=2):
        seen += [one.row.key for one in page]
        after = (page[-1].row.last_used, page[-1].row.key)
    assert seen == [examples.key(number) for number in (4, 3, 2, 1, 0)]
    assert store.count_environments() == 5


def test_environments_are_found_by_what_people_know_of_them(store) -> None:
    ready(store, 1, "env-1")
    ask(store, "b2", 2)
    (only,) = store.environments_page(search=examples.key(2)[:64])
    assert (only.row.key, only.building, only.spec) == (examples.key(2), True, "gh/org/repo/main")
    assert len(store.environments_page(search="ORG/repo")) == 2
    assert len(store.environments_page(search="requirements")) == store.count_environments(search="requirements") == 2
    for nothing in ("nowhere", "%", "_x_", "' OR 1=1 --"):
        assert store.environments_page(search=nothing) == []


def test_an_artefact_goes_with_all_its_rows_or_with_none(store, clock) -> None:
    ready(store, 1, "shared")
    clock.forward(hours=1)
    ready(store, 2, "shared")
    assert [use.last_used for use in store.artefacts()] == [clock.now]
    assert not store.forget_artefact("shared", clock.now - timedelta(minutes=1))
    assert store.pin_environment(examples.key(1), pinned=True)
    assert [use.pinned for use in store.artefacts()] == [True]
    assert not store.forget_artefact("shared", clock.now)
    store.pin_environment(examples.key(1), pinned=False)
    ask(store, "again", 1)
    assert [use.building for use in store.artefacts()] == [True]
    assert not store.forget_artefact("shared", clock.now)
    store.set_build_finished(BuildId("again"), examples.built("shared"))
    assert store.forget_artefact("shared", clock.now)
    assert store.artefacts() == []
    assert store.builds_of(None) == []


def test_artefacts_are_listed_oldest_use_first_and_use_makes_them_young(store, clock) -> None:
    for number in (1, 2):
        ready(store, number, f"env-{number}")
        clock.forward(hours=1)
    assert [use.reference for use in store.artefacts()] == ["env-1", "env-2"]
    store.touch_artefacts({"env-1", "unknown"})
    assert [use.reference for use in store.artefacts()] == ["env-2", "env-1"]


def test_a_wish_to_remove_is_kept_until_it_is_done_or_over(store, clock) -> None:
    ready(store, 1, "env-1")
    assert store.ask_removal(examples.key(1))
    assert [row.key for row in store.removals_asked()] == [examples.key(1)]
    clock.forward(minutes=1)
    assert store.touch_environment(examples.key(1))
    assert not store.forget_asked(examples.key(1))  # somebody used it since
    assert store.removals_asked() == []
    assert store.ask_removal(examples.key(1))
    assert store.forget_asked(examples.key(1))
    assert store.environment(examples.key(1)) is None
    assert not store.touch_environment(examples.key(1))


def test_what_is_pinned_or_being_built_cannot_be_asked_to_go(store) -> None:
    ready(store, 1, "env-1")
    store.pin_environment(examples.key(1), pinned=True)
    ask(store, "b2", 2)
    for number in (1, 2, 3):
        assert not store.ask_removal(examples.key(number))
    assert not store.pin_environment(examples.key(3), pinned=True)


def test_sizes_are_kept_for_every_row_of_an_artefact(store) -> None:
    ready(store, 1, "shared")
    ready(store, 2, "shared")
    assert store.unmeasured_artefacts() == {"shared"}
    store.save_sizes({"shared": EnvironmentSize(10, 20), "unknown": EnvironmentSize(1, 1)})
    assert store.unmeasured_artefacts() == frozenset()
    assert {(one.row.own_bytes, one.row.shared_bytes) for one in store.environments_page()} == {(10, 20)}


def test_old_builds_are_forgotten_but_for_the_last_of_an_environment_that_is_there(store, clock) -> None:
    ready(store, 1, "env-1", "first")
    ready(store, 1, "env-1", "second")
    ask(store, "failed", 2)
    store.set_build_finished(BuildId("failed"), BuildFailed("No."))
    clock.forward(days=31)
    ask(store, "open", 3)
    assert store.expired_builds(clock.now - timedelta(days=31, seconds=1)) == []
    expired = store.expired_builds(clock.now - timedelta(days=30))
    assert expired == ["first", "failed"]
    assert store.forget_failed_environments(clock.now) == 0  # its build is in the history
    store.forget_builds([*expired, BuildId("open")])
    assert store.known_builds(["first", "second", "failed", "open"]) == {"second", "open"}
    assert store.forget_failed_environments(clock.now) == 1
    assert store.environment(examples.key(2)) is None


def test_environments_of_tickets_that_may_still_start_something_are_in_use(store, clock) -> None:
    for name, minutes in (("good", 5), ("over", 0), ("redeemed", 5)):
        plan = replace(examples.plan(), environment=name)
        store.issue_ticket(name, plan, clock.now + timedelta(minutes=minutes))
    store.redeem_ticket("redeemed")
    fresh = clock.now - timedelta(seconds=30)
    assert store.artefacts_of_tickets(redeemed_after=fresh) == {"good", "redeemed"}
    clock.forward(minutes=1)
    assert store.artefacts_of_tickets(redeemed_after=clock.now - timedelta(seconds=30)) == {"good"}
