"""What my launches says about sessions that run, and does with them: how big, until when, kept alive; and clusters."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import requests

from launcher.models import HomeKind, MachineSize, ServerName, Username
from launcher.policy.culling import Culler, CullPolicy
from launcher.policy.sizes import Enforceable, MachineSizes
from tests.http.test_api import error_of
from tests.http.test_builds import store
from tests.http.test_clusters import LIST, ONE, THREE, TWO, _gateway, behind, gateway, listed
from tests.http.test_mine import launched, resolved, running
from tests.http.test_my_launches import main_of, press
from tests.support import examples
from tests.support.scripted_gateway import cluster

__all__ = ["_gateway", "behind", "gateway", "running", "store"]

ALICE = Username("alice")
NO_SIZES = MachineSizes()
LARGE = MachineSize("large", "Large", memory_bytes=8 * 2**30, cpus=2.5)


class Alice:
    """What she and her programs see and do, and what the Hub says of her."""

    def __init__(self, web, base, browser, api):
        self.web, self.base, self.browser, self.api = web, base, browser, api

    def hub_has(self, *cullers, sizes=NO_SIZES):
        """What ends idle sessions, and which sizes there are, from now on."""
        self.web.culling, self.web.sizes = CullPolicy(cullers), sizes
        self.web.fresh()

    def page(self):
        return self.browser.get(f"{self.base}/", timeout=20).text

    def said(self):
        return main_of(self.page())

    def press(self, action, headers=(), **data):
        return press(self.browser, self.base, self.page(), action, headers, **data)

    def session(self, server):
        found = self.api.get(f"{self.base}/api/v1/sessions", timeout=20).json()["sessions"]
        return next(session for session in found if session["server_name"] == server)

    def note_activity(self, server, client=None):
        return (client or self.api).post(f"{self.base}/api/v1/sessions/{server}/activity", timeout=20)


@pytest.fixture
def alice(web, base, browser, api):
    yield Alice(web, base, browser, api)
    web.culling, web.sizes, web.regular_size = CullPolicy(), MachineSizes(), ""


@pytest.fixture
def session(web, running):
    """A session of Alice that runs; its server's name."""
    server = launched(web, "notes")
    running("alice", server)
    return server


@pytest.fixture
def used(hub):
    """When a session of Alice was used last, as the Hub says."""

    def _used(server) -> datetime:
        model = hub.api("GET", "/users/alice").json()["servers"][server]
        return datetime.fromisoformat(model["last_activity"])

    return _used


class TestUntilWhen:
    def test_without_a_culler_nothing_ends_by_itself(self, session, alice):
        page = alice.page()
        assert "Running sessions" in main_of(page)
        assert "ends" not in main_of(page)
        assert "sessions/keep" not in page
        said = alice.session(session)
        assert (said["culled_when_idle"], said["culled_at"], said["culled_at_latest"]) == (False, None, None)

    def test_the_end_of_an_unused_session_and_of_any_session_is_said(self, session, alice, used):
        alice.hub_has(Culler(50 * 60 + 20, 2 * 86400 + 600))
        assert "ends in 50 minutes if it is not used · ends in 2 days at the latest" in alice.said()
        said, last = alice.session(session), used(session).replace(microsecond=0)
        assert datetime.fromisoformat(said["culled_at"]) == last + timedelta(seconds=50 * 60 + 20)
        assert datetime.fromisoformat(said["culled_at_latest"]) - last > timedelta(days=1)
        assert said["culled_when_idle"] is True

    def test_other_ends(self, session, alice):
        for culler, words in (
            (Culler(0.001), "ends any moment if it is not used"),
            (Culler(None), "ends by itself when it is not used"),
            (Culler(3600, 1800), "ends in 30 minutes at the latest"),
        ):
            alice.hub_has(culler)
            said = alice.said()
            assert words in said
            assert said.count("ends ") == 1


class TestKeepAlive:
    def test_the_button_moves_the_end_at_the_hub(self, session, alice, used):
        alice.hub_has(Culler(3600))
        assert 'aria-label="Keep alive: org/notes/main"' in alice.page()
        before = datetime.now(UTC)
        answer = alice.press("sessions/keep", server=session)
        assert (answer.status_code, answer.headers["location"]) == (303, "/services/binder/")
        assert before <= used(session) <= datetime.now(UTC)

    def test_a_program_keeps_a_session_alive_with_its_own_token(self, session, alice, used, running):
        running("alice", "")
        for server in (session, ""):
            before = datetime.now(UTC)
            assert alice.note_activity(server).status_code == 204
            assert before <= used(server)
        assert error_of(alice.note_activity("nothing"), 404)["code"] == "session_not_found"

    def test_a_token_that_may_not_is_told_what_helps(self, session, alice, used, hub):
        client = requests.Session()
        scopes = ["access:services!service=binder", "read:users!user", "servers!user"]
        client.headers["Authorization"] = f"token {hub.token_for('alice', scopes=scopes)}"
        before = used(session)
        error = error_of(alice.note_activity(session, client), 403)
        assert error["code"] == "not_allowed"
        assert "in again" in error["hint"]
        assert used(session) == before

    def test_other_sites_and_scripts_keep_nothing_alive(self, session, alice, used):
        alice.hub_has(Culler(3600))
        before = used(session)
        other_site = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}
        for headers, token in ((other_site, {}), ({"Sec-Fetch-Mode": "cors"}, {}), ({}, {"_xsrf": None})):
            assert alice.press("sessions/keep", headers, server=session, **token).status_code == 403
        assert alice.note_activity(session, alice.browser).status_code == 403
        assert used(session) == before


