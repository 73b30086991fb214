"""My launches, builds, links and environments in a real browser: looks, accessibility, keyboard, without a script.

The Hub, the web and the store are real; launches are scripted.
"""

from __future__ import annotations

import contextlib
import re

import pytest
from playwright.sync_api import expect

from launcher.errors import RefNotFound
from launcher.models import EnvironmentSize, HomeKind, ServerName, Trust
from launcher.policy.culling import Culler, CullPolicy
from launcher.policy.sizes import MachineSizes, read_sizes
from launcher.sessions.base import LaunchEvent
from tests.http.conftest import base, hub, planned_hub, running_web, web, web_socket
from tests.http.test_builds import ALICE, BOB, ask, failed, wipe
from tests.http.test_environments import ready
from tests.http.test_mine import launched, project_home, resolved, servers_of
from tests.support import examples, languages
from tests.support.browser import accessibility_problems, profile, shot
from tests.support.new_sessions import SIZES
from tests.support.running import eventually
from tests.support.scripted_launches import BUILD

__all__ = ["base", "hub", "planned_hub", "running_web", "web", "web_socket"]

EVIL = "<img src=x onerror=alert(1)>"
DATA = ("an-organisation-with-a-long-name", "a-repository-with-a-rather-long-name-as-people-do-give-them", EVIL)
DATA += ("gh/", "u/", "r/", "org/", "repo", "notes", "main", "HEAD", "requirements.txt", "https://example.org/r")
DATA += ("alice", "olga", "bob", "me", "GitHub", "Git", "Zenodo DOI", "Binder")
DATA += (*(size["title"] for size in SIZES), "for big data")
LONG = "a-repository-with-a-rather-long-name-as-people-do-give-them"


@pytest.fixture
def store(web):
    wipe(web.store)
    return web.store


@pytest.fixture(scope="module")
def filled_home(hub, running_web):
    """Gives alice something of everything; her session runs until the module is over."""
    server = launched(running_web, "notes")
    running_web.culling = CullPolicy((Culler(50 * 60, 2 * 86400),))
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
    running_web.culling = CullPolicy()
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


def problems_of(page, name) -> dict:
    """What is wrong with the page as it is now: accessibility, width, words that are in no words file."""
    found = {name: accessibility_problems(page)}
    found[f"{name} is too wide by"] = [by for by in [wide(page)] if by > 0]
    if page.locator("html").get_attribute("lang") != "en":
        found[f"{name} in another language"] = languages.untranslated(page.content(), DATA)
    return {what: wrong for what, wrong in found.items() if wrong}


@pytest.mark.parametrize("look", [("light", 1100, "en"), ("dark", 360, "en"), ("light", 360, languages.TAG)])
def test_every_page_is_accessible_and_fits(web, base, person, filled_home, look):
    (scheme, width, language), store = look, web.store
    wipe(store)
    t = languages.languages().best(language).t
    alice, olga = (person(name, color_scheme=scheme, locale=language) for name in ("alice", "olga"))
    for page in (alice, olga):
        page.set_viewport_size({"width": width, "height": 800})
        # Pages where something goes on load themselves again, which would end a slow look at them.
        page.route("**/refresh-*.js", lambda route: route.abort())
    wrong = {}

    def check(page, name):
        shot(page, f"{name}-{scheme}-{width}" + ("" if language == "en" else "-rtl"))
        assert page.locator("html").get_attribute("lang") == language
        wrong.update(problems_of(page, name))

    olga.goto(f"{base}/")
    check(olga, "home-empty")
    filled_home(store, web)
    addresses = ["", "builds", "builds?text=nothing", "builds/b-1", "environments", "links", "new"]
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
    olga.get_by_role("link", name=t("environments.delete_name", name="gh/org/repo-3/main")).click()
    check(olga, "delete-environment")
    alice.goto(f"{base}/links")
    alice.locator("#repository").fill("https://github.com/org/course/blob/main/start.ipynb")
    expect(alice.get_by_text(t("links.works"))).to_be_visible()
    check(alice, "links-results")
    alice.locator("#repository").fill("https://github.com/org")
    expect(alice.get_by_role("alert")).to_contain_text("of no repository")
    check(alice, "links-problem")
    assert wrong == {}


def test_a_launch_reads_from_right_to_left(web, base, person):
    t, wrong = languages.made_up().t, {}
    page = person("alice", "links", locale=languages.TAG)
    page.set_viewport_size({"width": 360, "height": 800})
    web.launches.trust = Trust.UNKNOWN
    web.launches.sizes = MachineSizes(read_sizes(SIZES))
    page.goto(f"{base}/v2/gh/u/r/HEAD")
    wrong |= problems_of(page, "asked")
    refused = {"code": "recipe_invalid", "hint": "Mend it.", "status_code": 422}
    web.launches.script, web.launches.pause_after = (*BUILD[:4], LaunchEvent("failed", "No.\n", refused)), 4
    page.get_by_role("button", name=t("launch.button"), exact=True).click()
    expect(page.get_by_role("log")).to_contain_text("Installed 12 packages")
    wrong |= problems_of(page, "going on")
    shot(page, "launching-light-360-rtl")
    web.loop.call_soon_threadsafe(web.launches.go_on.set)
    expect(page.get_by_role("alert")).to_contain_text(t("codes.recipe_invalid"))
    wrong |= problems_of(page, "failed")
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


