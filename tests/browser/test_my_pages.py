"""My launches, builds, links and environments in a real browser: looks, accessibility, keyboard, without a script.

The Hub, the web and the store are real; launches are scripted.
"""

from __future__ import annotations

import contextlib

import pytest
from playwright.sync_api import expect

from launcher.errors import RefNotFound
from launcher.models import EnvironmentSize, HomeKind, ServerName
from launcher.sessions.base import LaunchEvent
from tests.http.conftest import base, hub, planned_hub, running_web, web, web_socket
from tests.http.test_builds import ALICE, BOB, ask, failed, wipe
from tests.http.test_environments import ready
from tests.http.test_mine import launched, project_home, resolved, servers_of
from tests.support import examples
from tests.support.browser import accessibility_problems, profile, shot
from tests.support.running import eventually

__all__ = ["base", "hub", "planned_hub", "running_web", "web", "web_socket"]

EVIL = "<img src=x onerror=alert(1)>"
LONG = "a-repository-with-a-rather-long-name-as-people-do-give-them"


@pytest.fixture
def store(web):
    wipe(web.store)
    return web.store


@pytest.fixture(scope="module")
def filled_home(hub, running_web):
    """Gives alice something of everything; her session runs until the module is over."""
    server = launched(running_web, "notes")
    hub.api("POST", "/users/alice")
    hub.api("POST", f"/users/alice/servers/{server}")
    eventually(lambda: server in servers_of(hub, "alice"), what="the session")

    def _fill(store, web):
        launched(web, LONG)
        launched(web, "notes")
        store.trust_repository(ALICE, resolved(web, "notes").repository.id)
        home = project_home(web, LONG) if not (web.projects / "alice").exists() else None
        if home is not None:
            (home / "results.csv").write_bytes(b"x" * 3_000_000)
        failed(store, 1)
        ask(store, 2, spec=f"gh/an-organisation-with-a-long-name/{LONG}{EVIL}/main")
        key = ready(store, 3)
        store.save_session(ALICE, ServerName("r"), examples.resolved(), environment_key=key, home=HomeKind.PERSONAL)
        ready(store, 4, by=BOB)
        store.pin_environment(ready(store, 5), pinned=True)
        store.save_sizes({"env-3": EnvironmentSize(1_500_000, 220_000_000)})
        lines = [f"\x1b[32mCollecting\x1b[0m package-{number} {EVIL}\n" for number in range(300)]
        web.launches.script = tuple(
            LaunchEvent("building", line, {}, id=f"b-1:{n + 1}") for n, line in enumerate(lines)
        )

    yield _fill
    hub.api("DELETE", f"/users/alice/servers/{server}")


@pytest.fixture
def person(chromium, base, hub):
    """Opens pages of somebody logged in at the Hub."""
    with contextlib.ExitStack() as stack:

        def _open(name="alice", path="", **options):
            page = stack.enter_context(profile(chromium, **options)).new_page()
            page.goto(f"{base}/{path}")
            page.fill("#username_input", name)
            page.fill("#password_input", "any")
            page.click("#login_submit")
            page.wait_for_url(f"{base}/{path}")
            return page

        yield _open


