"""Builds as people look back at them: who sees which, filters, paging, sharing. The store is real."""

from __future__ import annotations

from functools import partial

import pytest
import requests
import sqlalchemy as sa

from launcher.errors import RecipeInvalid
from launcher.models import BuildId, BuildStatus, Username
from launcher.store.schema import metadata
from tests.http.test_api import error_of
from tests.support import examples

ALICE, BOB = Username("alice"), Username("bob")


def wipe(store) -> None:
    """Forget every row."""
    with store._database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))


@pytest.fixture
def store(web):
    """The store behind the web, with nothing in it."""
    wipe(web.store)
    return web.store


def ask(store, number: int, *, by: Username = ALICE, spec: str | None = None, build_id: str | None = None):
    row, _ = store.create_build(
        BuildId(build_id or f"b-{number}"),
        examples.key(number),
        recipe=examples.recipe(),
        fingerprint="f",
        spec=spec or f"gh/org/repo-{number}/main",
        request={},
        asked_by=by,
        max_open=100_000,
    )
    return row


def failed(store, number: int, **more):
    row = ask(store, number, **more)
    return store.set_build_finished(row.id, RecipeInvalid("Line 3 is no requirement.", hint="Mend it."))


def listed(api, base, **query):
    answer = api.get(f"{base}/api/v1/builds", params=query, timeout=20)
    assert answer.status_code == 200, answer.text
    return [build["id"] for build in answer.json()["builds"]], answer.json()["before"]


