"""Every page in a language nobody speaks: what still shows in Latin letters is data, or says that it is English."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import requests

import launcher
from launcher.errors import RefNotFound
from launcher.models import EnvironmentSize, EnvironmentStatus, HomeKind, Person, ServerName, Trust
from launcher.policy.dask import DaskPolicy
from launcher.policy.sizes import MachineSizes, read_sizes
from launcher.sessions.base import LaunchEvent
from launcher.sessions.session_offer import RegularSessions
from launcher.web import pages
from tests.http.test_builds import ALICE, ask, failed, store
from tests.http.test_clusters import LIMITS, ONE, THREE, TWO, _gateway, ago, behind, gateway, listed, with_logs
from tests.http.test_environments import ready
from tests.http.test_mine import _as_it_was, launched, project_home, resolved, running
from tests.http.test_my_launches import press
from tests.http.test_new_session import ready as new_environment
from tests.http.test_new_session import sessions, use, used
from tests.http.test_pages import click
from tests.support import examples, languages
from tests.support.new_sessions import LISTED, SIZES
from tests.support.scripted_gateway import cluster
from tests.support.scripted_launches import BUILD

__all__ = ["_as_it_was", "_gateway", "behind", "gateway", "running", "sessions", "store"]

TEMPLATES = Path(launcher.__file__).parent / "web" / "templates"
DATA = (
    "gh/",
    "u/",
    "r/",
    "org/",
    "repo",
    "notes",
    "unknown",
    "main",
    "HEAD",
    "requirements.txt",
    "https://example.org/r",
)
DATA += (
    "refs/",
    "pull/",
    "head",
    "official-notes",
    "alice",
    "olga",
    "me",
    "GitHub",
    "Git",
    "Zenodo DOI",
    "Binder",
    "a:b",
)
DATA += tuple(text for one in LISTED for text in (one.title, one.description) if text)
DATA += tuple(text for size in SIZES for text in (size["title"], size.get("description")) if text)
DATA += ("scheduler", "nursery", "a1b2c3d4e5f6", "a1b2c3d4")
WALKS = {
    "lists": {"about", "build", "builds", "delete_environment", "delete_home", "documents", "environments", "error"}
    | {"errors", "home"},
    "launch": {"error", "failed", "launch", "progress"},
    "links": {"links"},
    "new": {"new_session", "new_session_progress"},
    "clusters": {"cluster_log", "clusters", "error", "home"},
}
"""The templates that each walk below shows."""


@pytest.fixture
def speak(browser):
    """Lets the browser ask for the made-up language, which the web of these tests speaks beside English."""
    browser.headers["Accept-Language"] = f"{languages.TAG}-IL,{languages.TAG};q=0.9,en;q=0.5"
    browser.headers["Accept"] = "text/html"


class Walk:
    """Opens pages and keeps what is not translated, and the templates that were shown."""

    def __init__(self, base, browser) -> None:
        self.base, self.browser = base, browser
        self.wrong = {}
        self.shown = set()

    def open(self, path: str, browser=None, name: str = "") -> str:
        answer = (browser or self.browser).get(f"{self.base}/{path}", timeout=30)
        return self.look(answer, name or path)

    def look(self, answer, name: str) -> str:
        assert answer.headers["content-type"].startswith("text/html"), answer.text
        assert answer.headers["vary"] == "Accept-Language"
        if found := languages.untranslated(answer.text, DATA):
            self.wrong[name] = found
        return answer.text


@pytest.fixture
def walk(speak, base, browser, monkeypatch):
    walk = Walk(base, browser)
    render = pages.render

    def _render(words, template, **variables):
        walk.shown.add(template.removesuffix(".html"))
        return render(words, template, **variables)

    monkeypatch.setattr(pages, "render", _render)
    return walk


@pytest.fixture
def olga(hub, base, speak):
    with hub.login_session("olga") as session:
        session.headers.update({"Sec-Fetch-Mode": "navigate", "Accept-Language": languages.TAG})
        session.get(f"{base}/", timeout=30)
        yield session


def fill(web, store) -> None:
    """Something of everything."""
    launched(web, "notes")
    launched(web, "unknown")
    store.trust_repository(ALICE, resolved(web, "notes").repository.id)
    (project_home(web, "unknown") / "data").write_bytes(b"x" * 3_000_000)
    failed(store, 1)
    ask(store, 2)
    ask(store, 6)
    key = ready(store, 3)
    store.save_session(ALICE, ServerName("r"), examples.resolved(), environment_key=key, home=HomeKind.PERSONAL)
    store.pin_environment(ready(store, 5), pinned=True)
    store.save_sizes({"env-3": EnvironmentSize(1_500_000, 220_000_000)})


def test_every_page_of_lists(web, store, walk, running, olga):
    walk.open("")
    walk.open("builds", name="no builds")
    walk.open("environments", name="no environments")
    fill(web, store)
    running("alice", launched(web, "notes"))
    running("alice", "")
    for path in ("", "builds", "builds?text=nothing", "builds?status=open", "builds/b-1", "builds/b-2", "environments"):
        walk.open(path)
    walk.open("environments?search=nothing")
    walk.open(f"project-homes/{launched(web, 'unknown')}/delete")
    page = walk.open("environments", olga, name="environments of everybody")
    walk.open(re.search(r"environments/[0-9a-f]{64}/delete", page)[0], olga)
    walk.open("builds", olga, name="builds of everybody")
    for path in ("about", "errors", "nonsense", "builds/none", "documents/gh/u/r/HEAD"):
        walk.open(path)
    assert (walk.wrong, walk.shown) == ({}, WALKS["lists"])


def test_every_page_of_a_launch(web, walk, base, browser):
    web.launches.trust = Trust.UNKNOWN
    web.launches.dask_choice = True
    refusal = DaskPolicy(scope="a:b").refusal(Person(ALICE), HomeKind.PERSONAL)
    origin = re.match(r"http://[^/]+", base)[0]
    web.launches.sizes = MachineSizes(read_sizes(SIZES))
    for number, status in enumerate((None, *EnvironmentStatus)):
        web.launches.environment = status
        web.launches.dask_reason = ("", refusal, "Odd.", None)[number]
        walk.open("v2/gh/u/r/HEAD", name=f"launch of {status}")
    web.launches.problem = "apt.txt cannot be used here."
    walk.open("v2/gh/u/r/HEAD", name="a launch that cannot be")
    web.launches.problem = None
    web.launches.preview_error = RefNotFound("There is no branch mian.", hint="Branches: main.")
    walk.open("v2/gh/u/r/mian", name="no such branch")
    web.launches.preview_error = None
    data = {"code": "recipe_unsupported", "hint": "Use a container runtime.", "status_code": 422}
    web.launches.script = (LaunchEvent("failed", "apt.txt cannot be used here.\n", data),)
    walk.look(click(browser, f"{base}/v2/gh/u/r/HEAD"), "a launch that failed")
    web.launches.trust = Trust.TRUSTED
    walk.open("v2/gh/u/r/HEAD", name="a launch that begins")
    walk.open("v2/gh/u/r/refs/pull/3/head", name="a launch of a pull request")
    web.launches.trust, web.launches.script = Trust.UNKNOWN, BUILD
    for events in (1, 3, 6):
        web.launches.pause_after = events
        location = click(browser, f"{base}/v2/gh/u/r/HEAD").headers["location"]
        begun = browser.get(f"{origin}{location}&wait=1", timeout=30)
        walk.look(begun, f"after {events} events")
    assert (walk.wrong, walk.shown) == ({}, WALKS["launch"])


def test_the_page_of_links(web, walk, base, browser):
    page = walk.open("links")
    walk.look(press(browser, base, page, "links", repository="o/r", environment="o/e"), "links of a repository")
    walk.look(press(browser, base, page, "links", repository="../..", environment=""), "no links")
    web.sources.branch = "unreachable"
    for address in ("https://github.com/o/r/pull/3", "https://github.com/o/r/blob/a/b/c.ipynb"):
        walk.look(press(browser, base, page, "links", repository=address), f"links of {address}")
    web.sources.branch = None
    assert (walk.wrong, walk.shown) == ({}, WALKS["links"])


def test_the_pages_of_a_new_session(web, walk, base, browser, sessions):
    used(sessions, "official-notes", new_environment(sessions, 1))
    use(web, sessions, regular=replace(sessions.regular, allows_image=lambda _: False))
    page = walk.open("new")
    for fields in ({"environment": "image", "image": "x"}, {"environment": "repository", "environment_spec": "o/r"}):
        walk.look(press(browser, base, page, "new", **fields), f"a bad {fields['environment']}")
    walk.look(press(browser, base, page, "new", files_spec="https://github.com/o"), "bad files")
    sessions.builder.hold()
    location = press(browser, base, page, "new", environment="listed:geo").headers["location"]
    origin = base.removesuffix("/services/binder")
    walk.look(browser.get(origin + location, timeout=30), "a start")
    sessions.builder.release()
    assert browser.get(f"{origin}{location}&wait=1", allow_redirects=False, timeout=30).status_code == 303
    walk.open("new", name="a session that runs")
    use(web, sessions, regular=RegularSessions(own=False))
    walk.open("new", name="sessions of the hub's own spawner")
    assert (walk.wrong, walk.shown) == ({}, WALKS["new"])


def test_the_pages_of_clusters(gateway, behind, walk, web):
    listed(gateway)
    walk.open("clusters", name="no clusters")
    live = cluster(ONE, user="alice", title="org/notes", started=ago(minutes=5), idle_seconds=130, keep_hours=2)
    busy = cluster(TWO, user="olga", title="", minimum=0, maximum=8, idle_seconds=0, reason="It starts.")
    over = cluster(THREE, status="failed", reason="Its memory was used up.", started=ago(hours=3), stopped=ago(hours=1))
    listed(gateway, live, {**busy, "status": "starting"}, over, limits=LIMITS, used={"clusters": 2})
    walk.open("clusters")
    walk.open("", name="my launches with clusters")
    with_logs(gateway, ONE, scheduler="one\n", nursery="", a1b2c3d4e5f6="two\n")
    for process in ("", "/scheduler", "/nursery", "/nope"):
        walk.open(f"clusters/{ONE}/logs{process}")
    with_logs(gateway, TWO)
    walk.open(f"clusters/{TWO}/logs")
    behind(gateway.address, DaskPolicy(scope="access:services!service=other"))
    walk.open("clusters", name="no Dask")
    assert (walk.wrong, walk.shown) == ({}, WALKS["clusters"])


def test_no_page_is_forgotten():
    whole = {path.stem for path in TEMPLATES.glob("*.html") if re.search(r"extends|<html", path.read_text())} - {"base"}
    assert set().union(*WALKS.values()) == whole


def test_without_the_header_pages_are_english(web, base):
    answer = requests.get(f"{base}/about", timeout=20)
    assert '<html lang="en" dir="ltr">' in answer.text
    assert answer.headers["vary"] == "Accept-Language"
    assert answer.headers["cache-control"] == "no-store"
    other = requests.get(f"{base}/about", headers={"Accept-Language": languages.TAG}, timeout=20)
    assert f'<html lang="{languages.TAG}" dir="rtl">' in other.text


def test_programs_are_answered_in_english(web, base, api):
    answer = api.get(f"{base}/api/v1/builds/none", headers={"Accept-Language": languages.TAG}, timeout=20)
    assert answer.json()["error"]["message"] == "There is no such build."