def wide(page) -> int:
    """By how much the page is wider than the screen."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize("look", [("light", 1100), ("dark", 360)])
def test_every_page_is_accessible_and_fits(web, base, person, filled_home, look):
    (scheme, width), store = look, web.store
    wipe(store)
    alice, olga = (person(name, color_scheme=scheme) for name in ("alice", "olga"))
    for page in (alice, olga):
        page.set_viewport_size({"width": width, "height": 800})
    wrong = {}

    def check(page, name):
        shot(page, f"{name}-{scheme}-{width}")
        if problems := accessibility_problems(page):
            wrong[name] = problems
        if wide(page) > 0:
            wrong[f"{name} is too wide"] = [wide(page)]

    olga.goto(f"{base}/")
    check(olga, "home-empty")
    filled_home(store, web)
    addresses = ["", "builds", "builds?text=nothing", "builds/b-1", "environments", "links"]
    for address in addresses:
        alice.goto(f"{base}/{address}")
        alice.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        if address == "builds/b-1":
            expect(alice.get_by_role("log")).to_contain_text("Collecting")
        check(alice, f"{address.replace('/', '-').replace('?', '-') or 'home'}")
    alice.goto(f"{base}/project-homes/{launched(web, LONG)}/delete")
    check(alice, "delete-home")
    olga.goto(f"{base}/environments")
    check(olga, "environments-operator")
    olga.get_by_role("link", name="Remove gh/org/repo-3/main").click()
    check(olga, "delete-environment")
    alice.goto(f"{base}/links")
    alice.get_by_label("Repository any address").fill("https://github.com/org/course/blob/main/start.ipynb")
    expect(alice.get_by_text("A launch of this works.")).to_be_visible()
    check(alice, "links-results")
    alice.get_by_label("Repository any address").fill("https://github.com/org")
    expect(alice.get_by_role("alert")).to_contain_text("of no repository")
    check(alice, "links-problem")
    assert wrong == {}


def test_links_answer_while_one_types_and_keep_nothing(store, web, base, person):
    page = person("alice", "links")
    page.get_by_label("Repository any address").fill("git@github.com:org/course.git")
    markdown = page.get_by_label("Markdown for a README")
    expect(markdown).to_have_value(f"[![Launch]({base}/badge_logo.svg)]({base}/v2/gh/org/course/HEAD)")
    page.get_by_label("File or directory").fill("n/a.ipynb")
    expect(markdown).to_have_value(
        f"[![Launch]({base}/badge_logo.svg)]({base}/v2/gh/org/course/HEAD?labpath=n/a.ipynb)"
    )
    assert page.get_by_alt_text("Launch").evaluate("image => image.naturalWidth") > 0, "the badge is there to be seen"
    page.get_by_label("File or directory").fill("../../hub/admin")
    expect(page.get_by_role("alert")).to_contain_text("does not stay inside the session")
    expect(markdown).to_be_hidden()
    web.launches.preview_error = RefNotFound(f"There is no branch {EVIL}.", hint="Check it.")
    page.get_by_label("File or directory").fill("")
    expect(page.get_by_role("alert")).to_contain_text(f"There is no branch {EVIL}.")
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert page.url == f"{base}/links"
    page.reload()
    expect(page.get_by_label("Repository any address")).to_have_value("")


def test_links_without_a_script(store, base, person):
    page = person("alice", "links", java_script_enabled=False)
    page.get_by_label("Repository any address").fill("https://git.test/u/r/src/branch/dev/notes")
    page.get_by_role("button", name="Make links").click()
    expect(page.get_by_label("Link for a mail")).to_have_value(
        f"{base}/v2/git/https%3A%2F%2Fgit.test%2Fu%2Fr/dev?urlpath=lab/tree/notes"
    )
    expect(page.get_by_text("A launch of this works.")).to_be_visible()
    expect(page.get_by_label("Repository any address")).to_have_value("https://git.test/u/r/src/branch/dev/notes")


def test_the_keyboard_reaches_and_presses_everything(store, web, base, person, filled_home):
    filled_home(store, web)
    page = person("alice")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("(e => e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)")
        reached.add(name)
    for name in ("Open org/notes/main", "Stop org/notes/main", "Launch again: org/notes/main", "Show what it would do"):
        assert name in reached
    page.get_by_text("More about org/notes/main").press("Enter")
    page.get_by_role("button", name="Trust it no longer").press("Enter")
    expect(page.get_by_text("trusted by you")).to_have_count(0)
    assert not store.is_mine(ALICE, resolved(web, "notes").repository.id)
    page.get_by_role("link", name="Builds", exact=True).press("Enter")
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Show").press("Enter")
    page.get_by_role("link", name="repo-1").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Line 3 is no requirement.")
    expect(page.get_by_role("log")).to_contain_text("Collecting package-")
    page.get_by_role("searchbox").fill(f"package-7 {EVIL}")
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_role("log")).to_contain_text(f"package-7 {EVIL}")
    assert page.title() == "Build of gh/org/repo-1/main"
