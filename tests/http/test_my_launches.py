"""The pages of my launches and of builds, as people without JavaScript use them."""

from __future__ import annotations

import re

import pytest
import requests

from launcher.models import Username
from launcher.policy.trust import TrustPolicy
from launcher.sessions.base import LaunchEvent
from tests.http.test_builds import ask, failed, operator, store, wipe
from tests.http.test_clusters import words_of
from tests.http.test_mine import _as_it_was, launched, names_in, project_home, resolved, running, servers_of
from tests.http.test_pages import FORM_HEADERS, xsrf
from tests.support.running import eventually

__all__ = ["_as_it_was", "operator", "running", "store"]

ALICE, BOB = Username("alice"), Username("bob")
EVIL = "<img src=x onerror=alert(1)>"


def main_of(page: str) -> str:
    """What a reader sees of the page's own part."""
    return words_of(re.search(r"<main.*</main>", page, re.DOTALL)[0].replace("<wbr>", ""))


def press(browser, base, page: str, action: str, headers=(), **data) -> requests.Response:
    """Send the form of a page as a browser does."""
    origin = re.match(r"http://[^/]+", base)[0]
    form = {"_xsrf": xsrf(page), **data}
    return browser.post(
        f"{base}/{action}",
        data={name: value for name, value in form.items() if value is not None},
        headers={**FORM_HEADERS, "Origin": origin, **dict(headers)},
        allow_redirects=False,
        timeout=30,
    )


PAGES = ("", "builds", "builds/b-1", "project-homes/r-abc/download", "project-homes/r-abc/delete")


@pytest.mark.parametrize("path", PAGES)
def test_nobody_is_sent_to_the_hubs_login(base, path):
    answer = requests.get(f"{base}/{path}", allow_redirects=False, timeout=20)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/hub/api/oauth2/authorize?")


@pytest.mark.parametrize("path", PAGES)
def test_scripts_read_none_of_it(store, base, browser, path):
    answer = browser.get(f"{base}/{path}", headers={"Sec-Fetch-Mode": "cors"}, timeout=20)
    assert answer.status_code == 403
    assert "cross_site_refused" in answer.text


class TestMyLaunches:
    def test_who_has_launched_nothing_is_told_how(self, store, base, browser):
        page = browser.get(f"{base}/", timeout=20)
        said = main_of(page.text)
        assert "Nothing launched yet" in said
        assert "Paste the address of a repository" in said
        assert "Running sessions" not in said
        assert 'action="/services/binder/go"' in page.text
        assert 'http-equiv="refresh"' not in page.text, "nothing changes, so nothing is loaded again"

    def test_everything_is_on_the_page(self, web, base, browser, running):
        web.policy = TrustPolicy(trusted=("gh/org/official*",))
        web.fresh()
        mine = launched(web, "notes")
        launched(web, "official")
        launched(web, f"unknown{EVIL}")
        web.store.trust_repository(ALICE, resolved(web, "notes").repository.id)
        (project_home(web, f"unknown{EVIL}") / "data").write_bytes(b"x" * 3_000_000)
        ask(web.store, 1, by=BOB)
        ask(web.store, 2)
        running("alice", mine)
        page = browser.get(f"{base}/", timeout=20).text
        said = main_of(page)
        for words in (
            "Running sessions org/notes/main running Started",
            "Builds in progress gh/org/repo-2/main",
            "1 build in front waiting",
            "org/notes/main trusted by you",
            "org/official/main trusted by the operator",
            f"org/unknown{EVIL.replace('<', '&lt;').replace('>', '&gt;')}/main not trusted",
            "project home, 3 MB",
        ):
            assert words in said, (words, said)
        assert f'href="/user/alice/{mine}/"' in page
        assert 'href="/services/binder/v2/gh/org/notes/main"' in page
        assert EVIL not in page
        assert "repo-1" not in page
        assert "Nothing launched yet" not in said
        assert '<noscript><meta http-equiv="refresh" content="10">' in page, "a build is going on"

    def test_stop_stops_my_session_and_no_other(self, web, base, browser, running):
        server = launched(web, "notes")
        running("alice", server)
        running("bob", server)
        page = browser.get(f"{base}/", timeout=20).text
        answer = press(browser, base, page, "sessions/stop", server=server)
        assert (answer.status_code, answer.headers["location"]) == (303, "/services/binder/")
        eventually(lambda: server not in servers_of(running.hub, "alice"), what="the end of the session")
        assert server in servers_of(running.hub, "bob")
        again = press(browser, base, page, "sessions/stop", server=server)
        assert again.status_code == 404
        assert "session_not_found" in again.text

    def test_trust_is_taken_back_by_a_button(self, web, store, base, browser):
        launched(web, "notes")
        identity = resolved(web, "notes").repository.id
        store.trust_repository(ALICE, identity)
        page = browser.get(f"{base}/", timeout=20).text
        assert press(browser, base, page, "trust/take-back", repository=identity).status_code == 303
        assert not store.is_mine(ALICE, identity)
        assert "Trust it no longer" not in browser.get(f"{base}/", timeout=20).text

    def test_a_project_home_is_downloaded(self, web, store, base, browser):
        server = launched(web, "notes")
        (project_home(web, "notes") / "a.txt").write_text("mine")
        answer = browser.get(f"{base}/project-homes/{server}/download", timeout=20)
        assert set(names_in(answer.content)) == {"", "a.txt"}

    def test_a_project_home_is_deleted_after_a_second_yes(self, web, store, base, browser):
        server = launched(web, "notes")
        home = project_home(web, "notes")
        (home / "a.txt").write_text("mine")
        page = browser.get(f"{base}/project-homes/{server}/delete", timeout=20).text
        assert "Delete the project home of org/notes/main?" in main_of(page)
        assert "Files 1 file" in main_of(page)
        assert home.is_dir(), "looking deletes nothing"
        answer = press(browser, base, page, f"project-homes/{server}/delete")
        assert (answer.status_code, answer.headers["location"]) == (303, "/services/binder/")
        assert not home.exists()

    @pytest.mark.parametrize(
        ("headers", "token"),
        [
            ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}, True),
            ({"Origin": "null"}, True),
            ({"Sec-Fetch-Mode": "cors"}, True),
            ({}, False),
        ],
    )
    def test_other_sites_and_scripts_press_no_button(self, web, base, browser, headers, token):
        store = web.store
        wipe(store)
        server, identity = launched(web, "notes"), resolved(web, "notes").repository.id
        home = project_home(web, "notes")
        store.trust_repository(ALICE, identity)
        ask(store, 1)
        page = browser.get(f"{base}/project-homes/{server}/delete", timeout=20).text
        data = {} if token else {"_xsrf": None}
        for action, form in (
            ("sessions/stop", {"server": server}),
            ("trust/take-back", {"repository": identity}),
            (f"project-homes/{server}/delete", {}),
            ("builds/b-1/cancel", {}),
        ):
            assert press(browser, base, page, action, headers, **form, **data).status_code == 403
        assert home.is_dir()
        assert store.is_mine(ALICE, identity)
        assert web.launches.cancelled == []


