"""Environments for admins: every page of the list, pins, and removal that refuses what is in use."""

from __future__ import annotations

import re
from functools import partial
from html import unescape

import pytest
import requests

from launcher.models import EnvironmentSize, HomeKind, ServerName
from launcher.retention.catalogue import _position
from tests.http.test_api import error_of
from tests.http.test_builds import ALICE, BOB, ask, operator, seed, steps_of, store, wipe
from tests.http.test_my_launches import main_of, press
from tests.support import examples

__all__ = ["operator", "store"]


def ready(store, number: int, **more) -> str:
    """An environment that is there; its key."""
    row = ask(store, number, **more)
    store.set_build_finished(row.id, examples.built(f"env-{number}"))
    return row.environment_key


def listed(client, base, **query):
    answer = client.get(f"{base}/api/v1/environments", params=query, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_admins_see_every_environment_and_what_it_takes(store, base, operator, web):
    key = ready(store, 1)
    store.save_sizes({"env-1": EnvironmentSize(10, 20)})
    ask(store, 2)
    web.in_use.add("env-1")
    body = listed(operator, base)
    one = next(row for row in body["environments"] if row["key"] == key)
    assert (one["own_bytes"], one["shared_bytes"], one["status"], one["spec"]) == (
        10,
        20,
        "ready",
        "gh/org/repo-1/main",
    )
    assert (one["in_use"], one["pinned"], one["building"], one["removing"]) == (True, False, False, False)
    assert (body["total"], body["next"]) == (2, None)
    assert [row["key"] for row in listed(operator, base, search="repo-2")["environments"]] == [examples.key(2)]
    web.in_use.clear()


def test_pages_follow_each_other_to_the_end(store, base, operator):
    keys = {ready(store, number) for number in range(5)}
    seen, after = [], None
    while True:
        body = listed(operator, base, limit=2, **({"after": after} if after else {}))
        seen += [row["key"] for row in body["environments"]]
        assert body["total"] == 5
        if (after := body["next"]) is None:
            break
    assert (set(seen), len(seen)) == (keys, 5)
    for odd in ({"limit": "x"}, {"after": "yesterday"}, {"after": "2026-01-01T00:00:00~x"}):
        error_of(operator.get(f"{base}/api/v1/environments", params=odd, timeout=20), 400)


def test_people_who_are_no_admins_and_browsers_change_nothing(store, base, api, browser):
    key = ready(store, 1)
    for method, path in (("DELETE", f"/{key}"), ("POST", f"/{key}/pin"), ("DELETE", f"/{key}/pin"), ("GET", "")):
        address = f"{base}/api/v1/environments{path}"
        assert browser.request(method, address, timeout=20).status_code == 403
        if path:
            error_of(api.request(method, address, timeout=20), 403)
    assert store.environment(key) is not None


def test_people_see_environments_they_used_or_had_built_and_nobody_else_there(store, base, api, operator):
    built, used, bobs = ready(store, 1), ready(store, 2, by=BOB), ready(store, 3, by=BOB)
    for user in (ALICE, BOB):
        store.save_session(user, ServerName("r"), examples.resolved(), environment_key=used, home=HomeKind.PERSONAL)
    mine, everything = listed(api, base), listed(operator, base)
    assert ({row["key"] for row in mine["environments"]}, mine["total"]) == ({built, used}, 2)
    assert all(row["used_by"] == [] for row in mine["environments"])
    assert listed(api, base, search="repo-3")["environments"] == []
    by_key = {row["key"]: row for row in everything["environments"]}
    assert {key: row["used_by"] for key, row in by_key.items()} == {built: [], used: ["alice", "bob"], bobs: []}
    assert by_key[bobs]["build"] == "b-3"


def test_a_page_of_ten_thousand_environments_is_as_much_work_as_one_of_a_hundred(store, base, operator):
    work = []
    for count in (100, 10_000):
        wipe(store)
        seed(store, count)
        middle = listed(operator, base, limit=10)["next"]
        with_search = steps_of(store, partial(store.environments_page, limit=50))
        work.append((with_search, steps_of(store, partial(store.environments_page, limit=50, after=_position(middle)))))
    assert all(many < 2 * few for few, many in zip(*work, strict=True)), work


def test_removing_refuses_what_is_pinned_built_or_used_and_says_why(store, base, operator, web):
    pinned, used, key = (ready(store, number) for number in range(3))
    building = ask(store, 3).environment_key
    web.in_use.add("env-1")
    address = f"{base}/api/v1/environments"
    assert operator.post(f"{address}/{pinned}/pin", timeout=20).status_code == 204
    for other, word in ((pinned, "pinned"), (used, "session"), (building, "built")):
        error = error_of(operator.delete(f"{address}/{other}", timeout=20), 409)
        assert error["code"] == "environment_in_use"
        assert word in error["message"]
        assert error["hint"]
    assert operator.delete(f"{address}/{pinned}/pin", timeout=20).status_code == 204
    for gone in (pinned, key):
        assert operator.delete(f"{address}/{gone}", timeout=20).status_code == 204
        assert store.environment(gone) is None
        assert error_of(operator.delete(f"{address}/{gone}", timeout=20), 404)["code"] == "environment_not_found"
    web.in_use.clear()


class TestPage:
    """The page of environments, as people without JavaScript use it."""

    def test_people_see_their_own_with_sizes_and_no_buttons(self, store, base, browser):
        ready(store, 1)
        ready(store, 2, by=BOB)
        store.save_sizes({"env-1": EnvironmentSize(1_500_000, 20_000_000)})
        page = browser.get(f"{base}/environments", timeout=20).text
        said = main_of(page)
        for words in (
            "1 environment gh/org/repo-1/main ready",
            "requirements.txt · Python 3.11",
            "1.5 MB of its own, 20 MB shared",
        ):
            assert words in said, (words, said)
        assert "repo-2" not in said
        assert 'href="/services/binder/builds/b-1"' in page
        assert "/pin" not in page
        assert "/delete" not in page

    def test_operators_pin_and_remove(self, store, base, operators_browser, web):
        key, used = ready(store, 1), ready(store, 2, by=BOB)
        store.save_session(BOB, ServerName("r"), examples.resolved(), environment_key=used, home=HomeKind.PERSONAL)
        web.in_use.add("env-2")
        page = operators_browser.get(f"{base}/environments", timeout=20).text
        assert "used by bob" in main_of(page)
        assert f"environments/{key}/delete" in page
        assert f"environments/{used}/delete" not in page, "somebody works in it"
        pinned = press(operators_browser, base, page, f"environments/{key}/pin", pinned="1")
        assert (pinned.status_code, pinned.headers["location"]) == (303, "/services/binder/environments")
        assert store.environment(key).pinned
        assert press(operators_browser, base, page, f"environments/{key}/delete").status_code == 409
        press(operators_browser, base, page, f"environments/{key}/pin", pinned="")
        question = operators_browser.get(f"{base}/environments/{key}/delete", timeout=20).text
        assert "Remove the environment of gh/org/repo-1/main?" in main_of(question)
        assert store.environment(key) is not None, "looking removes nothing"
        assert press(operators_browser, base, question, f"environments/{key}/delete").status_code == 303
        assert store.environment(key) is None
        web.in_use.clear()

    def test_search_and_pages(self, store, base, operators_browser):
        for number in range(1, 53):
            ready(store, number)
        first = operators_browser.get(f"{base}/environments", timeout=20).text
        assert "52 environments" in main_of(first)
        following = unescape(re.search(r'href="(/services/binder/environments[?]after=[^"]+)" rel="next"', first)[1])
        second = operators_browser.get(base.removesuffix("/services/binder") + following, timeout=20).text
        assert "gh/org/repo-1/main" in main_of(second)
        assert "gh/org/repo-52/main" not in main_of(second)
        found = main_of(operators_browser.get(f"{base}/environments?search=repo-17", timeout=20).text)
        assert "1 environment gh/org/repo-17/main" in found
        assert "No environment is like that" in main_of(
            operators_browser.get(f"{base}/environments?search=nothing", timeout=20).text
        )

    def test_people_who_are_no_admins_scripts_and_other_sites_press_no_button(self, store, base, browser):
        key = ready(store, 1)
        page = browser.get(f"{base}/links", timeout=20).text
        cross = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}
        for headers in ({}, cross, {"Sec-Fetch-Mode": "cors"}):
            for button in ("pin", "delete"):
                assert (
                    press(browser, base, page, f"environments/{key}/{button}", headers, pinned="1").status_code == 403
                )
        assert not store.environment(key).pinned
        nobody = requests.get(f"{base}/environments", allow_redirects=False, timeout=20)
        assert nobody.headers["location"].startswith("/hub/api/oauth2/authorize?")


@pytest.fixture(scope="session")
def operators_browser(hub, base, running_web):
    """An operator in a browser."""
    with hub.login_session("olga") as session:
        session.get(f"{base}/about", timeout=30)
        session.get(f"{base}/links", timeout=30)
        session.headers.update({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"})
        yield session
