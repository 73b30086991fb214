"""A new regular session: its page, and the same for programs. Hub, tickets and rows are real."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests

from launcher.models import EnvironmentKey, HomeKind, SessionMode, Username
from launcher.policy.trust import TrustPolicy
from launcher.sessions.names import server_name
from launcher.sessions.session_offer import RegularSessions
from tests.http.test_api import error_of
from tests.http.test_build_stream import page_config
from tests.http.test_mine import resolved, servers_of
from tests.http.test_my_launches import main_of, press
from tests.http.test_openapi import described
from tests.http.test_pages import xsrf
from tests.support import examples
from tests.support.new_sessions import NewSessions
from tests.support.running import eventually

ALICE, BOB = Username("alice"), Username("bob")
EVIL = '"><img src=x onerror=alert(1)>'
EVENTS = {"Accept": "text/event-stream"}


def on_loop(web, coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, web.loop).result(20)


@pytest.fixture
def sessions(web, hub, tmp_path):
    """Real new sessions behind the web, with a store of their own; alice's regular session is stopped in the end."""
    before, made = web.new_session, NewSessions(tmp_path / "sessions", hub.hub_api_url)
    on_loop(web, made.begin())
    use(web, made)
    yield made
    web.new_session = before
    on_loop(web, made.end())
    stop(hub)


def use(web, made: NewSessions, **changes) -> None:
    """Let the web use them as they are with these changes."""
    for name, value in changes.items():
        setattr(made, name, value)
    web.new_session = web.call(made.make)
    web.fresh(noscript_wait_seconds=20)


def stop(hub, user: str = "alice") -> None:
    hub.api("DELETE", f"/users/{user}/server")
    eventually(
        lambda: "" not in hub.api("GET", f"/users/{user}").json().get("servers", {}), what="the end of the session"
    )


def used(made: NewSessions, name: str, key: EnvironmentKey, *, user: Username = ALICE) -> None:
    """Remember that somebody launched a repository with an environment."""
    found = resolved(made, name)
    made.store.save_session(user, server_name(found.repository), found, environment_key=key, home=HomeKind.PERSONAL)


def ready(made: NewSessions, number: int) -> EnvironmentKey:
    """An environment that is there."""
    key, built = examples.key(number), examples.built(f"env-{number}")
    made.store.save_environment_ready(key, built, kind="requirements.txt", summary="x", fingerprint="fake-1")
    made.builder._environments[built.reference] = built  # as if it had built it
    return key


def events_of(session, url: str, **headers) -> list[dict]:
    with session.get(url, headers={**EVENTS, **headers}, stream=True, timeout=60) as answer:
        found = []
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("data:"):
                found.append(json.loads(line[5:]))
                if found[-1].get("phase") in {"ready", "failed"}:
                    return found
    return found


def form_of(browser, base) -> str:
    return browser.get(f"{base}/new", timeout=20).text


def start(browser, base, **fields) -> requests.Response:
    return press(browser, base, form_of(browser, base), "new", **fields)


def at_field(page: str, name: str) -> str:
    """The problem shown at a field, which the field points to."""
    problem = re.search(rf'<p class="problem" id="{name}-problem" role="alert">(.*?)</p>', page, re.DOTALL)
    described = re.search(rf'<(?:input|fieldset|div)[^>]*aria-describedby="[^"]*{name}-problem"[^>]*>', page)
    assert problem, page
    assert described, page
    assert ('aria-invalid="true"' in described[0]) == described[0].startswith("<input")
    return re.sub(r"<[^>]+>", " ", problem[1])