@pytest.fixture(scope="session")
def operator(hub):
    """An operator as an API client."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"token {hub.token_for('olga')}"
        yield session


def test_people_see_builds_they_asked_for_or_joined_and_operators_all(store, base, api, operator):
    ask(store, 1)
    ask(store, 2, by=BOB)
    ask(store, 3, by=BOB)
    ask(store, 3, by=ALICE, build_id="joins")
    assert listed(api, base) == (["b-3", "b-1"], None)
    assert listed(operator, base) == (["b-3", "b-2", "b-1"], None)
    assert listed(operator, base, own="1") == ([], None)
    assert api.get(f"{base}/api/v1/builds/b-3", timeout=20).json()["build"]["may_cancel"] is False
    assert operator.get(f"{base}/api/v1/builds/b-3", timeout=20).json()["build"]["may_cancel"] is True
    assert error_of(api.get(f"{base}/api/v1/builds/b-2", timeout=20), 404)["code"] == "build_not_found"


def test_a_build_says_all_there_is_to_know(store, base, api):
    failed(store, 1)
    ask(store, 2, by=BOB)
    ask(store, 3)
    one, waiting = (api.get(f"{base}/api/v1/builds/b-{n}", timeout=20).json()["build"] for n in (1, 3))
    assert one["error"] == {"code": "recipe_invalid", "message": "Line 3 is no requirement.", "hint": "Mend it."}
    assert (one["status"], one["queue_position"], one["may_cancel"]) == ("failed", None, False)
    assert (one["environment"], one["spec"], one["asked_by"]) == (examples.key(1), "gh/org/repo-1/main", "alice")
    assert one["finished"] >= one["created"]
    assert (waiting["status"], waiting["queue_position"], waiting["may_cancel"]) == ("waiting", 1, True)


def test_filters_find_by_status_and_by_what_people_type(store, base, api, operator):
    failed(store, 1, spec="gh/Org/Climate/main")
    ask(store, 2, spec="gl/group%2Fclimate/main")
    ask(store, 3, by=BOB, spec="gh/org/100%25_sure/main")
    assert listed(api, base, status="failed") == (["b-1"], None)
    assert listed(api, base, status="open") == (["b-2"], None)
    assert listed(api, base, status="failed,waiting") == (["b-2", "b-1"], None)
    assert listed(api, base, text="CLIMATE") == (["b-2", "b-1"], None)
    assert listed(api, base, repository="group/climate") == (["b-2"], None)
    assert listed(operator, base, text="bob") == (["b-3"], None)
    assert listed(operator, base, text="%") == (["b-3", "b-2"], None), "a pattern's signs are themselves"
    assert listed(operator, base, text="0_s") == ([], None)
    assert listed(operator, base, text=str(examples.key(2))) == (["b-2"], None)
    assert error_of(api.get(f"{base}/api/v1/builds?status=lost", timeout=20), 400)["code"] == "bad_request"


@pytest.mark.parametrize("value", ["0", "-1", "x", "9" * 30, "1.5", "²"])
@pytest.mark.parametrize("name", ["before", "limit"])
def test_numbers_that_are_none_are_refused(store, base, api, name, value):
    error_of(api.get(f"{base}/api/v1/builds", params={name: value}, timeout=20), 400)


def test_pages_follow_each_other_while_new_builds_come(store, base, api):
    for number in range(1, 6):
        failed(store, number)
    first, before = listed(api, base, limit=2)
    ask(store, 6)
    second, after = listed(api, base, limit=2, before=before)
    third, end = listed(api, base, limit=2, before=after)
    assert (first, second, third, end) == (["b-5", "b-4"], ["b-3", "b-2"], ["b-1"], None)


def test_a_page_of_ten_thousand_builds_is_as_much_work_as_one_of_a_hundred(store, base, api, operator):
    work = {}
    for count in (100, 10_000):
        wipe(store)
        seed(store, count)
        for who in (api, operator):
            for query in ({}, {"before": count // 2}):
                wanted = steps_of(store, partial(listed, who, base, limit=50, **query))
                work.setdefault((who is api, *query), []).append(wanted)
    assert all(many < 2 * few for few, many in work.values()), work


def test_a_build_is_shown_to_others_by_its_key_and_only_this_build(store, web, base, api, hub):
    ask(store, 1)
    ask(store, 2)
    share = api.get(f"{base}/api/v1/builds/b-1/share", timeout=20).json()["share"]
    assert share["url"] == f"{base}/builds/b-1?key={share['key']}"
    with requests.Session() as bob:
        bob.headers["Authorization"] = f"token {hub.token_for('bob')}"
        error_of(bob.get(f"{base}/api/v1/builds/b-1", timeout=20), 404)
        shown = bob.get(f"{base}/api/v1/builds/b-1", params={"key": share["key"]}, timeout=20).json()["build"]
        assert (shown["id"], shown["may_cancel"]) == ("b-1", False)
        for key in (share["key"][:-1] + "a", "", "ä", share["key"].upper()):
            error_of(bob.get(f"{base}/api/v1/builds/b-1", params={"key": key}, timeout=20), 404)
        error_of(bob.get(f"{base}/api/v1/builds/b-2", params={"key": share["key"]}, timeout=20), 404)
        error_of(bob.get(f"{base}/api/v1/builds/b-1/share", params={"key": share["key"]}, timeout=20), 404)
    error_of(requests.get(f"{base}/api/v1/builds/b-1", params={"key": share["key"]}, timeout=20), 403)


def seed(store, count: int) -> None:
    """Many finished builds of alice and one that waits, without going through as many transactions."""
    from launcher.store.schema import build_people, builds, environments

    now = store._clock()
    with store._database.write() as connection:
        connection.execute(
            sa.insert(environments),
            [
                {
                    "key": examples.key(n),
                    "kind": "requirements.txt",
                    "summary": "requirements.txt",
                    "fingerprint": "f",
                    "status": "ready",
                    "created": now,
                    "last_used": now,
                }
                for n in range(count)
            ],
        )
        connection.execute(
            sa.insert(builds),
            [
                {
                    "number": n + 1,
                    "id": f"s-{n}",
                    "environment_key": examples.key(n),
                    "status": BuildStatus.SUCCEEDED if n + 1 < count else BuildStatus.WAITING,
                    "target": BuildStatus.SUCCEEDED,
                    "asked_by": "alice",
                    "spec": f"gh/org/repo-{n}/main",
                    "request": {},
                    "created": now,
                }
                for n in range(count)
            ],
        )
        people = [{"username": "alice", "build_number": n + 1} for n in range(count)]
        connection.execute(sa.insert(build_people), people)


def steps_of(store, do) -> int:
    """How much SQLite has to do for a call: instructions of its virtual machine, the same on every machine."""
    steps = []

    def checked_out(connection, record, proxy):
        connection.set_progress_handler(lambda: steps.append(1), 10)

    def checked_in(connection, record):
        connection.set_progress_handler(None, 10)

    engine = store._database._engine
    sa.event.listen(engine, "checkout", checked_out)
    sa.event.listen(engine, "checkin", checked_in)
    try:
        do()
    finally:
        sa.event.remove(engine, "checkout", checked_out)
        sa.event.remove(engine, "checkin", checked_in)
    assert steps
    return len(steps)
