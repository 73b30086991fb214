"""The pages: what a GET may do, what a click does, with a script and without."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from launcher.errors import LauncherError, RefNotFound, RepositoryNotAllowed
from launcher.models import EnvironmentStatus, Trust
from launcher.sessions.base import LaunchEvent
from tests.http.test_build_stream import page_config
from tests.support.scripted_launches import BUILD, COMMIT, QUICK

FORM_HEADERS = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


def xsrf(text: str) -> str:
    return re.search(r'name="_xsrf" value="([^"]+)"', text)[1]


def click(browser: requests.Session, url: str, **data: str) -> requests.Response:
    """The form of the page at this address, sent as a browser does."""
    page = browser.get(url, timeout=20)
    action = re.search(r'<form method="post" action="([^"]+)"', page.text)[1]
    origin = re.match(r"http://[^/]+", url)[0]
    return browser.post(
        origin + action.replace("&amp;", "&"),
        data={"_xsrf": xsrf(page.text), **data},
        headers={**FORM_HEADERS, "Origin": origin},
        allow_redirects=False,
        timeout=20,
    )


def test_login_is_the_hubs_and_leads_back_to_the_link(web, base, hub):
    with hub.login_session("carol") as session:
        answer = session.get(f"{base}/v2/gh/u/r/feature%2Fx?urlpath=lab", timeout=20)
        assert answer.url == f"{base}/v2/gh/u/r/feature%2Fx?urlpath=lab"
        assert answer.status_code == 200
        assert "carol" in answer.text
    assert web.launches.requests == []


def test_nobody_is_sent_to_the_hubs_login(web, base):
    answer = requests.get(f"{base}/v2/gh/u/r/HEAD", allow_redirects=False, timeout=20)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/hub/api/oauth2/authorize?")
    assert web.launches.previews == []


class TestUnknownRepository:
    @pytest.fixture(autouse=True)
    def _unknown(self, web):
        web.launches.trust = Trust.UNKNOWN
        web.launches.environment = None

    def test_a_get_says_everything_and_starts_nothing(self, web, base, browser):
        text = browser.get(f"{base}/v2/gh/u/r/HEAD?labpath=a.ipynb", timeout=20).text
        assert web.launches.requests == []
        assert "data-launch" not in text
        assert "EventSource" not in text
        for words in (
            COMMIT[:12],
            "nobody yet",
            "requirements.txt",
            "will be built",
            "project home",
            "doc/tree/a.ipynb",
        ):
            assert words in text
        assert re.findall(r"<button[^>]*>([^<]*)", text) == ["Launch"]
        assert re.findall(r'type="radio"[^>]*value="([^"]*)"( checked)?', text) == [("", " checked"), ("yes", "")]

    @pytest.mark.parametrize(("trust", "remembered"), [("", False), ("yes", True)])
    def test_a_click_launches_confirmed_and_leads_to_the_progress_page(self, web, base, browser, trust, remembered):
        web.launches.script, web.launches.pause_after = BUILD, 3
        answer = click(browser, f"{base}/v2/gh/u/r/HEAD?labpath=a.ipynb", trust=trust)
        assert answer.status_code == 303
        (request,) = web.launches.requests
        assert (request.confirmed, request.trust, request.wants_token) == (True, remembered, False)
        assert request.open_path == "doc/tree/a.ipynb"
        origin = re.match(r"http://[^/]+", base)[0]
        page = browser.get(origin + answer.headers["location"], timeout=20)
        assert page.headers["referrer-policy"] == "no-referrer", "its address holds a token"
        config = page_config(page.text)
        assert config["buildToken"]
        assert config["eventsUrl"] == "/services/binder/build/gh/u/r/HEAD?urlpath=doc%2Ftree%2Fa.ipynb"
        assert len(web.launches.requests) == 1, "showing the page starts nothing"

    def test_the_progress_address_is_of_no_use_to_another_person(self, web, base, browser, hub):
        web.launches.script, web.launches.pause_after = BUILD, 1
        location = click(browser, f"{base}/v2/gh/u/r/HEAD").headers["location"]
        with hub.login_session("bob") as bob:
            text = bob.get(re.match(r"http://[^/]+", base)[0] + location, timeout=20).text
        assert "nobody yet" in text
        assert "data-launch" not in text
        assert len(web.launches.requests) == 1

    def test_without_a_script_the_page_reloads_itself_into_the_session(self, web, base, browser):
        web.launches.script, web.launches.pause_after = BUILD, 3
        origin = re.match(r"http://[^/]+", base)[0]
        page = browser.get(
            origin + click(browser, f"{base}/v2/gh/u/r/HEAD?urlpath=lab").headers["location"], timeout=20
        )
        refresh = re.search(r'<noscript><meta http-equiv="refresh" content="1; url=([^"]+)"', page.text)[1]
        going_on = browser.get(origin + refresh.replace("&amp;", "&"), timeout=20, allow_redirects=False)
        assert going_on.status_code == 200
        assert "Collecting numpy" in going_on.text
        web.loop.call_soon_threadsafe(web.launches.go_on.set)
        done = browser.get(origin + refresh.replace("&amp;", "&"), timeout=20, allow_redirects=False)
        assert done.status_code == 303
        assert done.headers["location"] == "/user/someone/gh-u-r-abc123/lab"

    @pytest.mark.parametrize(
        "url", ["https://evil.test/user/a/", "//evil.test/user/", "javascript:alert(1)", "/elsewhere\\..", ""]
    )
    def test_a_page_never_leads_off_this_host(self, web, base, browser, url):
        web.launches.script = (LaunchEvent("ready", "ready\n", {"url": url}),)
        origin = re.match(r"http://[^/]+", base)[0]
        location = click(browser, f"{base}/v2/gh/u/r/HEAD").headers["location"]
        done = browser.get(f"{origin}{location}&wait=1", timeout=20, allow_redirects=False)
        assert done.status_code == 303
        assert re.match(r"/[^/\\]", done.headers["location"])

    def test_a_refused_click_shows_code_and_hint(self, web, base, browser):
        data = {"code": "recipe_unsupported", "hint": "Use a container runtime.", "status_code": 422}
        web.launches.script = (LaunchEvent("failed", "apt.txt cannot be used here.\n", data),)
        answer = click(browser, f"{base}/v2/gh/u/r/HEAD")
        assert answer.status_code == 422
        for words in ("recipe_unsupported", "Use a container runtime.", "apt.txt cannot be used here.", "Try again"):
            assert words in answer.text

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://user.hub.test"},
            {"Origin": "https://evil.test"},
            {"Origin": "null"},
            {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"},
        ],
    )
    def test_other_sites_cannot_click(self, web, base, browser, headers):
        page = browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20)
        answer = browser.post(
            f"{base}/v2/gh/u/r/HEAD",
            data={"_xsrf": xsrf(page.text)},
            headers={**FORM_HEADERS, **headers},
            timeout=20,
            allow_redirects=False,
        )
        assert answer.status_code == 403
        assert "cross_site_refused" in answer.text
        assert web.launches.requests == []

    @pytest.mark.parametrize("form", [{}, {"_xsrf": ""}, {"_xsrf": "2|abc|def|123"}, {"_xsrf": "\ud7ff"}])
    @pytest.mark.parametrize("mode", ["navigate", "no-cors", "cors", None])
    def test_without_the_pages_xsrf_token_a_click_is_refused(self, web, base, browser, form, mode):
        browser.headers.update({"Sec-Fetch-Mode": mode, "Sec-Fetch-Site": "same-origin"})
        answer = browser.post(f"{base}/v2/gh/u/r/HEAD", data=form, timeout=20, allow_redirects=False)
        assert answer.status_code == 403
        assert web.launches.requests == []

    def test_the_xsrf_token_of_another_person_is_refused(self, web, base, browser, hub):
        with hub.login_session("bob") as bob:
            token = xsrf(bob.get(f"{base}/v2/gh/u/r/HEAD", timeout=20).text)
        browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20)
        answer = browser.post(f"{base}/v2/gh/u/r/HEAD", data={"_xsrf": token}, headers=FORM_HEADERS, timeout=20)
        assert answer.status_code == 403
        assert web.launches.requests == []

    def test_a_click_of_nobody_is_refused(self, web, base):
        assert requests.post(f"{base}/v2/gh/u/r/HEAD", data={}, timeout=20).status_code == 403
        assert web.launches.requests == []


@pytest.mark.parametrize("trust", [Trust.TRUSTED, Trust.MINE])
def test_known_repositories_go_straight_on_with_the_pages_token(web, base, browser, trust):
    web.launches.trust = trust
    text = browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20).text
    assert page_config(text)["buildToken"]
    assert '<meta property="og:title" content="GitHub: u/r/HEAD">' in text
    assert "<noscript>" in text
    assert web.launches.requests == [], "the page's script opens the stream, not the GET"


def test_a_recipe_that_cannot_work_is_said_before_anything_starts(web, base, browser):
    web.launches.problem = "apt.txt needs a container runtime."
    answer = browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20)
    assert answer.status_code == 422
    assert "apt.txt needs a container runtime." in answer.text
    assert "<button" not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefNotFound("There is no branch mian.", hint="Branches: main."), 404),
        (RepositoryNotAllowed("This repository may not launch here."), 403),
        (LauncherError("Something went wrong."), 500),
    ],
)
def test_errors_are_pages_with_their_real_status(web, base, browser, error, status):
    web.launches.preview_error = error
    answer = browser.get(f"{base}/v2/gh/u/r/mian", timeout=20)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert error.message in answer.text
    assert error.code in answer.text


@pytest.mark.parametrize(
    "path", ["v2/nope/u/r/HEAD", "v2/gh/u/r", "v2/gh/u/r/HEAD?urlpath=//a/../..", "v2/gh", "nonsense"]
)
def test_wrong_links_are_real_client_errors(web, base, browser, path):
    answer = browser.get(f"{base}/{path}", timeout=20)
    assert answer.status_code in {400, 404}
    assert "Traceback" not in answer.text
    assert web.launches.requests == []


EVIL = "<script>alert(1)</script>"


def test_nothing_foreign_becomes_markup(web, base, browser):
    web.launches.trust = Trust.UNKNOWN
    web.launches.problem = EVIL
    page = browser.get(f"{base}/v2/gh/u/r/x%3C/script%3E?urlpath=%3C/script%3E%22%27", timeout=20).text
    web.launches.problem, web.launches.trust = None, Trust.TRUSTED
    page += browser.get(f'{base}/v2/gh/u/r/x</script><script>alert(1)?urlpath=</script>"', timeout=20).text
    assert EVIL not in page
    assert "</script><script>alert" not in page
    assert page.count("</script>") == page.count("<script")


def test_pages_are_locked_down(web, base, browser):
    first = browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20)
    policy = first.headers["content-security-policy"]
    for directive in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert directive in policy
    assert "unsafe" not in policy
    assert "nonce" not in policy
    scripts = re.findall(r"<script([^>]*)>", first.text)
    assert scripts
    assert all('type="application/json"' in script or " src=" in script for script in scripts), "nothing inline runs"
    assert not re.search(r"\sstyle=|\son[a-z]+=", first.text)
    assert first.headers["x-content-type-options"] == "nosniff"
    assert first.headers["cache-control"] == "no-store"
    assert first.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("form", "target"),
    [
        ({"provider": "gh", "repository": "u/r"}, "v2/gh/u/r/HEAD"),
        ({"provider": "git", "repository": "https://github.com/u/r", "ref": "a b"}, "v2/gh/u/r/a%20b"),
        ({"provider": "git", "repository": "https://h.test/u/r"}, "v2/git/https%3A%2F%2Fh.test%2Fu%2Fr/HEAD"),
        ({"provider": "zenodo", "repository": "10.5281/zenodo.1"}, "v2/zenodo/10.5281/zenodo.1"),
        ({"provider": "gl", "repository": "group/sub/project"}, "v2/gl/group%2Fsub%2Fproject/HEAD"),
        ({"repository": "https://github.com/u/r/pull/3/files"}, "v2/gh/u/r/refs/pull/3/head"),
        ({"repository": "https://github.com/u/r/tree/v1"}, "v2/gh/u/r/v1"),
        ({"repository": "https://github.com/u/r/blob/feature/x/n/a.ipynb"}, "v2/gh/u/r/feature/x?labpath=n%2Fa.ipynb"),
        ({"repository": "https://github.com/u/r/tree/feature/x/n"}, "v2/gh/u/r/feature/x?urlpath=lab%2Ftree%2Fn"),
        ({"provider": "gh", "repository": "u/r", "path": "a b.ipynb"}, "v2/gh/u/r/HEAD?labpath=a%20b.ipynb"),
        ({"provider": "//evil.test", "repository": "u/r"}, "v2/gh/u/r/HEAD"),
    ],
)
def test_the_form_leads_to_the_launch_page(web, base, browser, form, target):
    web.sources.branch = "feature/x"
    answer = browser.get(f"{base}/go", params=form, timeout=20, allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"] == f"/services/binder/{target}"


def test_the_form_says_what_names_no_repository_and_asks_nobody_for_strangers(web, base, browser):
    answer = browser.get(f"{base}/go", params={"repository": "https://github.com/u"}, timeout=20)
    assert answer.status_code == 400
    assert "of no repository" in answer.text
    stranger = requests.get(f"{base}/go", params={"repository": "u/r"}, timeout=20, allow_redirects=False)
    assert "/hub/api/oauth2/authorize" in stranger.headers["location"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("repo/u/r", "v2/gh/u/r/master"),
        ("repo/u/r/", "v2/gh/u/r/master"),
        ("repo/u/r/a/b%20c.ipynb", "v2/gh/u/r/master?urlpath=%2Fa%2Fb%20c.ipynb"),
    ],
)
def test_legacy_links_keep_the_prefix(web, base, path, target):
    answer = requests.get(f"{base}/{path}", timeout=20, allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"] == f"/services/binder/{target}"


def test_environments_are_described_as_they_are(web, base, browser):
    web.launches.trust = Trust.UNKNOWN
    seen: dict[Any, str] = {}
    for status in (None, *EnvironmentStatus):
        web.launches.environment = status
        page = browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20).text
        seen[status] = re.search(r"Environment</dt><dd>([^<]*)", page)[1].split("—")[1].strip()
    assert len(set(seen.values())) == 4
    assert "at once" in seen[EnvironmentStatus.READY]
    assert QUICK