class TestForm:
    def test_it_offers_what_is_for_this_person(self, sessions, base, browser, api, hub):
        key = ready(sessions, 1)
        used(sessions, "official-notes", key)
        used(sessions, "official-other", key)
        used(sessions, "unknown", ready(sessions, 2))
        used(sessions, "official-old", examples.key(3))
        used(sessions, "official-bobs", ready(sessions, 4), user=BOB)
        page = form_of(browser, base)
        assert set(re.findall(r'name="environment" value="([^"]*)"', page)) == {
            "", "listed:geo", "listed:banned", "listed:broken", f"recent:{key}", "repository",
        }  # fmt: skip
        assert re.findall(r'name="size" value="([^"]*)"', page) == ["small", "large"]
        assert re.search(r'value="small" checked', page)
        text = main_of(page)
        assert "Geospatial" in text
        assert "Maps and rasters" in text
        assert "org/official-other/main" in text
        assert hub.api("GET", "/users/alice").json()["servers"] == {}, "looking starts nothing"
        hub.api("POST", "/groups/staff")
        hub.api("POST", "/groups/staff/users", json={"users": ["alice"]})
        try:
            offer = api.get(f"{base}/api/v1/new-session", timeout=20).json()["new_session"]
            assert "listed:staff" in [one["environment"] for one in offer["environments"]]
            assert "huge" in [one["name"] for one in offer["sizes"]]
        finally:
            hub.api("DELETE", "/groups/staff")

    def test_a_link_fills_it_in_and_starts_nothing(self, web, sessions, base, browser, hub):
        query = urlencode(
            {
                "environment": "repository",
                "environment_spec": f"o/r{EVIL}",
                "files_spec": "o/f",
                "trust": "yes",
                "size": "large",
            }
        )
        page = browser.get(f"{base}/new?{query}", timeout=20).text
        assert 'value="repository" checked' in page
        assert 'value="large" checked' in page
        assert 'name="files_spec" class="form-control" value="o/f"' in page
        assert EVIL not in page
        assert not re.search(r'id="trust"[^>]*checked', page), "that is never filled in"
        assert browser.get(f"{base}/new?files_spec={'x' * 4000}", timeout=20).status_code == 200
        progress = browser.get(f"{base}/new/progress?{query}", timeout=20)
        assert urlsplit(progress.url).path.endswith("/new")
        assert hub.api("GET", "/users/alice").json()["servers"] == {}
        assert not sessions.store.list_trusted(ALICE)

    def test_where_sessions_are_not_ours_it_says_so(self, web, sessions, base, browser, api):
        use(web, sessions, regular=RegularSessions(own=False))
        page = form_of(browser, base)
        assert "JupyterHub itself starts the regular session" in main_of(page)
        assert '<a class="button" href="/hub/home">' in page
        assert 'name="environment"' not in page
        assert api.get(f"{base}/api/v1/new-session", timeout=20).json()["new_session"]["available"] is False
        assert (
            error_of(api.post(f"{base}/api/v1/new-session", json={}, timeout=20), 409)["code"] == "sessions_elsewhere"
        )

    @pytest.mark.parametrize(
        "case",
        [
            ({"size": "huge"}, "size", "no machine size"),
            ({"environment": "listed:staff"}, "environment", "not offered to you"),
            ({"environment": "listed:nothing"}, "environment", "not offered to you"),
            ({"environment": "listed:banned"}, "environment", "may not be launched"),
            ({"environment": "listed:broken"}, "environment", "apt.txt"),
            ({"environment": f"recent:{'0' * 64}"}, "environment", "not one of yours"),
            ({"environment": "image", "image": "quay.io/evil/image"}, "environment", "no sessions from images"),
            ({"environment": "nonsense"}, "environment", "no such choice"),
            ({"environment": "repository"}, "environment_spec", "names no repository"),
            (
                {"environment": "repository", "environment_spec": "o/missing", "trust": "yes"},
                "environment_spec",
                "no such repository",
            ),
            (
                {"environment": "repository", "environment_spec": "o/broken", "trust": "yes"},
                "environment_spec",
                "apt.txt",
            ),
            (
                {"environment": "repository", "environment_spec": "org/banned"},
                "environment_spec",
                "may not be launched",
            ),
            ({"environment": "repository", "environment_spec": "o/r"}, "trust", "not a repository this hub knows"),
            ({"files_spec": "https://github.com/o"}, "files_spec", "of no repository"),
            ({"files_spec": "o/missing"}, "files_spec", "no such repository"),
            ({"files_spec": "org/banned"}, "files_spec", "may not be launched"),
            ({"files_spec": "o/" + "r" * 3000}, "files_spec", "too long"),
        ],
    )
    def test_what_cannot_be_is_said_at_its_field_and_what_was_typed_stays(self, sessions, base, browser, api, case):
        fields, field, words = case
        page = start(browser, base, **fields)
        assert page.status_code >= 400
        assert words in at_field(page.text, field)
        if len(fields.get("files_spec", "")) < 2000:
            for name, value in fields.items():
                if name in {"environment_spec", "files_spec"}:
                    assert f'name="{name}" class="form-control" value="{value}"' in page.text
        body = {**fields, "trust": True} if fields.get("trust") else fields
        error = error_of(api.post(f"{base}/api/v1/new-session", json=body, timeout=20), page.status_code)
        assert error["field"] == field
        assert words in error["message"] + error["hint"]
        assert sessions.plans() == []
        assert not sessions.store.list_trusted(ALICE), "what was refused is not trusted"

    def test_an_unknown_repository_can_be_trusted_there_or_launched_on_its_own_page(self, web, sessions, base, browser):
        fields = {"environment": "repository", "environment_spec": "https://github.com/o/r/tree/main"}
        refused = start(browser, base, **fields).text
        link = re.search(r'href="(/services/binder/go\?[^"]*)"', refused)[1]
        answer = browser.get(
            base.removesuffix("/services/binder") + link.replace("&amp;", "&"), allow_redirects=False, timeout=20
        )
        assert "/v2/gh/o/r/" in answer.headers["location"]
        assert start(browser, base, **fields, trust="yes").status_code == 303
        assert [row.repository_id for row in sessions.store.list_trusted(ALICE)] == [
            sessions.sources.repository(sessions.sources.parse("gh", "o/r/main")).id
        ]

    def test_a_recent_environment_of_somebody_else_or_of_a_repository_no_longer_trusted_is_refused(
        self, web, sessions, base, browser
    ):
        bobs, mine = ready(sessions, 1), ready(sessions, 2)
        used(sessions, "official-bobs", bobs, user=BOB)
        used(sessions, "mine", mine)
        identity = resolved(sessions, "mine").repository.id
        sessions.store.trust_repository(ALICE, identity)
        assert f"recent:{mine}" in form_of(browser, base)
        sessions.store.untrust(ALICE, identity)
        for key in (bobs, mine):
            assert "not one of yours" in at_field(start(browser, base, environment=f"recent:{key}").text, "environment")
        sessions.store.trust_repository(ALICE, identity)
        use(web, sessions, policy=TrustPolicy(banned=("gh/org/mine*",)))
        assert "not one of yours" in at_field(start(browser, base, environment=f"recent:{mine}").text, "environment")


