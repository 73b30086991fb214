"""Environments made anew: who may, by button and by program, once at a time, and nothing is lost by asking."""

from __future__ import annotations

import pytest

from launcher.builds.codec import request_from_json, request_to_json
from launcher.models import BuildId, EnvironmentStatus, HomeKind, ServerName
from tests.http.test_api import error_of
from tests.http.test_builds import ALICE, BOB, operator, store
from tests.http.test_environments import listed, operators_browser
from tests.http.test_my_launches import main_of, press
from tests.support import examples

__all__ = ["operator", "operators_browser", "store"]

FINGERPRINT = "fake-1"


@pytest.fixture
def fetched(web, monkeypatch):
    """The refs that were fetched for builds."""
    refs = []

    async def fetch(resolved):
        refs.append(resolved.ref)
        return examples.snapshot()

    monkeypatch.setattr(web.sources, "fetch", fetch)
    return refs


@pytest.fixture
def made(store, fetched):
    """Makes an environment that is ready; its key."""

    def _made(number: int = 1, *, by=ALICE, fingerprint=FINGERPRINT, request=None) -> str:
        row, _ = store.create_build(
            BuildId(f"b-{number}"),
            examples.key(number),
            recipe=examples.recipe(),
            fingerprint=fingerprint,
            spec=f"gh/org/repo-{number}/main",
            request=request_to_json(examples.recipe(), examples.snapshot()) if request is None else request,
            asked_by=by,
            max_open=100,
        )
        store.set_build_finished(row.id, examples.built(f"env-{number}"))
        return row.environment_key

    return _made


def launched(store, user, key):
    store.save_session(user, ServerName("r"), examples.resolved(), environment_key=key, home=HomeKind.PERSONAL)


def rebuild(client, base, key):
    return client.post(f"{base}/api/v1/environments/{key}/rebuild", timeout=20)


def test_who_had_an_environment_built_has_it_made_anew_once_and_it_stays_usable(store, base, api, made, fetched):
    key = made()
    (before,) = listed(api, base)["environments"]
    assert (before["may_rebuild"], before["building"]) == (True, False)
    answers = [rebuild(api, base, key) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["build"]["id"] for answer in answers}) == 1
    build = store.build(BuildId(answers[0].json()["build"]["id"]))
    assert request_from_json(build.id, key, build.request).anew
    assert fetched == [examples.COMMIT] * 3
    (now,) = listed(api, base)["environments"]
    assert (now["status"], now["building"], now["reference"]) == ("ready", True, "env-1")


def test_an_environment_that_others_have_too_is_for_admins(store, base, api, operator, made):
    shared, used, bobs = made(1), made(2, by=BOB), made(3, by=BOB)
    launched(store, BOB, shared)
    launched(store, ALICE, used)
    for key in (shared, used):
        error = error_of(rebuild(api, base, key), 403)
        assert error["code"] == "not_allowed"
        assert "Others use" in error["message"]
    assert error_of(rebuild(api, base, bobs), 404)["code"] == "environment_not_found"
    assert {row["may_rebuild"] for row in listed(api, base)["environments"]} == {False}
    assert {row["may_rebuild"] for row in listed(operator, base)["environments"]} == {True}
    assert rebuild(operator, base, bobs).status_code == 202
    assert store.environment(bobs).status is EnvironmentStatus.READY


def test_what_cannot_be_made_anew_is_refused_with_what_to_do(store, base, operator, made, web):
    for key in (made(1, fingerprint="of-last-year"), made(2, request={"version": 0})):
        error = error_of(rebuild(operator, base, key), 409)
        assert error["code"] == "rebuild_impossible"
        assert "Launch" in error["hint"]
        assert store.open_build_for(key) is None
        assert store.environment(key).reference
    assert error_of(rebuild(operator, base, examples.key(9)), 404)["code"] == "environment_not_found"


def test_the_button_leads_to_the_build(store, base, browser, operators_browser, made):
    mine, shared = made(1), made(2)
    launched(store, BOB, shared)
    page = browser.get(f"{base}/environments", timeout=20).text
    assert 'aria-label="Rebuild gh/org/repo-1/main"' in page
    assert f"environments/{shared}/rebuild" not in page
    assert "Sessions go on with the old one" in main_of(page)
    answer = press(browser, base, page, f"environments/{mine}/rebuild")
    build = store.open_build_for(mine)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/services/binder/builds/{build.id}")
    assert "ready, being rebuilt" in main_of(browser.get(f"{base}/environments", timeout=20).text)
    assert f"environments/{shared}/rebuild" in operators_browser.get(f"{base}/environments", timeout=20).text


def test_other_sites_scripts_and_cookies_rebuild_nothing(store, base, browser, made):
    key = made()
    page = browser.get(f"{base}/environments", timeout=20).text
    other_site = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}
    for headers, token in ((other_site, {}), ({"Sec-Fetch-Mode": "cors"}, {}), ({}, {"_xsrf": None})):
        assert press(browser, base, page, f"environments/{key}/rebuild", headers, **token).status_code == 403
    assert rebuild(browser, base, key).status_code == 403
    assert browser.get(f"{base}/environments/{key}/rebuild", timeout=20).status_code == 405
    assert store.open_build_for(key) is None