class TestBuilds:
    def test_the_history_has_filters_and_pages(self, store, base, browser):
        for number in range(1, 53):
            failed(store, number)
        ask(store, 60, spec="gl/group%2Fclimate/main")
        first = browser.get(f"{base}/builds", timeout=20).text.replace("<wbr>", "")
        assert "group/climate" in first
        assert "repo-52" in first
        assert "repo-3/" not in first
        older = re.search(r'href="(/services/binder/builds\?before=\d+)" rel="next"', first)[1]
        second = browser.get(re.match(r"http://[^/]+", base)[0] + older, timeout=20).text.replace("<wbr>", "")
        assert "repo-3/" in second
        assert "Newest builds" in second
        assert 'rel="next"' not in second
        found = browser.get(f"{base}/builds?text=climate&status=open", timeout=20).text.replace("<wbr>", "")
        assert "group/climate" in found
        assert "repo-52" not in found
        assert 'value="climate"' in found
        assert '<option value="open" selected>' in found
        assert "No build is like that" in browser.get(f"{base}/builds?text=nothing", timeout=20).text

    def test_without_builds_the_page_says_when_there_will_be(self, store, base, browser):
        assert "No builds yet" in main_of(browser.get(f"{base}/builds", timeout=20).text)

    def test_a_build_shows_its_error_and_the_end_of_its_log(self, web, store, base, browser):
        failed(store, 1)
        lines = tuple(LaunchEvent("building", f"line {n} {EVIL}\n", {}, id=f"b-1:{n + 1}") for n in range(1500))
        web.launches.script = lines
        page = browser.get(f"{base}/builds/b-1", timeout=20).text
        said = main_of(page)
        assert "Line 3 is no requirement. Mend it. Code recipe_invalid" in said
        assert "line 1499" in said
        assert "line 499 " not in said
        assert EVIL not in page
        assert 'href="/services/binder/api/v1/builds/b-1/log"' in page
        assert "Cancel the build" not in said

    def test_an_open_build_can_be_cancelled_by_who_asked_for_it(self, web, store, base, browser):
        ask(store, 1)
        page = browser.get(f"{base}/builds/b-1", timeout=20).text
        answer = press(browser, base, page, "builds/b-1/cancel")
        assert (answer.status_code, answer.headers["location"]) == (303, "/services/binder/builds/b-1")
        assert web.launches.cancelled == ["b-1"]

    def test_who_gets_the_link_sees_the_build_and_can_do_nothing(self, web, store, base, browser, hub):
        ask(store, 1, by=BOB)
        assert browser.get(f"{base}/builds/b-1", timeout=20).status_code == 404
        with hub.login_session("bob") as bob:
            bob.headers.update({"Sec-Fetch-Mode": "navigate"})
            page = bob.get(f"{base}/builds/b-1", timeout=20).text
        link = re.search(r'id="share-link" readonly value="([^"]+)"', page)[1]
        shown = browser.get(link, timeout=20)
        assert shown.status_code == 200
        assert "Cancel the build" not in main_of(shown.text)
        web.launches.script = (LaunchEvent("building", "a line\n", {}, id="b-1:7"),)
        key = link.partition("?key=")[2]
        assert f'href="/services/binder/api/v1/builds/b-1/log?key={key}"' in browser.get(link, timeout=20).text