class TestStart:
    def test_a_listed_environment_and_files_become_the_regular_session(self, web, sessions, base, browser, hub):
        sessions.builder.hold()
        answer = start(browser, base, environment="listed:geo", size="large", files_spec="o/course")
        assert answer.status_code == 303
        page = browser.get(base.removesuffix("/services/binder") + answer.headers["location"], timeout=20)
        assert "Starting your session" in main_of(page.text)
        assert page.headers["referrer-policy"] == "no-referrer"
        config = page_config(page.text)
        sessions.builder.release()
        origin = base.removesuffix("/services/binder")
        events = events_of(
            browser,
            f"{origin}{config['eventsUrl']}&build_token={config['buildToken']}",
            **{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "X-XSRFToken": config["xsrfToken"]},
        )
        assert [event["phase"] for event in events][-1] == "ready", events
        assert {"building", "built", "launching"} <= {event.get("phase") for event in events}
        assert events[-1]["open_url"] == "/user/alice/"
        assert servers_of(hub, "alice") == {""}
        [plan] = sessions.plans()
        assert (plan.user, plan.server_name, plan.home, plan.project) == ("alice", "", HomeKind.PERSONAL, None)
        assert plan.environment in on_loop(web, sessions.builder.references())
        assert plan.mode is SessionMode.KERNEL
        assert plan.size.name == "large"
        assert plan.content["name"] == "course"
        assert plan.start is None
        again = browser.get(origin + answer.headers["location"] + "&wait=1", allow_redirects=False, timeout=20)
        assert again.headers["location"] == "/user/alice/", "who loads the page again gets there, too"

    def test_nothing_chosen_is_the_standard_session(self, web, sessions, base, api, hub):
        answer = api.post(f"{base}/api/v1/new-session", json={}, timeout=30)
        body = described(answer, "/new-session", "post", "202")
        assert body["session"]["server_name"] == ""
        assert events_of(api, body["session"]["events_url"])[-1]["phase"] == "ready"
        [plan] = sessions.plans()
        assert (plan.environment, plan.image, plan.content, plan.mode) == (None, None, None, SessionMode.KERNEL)
        assert plan.size.name == "small", "the first one offered"
        offer = described(api.get(f"{base}/api/v1/new-session", timeout=20), "/new-session")["new_session"]
        assert offer["running"] == {"url": "/user/alice/", "state": "ready"}
        assert offer["environments"][0]["environment"] == "listed:geo"

    def test_a_running_session_is_opened_or_stopped_first(self, sessions, base, browser, api, hub):
        hub.api("POST", "/users/alice")
        hub.api("POST", "/users/alice/server")
        eventually(lambda: "" in servers_of(hub, "alice"), what="the session")
        page = form_of(browser, base)
        assert 'href="/user/alice/"' in page
        assert 'name="environment"' not in page
        assert error_of(api.post(f"{base}/api/v1/new-session", json={}, timeout=20), 409)["code"] == "session_running"
        refused = press(browser, base, page, "new", files_spec="o/course")
        assert refused.status_code == 409
        assert 'value="o/course"' in refused.text
        assert "Your session is running." in main_of(refused.text)
        stopped = press(browser, base, refused.text, "sessions/stop", server="", back="new")
        assert stopped.headers["location"] == "/services/binder/new"
        assert sessions.plans() == []

    def test_an_image_where_the_operator_allows_it(self, web, sessions, base, browser, hub):
        use(web, sessions, regular=replace(sessions.regular, allows_image=lambda name: name.startswith("quay.io/org/")))
        assert 'value="image"' in form_of(browser, base)
        refused = start(browser, base, environment="image", image="quay.io/other/image")
        assert "does not allow" in at_field(refused.text, "image")
        assert 'name="image" class="form-control" value="quay.io/other/image"' in refused.text
        assert "no image" in at_field(start(browser, base, environment="image").text, "image")
        assert start(browser, base, environment="image", image="quay.io/org/image:1").status_code == 303
        plan = eventually(sessions.plans, what="the plan")[0]
        assert (plan.image, plan.environment, plan.mode) == ("quay.io/org/image:1", None, SessionMode.FULL)

    def test_a_trusted_repository_is_built_once_and_is_recent_then(self, web, sessions, base, api, hub):
        wish = {
            "environment": "repository",
            "environment_spec": "https://github.com/org/official-notes",
            "files_spec": "org/official-notes",
        }
        started = api.post(f"{base}/api/v1/new-session", json=wish, timeout=30).json()["session"]
        assert events_of(api, started["events_url"])[-1]["phase"] == "ready"
        stop(hub)
        [recent] = api.get(f"{base}/api/v1/new-session", timeout=20).json()["new_session"]["recent"]
        assert recent["title"] == "org/official-notes/HEAD"
        started = api.post(f"{base}/api/v1/new-session", json={"environment": recent["environment"]}, timeout=30).json()
        assert events_of(api, started["session"]["events_url"])[-1]["phase"] == "ready"
        first, second = sessions.plans()
        assert first.environment == second.environment
        assert len(sessions.builder.started) == 1

    def test_two_clicks_start_once(self, web, sessions, base, api, hub):
        sessions.builder.hold()
        wish = {"environment": "listed:geo"}
        urls = [
            api.post(f"{base}/api/v1/new-session", json=wish, timeout=30).json()["session"]["events_url"]
            for _ in range(2)
        ]
        sessions.builder.release()
        assert [events_of(api, url)[-1]["phase"] for url in urls] == ["ready", "ready"]
        assert len(sessions.plans()) == 1