def test_links_by_keyboard_follow_what_is_pasted_and_are_copied(store, web, base, person):
    web.sources.branch, web.launches.trust = "feature/x", Trust.UNKNOWN
    page = person("alice", "links")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Repository any address").focus()
    page.keyboard.insert_text("[course](https://github.com/org/course/blob/feature/x/n/a.ipynb).")
    launch = page.get_by_label("Link for a mail")
    expect(launch).to_have_value(f"{base}/v2/gh/org/course/feature/x?labpath=n/a.ipynb")
    expect(page.get_by_text("A launch of this works.")).to_be_visible()
    launch.focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy Link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copy Link")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == launch.input_value()
    web.sources.branch = "unreachable"
    page.get_by_label("File or directory").fill("b.ipynb")
    expect(page.get_by_text("did not say where the branch ends")).to_be_visible()
    page.get_by_label("Repository any address").fill("https://git.test/o/r/pulls/3")
    expect(page.get_by_text("This link follows a pull or merge request")).to_be_visible()
    shot(page, "links-request")
    expect(page.get_by_label("nbgitpuller link brings")).to_be_hidden()
    with page.expect_request(re.compile("/v2/git/")) as request:
        page.get_by_role("link", name="Launch", exact=True).click()
    assert request.value.header_value("referer") == f"{base}/links", "what was typed is in no address"
    expect(page).to_have_url(re.compile("/refs/pull/3/head"))
    expect(page.locator("dl.facts")).to_contain_text("The link follows the request.")
    page.set_viewport_size({"width": 360, "height": 740})
    shot(page, "ask-request")
    assert (wide(page), accessibility_problems(page)) == (0, [])
    page.go_back()
    expect(page.get_by_label("Repository any address")).to_have_value("")
    page.context.clear_cookies()
    page.get_by_label("Repository any address").fill("org/course")
    expect(page.get_by_role("alert")).to_contain_text("Load the page again, then repeat.")


def test_every_page_works_without_a_script(store, web, base, person, filled_home):
    filled_home(store, web)
    page = person("alice", java_script_enabled=False)
    page.get_by_text("More about org/notes/main").click()
    page.get_by_role("button", name="Trust it no longer").click()
    expect(page.get_by_text("trusted by you")).to_have_count(0)
    page.get_by_role("link", name="Builds", exact=True).click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="repo-1").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 3 is no requirement.")
    expect(page.locator("pre")).to_contain_text("Collecting package-299")
    page.get_by_role("link", name="Environments", exact=True).click()
    expect(page.get_by_role("link", name="gh/org/repo-3/main")).to_have_count(1)


def test_a_slow_network_shows_words_first_and_loses_nothing(store, web, base, person):
    web.launches.script, web.launches.pause_after = BUILD, 4
    page = person()
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 20_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.goto(f"{base}/v2/gh/u/r/HEAD", wait_until="commit")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert not page.evaluate(
        "performance.getEntriesByType('resource').some((one) => /launch-.*js$/.test(one.name) && one.responseEnd > 0)"
    )
    expect(page.get_by_role("log")).to_contain_text("Installed 12 packages")
    web.loop.call_soon_threadsafe(web.launches.go_on.set)
    expect(page).to_have_url(re.compile("/user/someone/"))
    assert len(web.launches.requests) == 1


def test_links_without_a_script(store, base, person):
    page = person("alice", "links", java_script_enabled=False)
    page.get_by_label("Repository any address").fill("https://git.test/u/r/src/branch/dev/notes")
    page.get_by_role("button", name="Make links").click()
    expect(page.get_by_label("Link for a mail")).to_have_value(
        f"{base}/v2/git/https%3A%2F%2Fgit.test%2Fu%2Fr/dev?urlpath=lab/tree/notes"
    )
    expect(page.get_by_text("A launch of this works.")).to_be_visible()
    expect(page.get_by_label("Repository any address")).to_have_value("https://git.test/u/r/src/branch/dev/notes")
    page.get_by_text("The environment is in another repository").click()
    page.get_by_label("Repository of the environment").fill("org/environment")
    page.get_by_role("button", name="Make links").click()
    expect(page.get_by_label("Link for a mail")).to_have_value(
        re.compile(f"^{base}/v2/gh/org/environment/HEAD.urlpath=git-pull%3Frepo%3D")
    )
    expect(page.get_by_label("nbgitpuller link brings")).to_have_value(re.compile("&environment=gh%2Forg%2Fenv"))


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
    on_page = ("Open org/notes/main", "Keep alive: org/notes/main", "Stop org/notes/main")
    for name in (*on_page, "Launch again: org/notes/main", "Show what it would do"):
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