class TestSize:
    @pytest.fixture
    def sized(self, web, running):
        found, kind = resolved(web, "notes"), HomeKind.PERSONAL
        server = ServerName("sized")
        web.store.save_session(ALICE, server, found, environment_key=examples.key(), home=kind, size="large")
        running("alice", server)
        return server

    def test_a_session_says_its_size_and_no_figure_that_nobody_enforces(self, alice, sized):
        for enforceable, words, figures in (
            (Enforceable(), "· size Large, 8 GiB of memory, 2.5 CPUs Open", (8 * 2**30, 2.5)),
            (Enforceable(memory=False, cpus=False), "· size Large Open", (None, None)),
        ):
            alice.hub_has(sizes=MachineSizes((LARGE,), enforceable))
            assert words in alice.said()
            expected = {"name": "large", "title": "Large", "memory_bytes": figures[0], "cpus": figures[1]}
            assert alice.session(sized)["size"] == expected

    def test_the_regular_session_says_what_its_spawner_wrote_down(self, web, alice, sized, running):
        running("alice", "")
        web.regular_size = "large"
        alice.hub_has(sizes=MachineSizes((replace(LARGE, title="Larger"),)))
        assert re.search("Regular session running [^·]+ · used [^·]+ · size Larger, 8 GiB", alice.said())
        assert alice.session("")["size"]["title"] == "Larger"
        web.regular_size = ""
        alice.hub_has(sizes=MachineSizes((LARGE,)))
        assert (alice.session("")["size"], alice.session(sized)["size"]["name"]) == (None, "large")

    def test_a_size_that_is_no_more_is_not_shown(self, alice, sized):
        assert alice.session(sized)["size"] is None
        assert "size" not in alice.said()

    def test_launching_again_keeps_the_size_as_long_as_the_person_may_have_it(self, alice, sized):
        for groups, query, size in (((), "?size=large", "large"), (("staff",), "", None)):
            alice.hub_has(sizes=MachineSizes((replace(LARGE, groups=groups),)))
            assert f'href="/services/binder/v2/gh/org/notes/main{query}"' in alice.page()
            found = alice.api.get(f"{alice.base}/api/v1/repositories", timeout=20).json()["repositories"]
            assert [one["size"] for one in found if one["server_name"] == sized] == [size]


class TestClusters:
    def test_my_own_that_live_are_there_and_can_be_stopped(self, store, gateway, base, browser):
        mine = cluster(ONE, user="alice", title="org/notes", workers=2, workers_wanted=3, cores=4, memory=2**32)
        bobs = cluster(TWO, user="bob", title="of-bob")
        over = cluster(THREE, user="alice", title="is-over", status="stopped")
        listed(gateway, mine, bobs, over)
        gateway.answer("DELETE", f"{LIST}/{ONE}", 204, "")
        page = browser.get(f"{base}/", timeout=20).text
        said = main_of(page)
        assert "Dask clusters org/notes running Workers 2 of 3 · Cores 4 · Memory 4 GiB" in said
        assert "of-bob" not in said
        assert "is-over" not in said
        assert f'href="/at/services/dask-gateway/clusters/{ONE}/status"' in page
        assert 'href="/services/binder/clusters"' in re.search(r"<main.*</main>", page, re.DOTALL)[0]
        answer = press(browser, base, page, f"clusters/{ONE}/stop", back="mine")
        assert (answer.status_code, answer.headers["location"]) == (303, "/services/binder/")
        assert gateway.requests("DELETE") == [("DELETE", f"{LIST}/{ONE}", None)]

    def test_without_clusters_there_is_no_such_part(self, store, gateway, base, browser):
        listed(gateway)
        assert 'id="clusters"' not in browser.get(f"{base}/", timeout=20).text

    def test_a_gateway_that_hangs_costs_a_moment_and_no_page(self, store, behind, base, browser):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            behind(f"http://127.0.0.1:{silent.getsockname()[1]}")
            answer = browser.get(f"{base}/", timeout=20)
        assert answer.status_code == 200
        assert "Dask does not answer at the moment." in main_of(answer.text)
        assert "Nothing launched yet" in main_of(answer.text)