class TestWhoMay:
    def test_only_the_persons_own_click_starts(self, web, sessions, base, browser, hub):
        page = form_of(browser, base)
        other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert press(browser, base, page, "new", headers=other).status_code == 403
        assert press(browser, base, page, "new", _xsrf=None).status_code == 403
        assert browser.get(f"{base}/new", headers={"Sec-Fetch-Mode": "cors"}, timeout=20).status_code == 403
        for method in ("GET", "POST"):
            assert browser.request(method, f"{base}/api/v1/new-session", json={}, timeout=20).status_code == 403
        assert hub.api("GET", "/users/alice").json()["servers"] == {}

    def test_the_stream_wants_a_token_for_these_very_choices(self, web, sessions, base, browser, hub):
        page = form_of(browser, base)
        sessions.builder.hold()
        location = press(browser, base, page, "new", environment="listed:geo").headers["location"]
        token = parse_qs(urlsplit(location).query)["build_token"][0]
        same = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "X-XSRFToken": xsrf(page)}
        for query in ({}, {"build_token": "x"}, {"build_token": token, "files_spec": "o/evil"}):
            events = events_of(
                browser, f"{base}/api/v1/new-session/events?{urlencode({'environment': 'listed:geo', **query})}", **same
            )
            assert [event["code"] for event in events] == ["build_token_invalid"]
        launch = events_of(browser, f"{base}/build/gh/org/geo/main?build_token={token}", **same)
        assert [event["code"] for event in launch] == ["build_token_invalid"]
        progress = browser.get(
            f"{base}/new/progress?environment=listed:geo&files_spec=o/evil&build_token={token}",
            allow_redirects=False,
            timeout=20,
        )
        assert progress.status_code == 302
        sessions.builder.release()

    def test_nobody_gets_anything(self, sessions, base):
        for path in ("new", "new/progress"):
            answer = requests.get(f"{base}/{path}", allow_redirects=False, timeout=20)
            assert answer.headers["location"].startswith("/hub/api/oauth2/authorize?")
        error_of(requests.get(f"{base}/api/v1/new-session", timeout=20), 403)

    @pytest.mark.parametrize("body", [{"size": 3}, {"trust": "yes"}, {"command": "x"}, {"environment": None}])
    def test_a_program_is_told_what_it_got_wrong(self, sessions, base, api, body):
        error_of(api.post(f"{base}/api/v1/new-session", json=body, timeout=20), 400)
