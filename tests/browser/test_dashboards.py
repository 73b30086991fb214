"""A real scheduler's dashboard in a real browser, through the Hub's login: owner, admin, a page of another origin."""

from __future__ import annotations

import subprocess
import sys

import pytest

from launcher.dask.dashboards import Dashboard
from tests.support.browser import profile, shot
from tests.support.dashboards import PREFIX, TOKEN, running_guard
from tests.support.other_site import other_origin
from tests.support.running import ROOT

NAME = "0123456789abcdef0123456789abcdef"
CLUSTER = f"{PREFIX}clusters/{NAME}/"
DRAWN = "() => window.Bokeh && Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle"


@pytest.fixture(scope="module")
def running():
    with running_guard() as (guard, hub):
        command = [sys.executable, "-m", "tests.support.dask_scheduler", TOKEN]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            port = int(process.stdout.readline())
            guard.clusters[NAME] = Dashboard("alice", f"http://127.0.0.1:{port}", TOKEN)
            yield guard, hub
        finally:
            process.kill()
            process.wait(20)
            process.stdin.close()
            process.stdout.close()


@pytest.fixture
def origin(running):
    return f"http://127.0.0.1:{running[1].port}"


@pytest.fixture
def person(chromium, running):
    """Somebody's profile, logged in at the Hub."""
    contexts = []

    def log_in(name):
        context = profile(chromium)
        contexts.append(context)
        page = context.__enter__().new_page()
        page.goto(f"{running[1].url}hub/login")
        page.fill("#username_input", name)
        page.fill("#password_input", "any")
        page.click("#login_submit")
        page.wait_for_url("**/hub/**")
        return page

    yield log_in
    for context in contexts:
        context.__exit__(None, None, None)


def watched(page):
    """Frames that websockets of the page received, and answers that went wrong."""
    frames, wrong = [], []

    def received(data):  # playwright takes no built-in methods
        frames.append(data)

    page.on("websocket", lambda ws: ws.on("framereceived", received))
    page.on("response", lambda answer: wrong.append((answer.status, answer.url)) if answer.status >= 400 else None)
    page.on("pageerror", lambda error: wrong.append(("error", str(error))))
    return frames, wrong


def wrong_here(wrong, origin):
    """What went wrong on this origin, or in a script; fonts and icons of other sites are not reached in tests."""
    return [(what, where) for what, where in wrong if what == "error" or where.startswith(origin)]


def test_owners_see_plots_that_live(person, origin):
    page = person("alice")
    frames, wrong = watched(page)
    page.goto(f"{origin}{CLUSTER}status")
    page.wait_for_function(DRAWN)
    shot(page, "dashboard-owner")
    assert frames
    assert wrong_here(wrong, origin) == []
    page.goto(f"{origin}{CLUSTER}info/main/workers.html")
    page.locator("a[href*='worker/tcp%3A']").first.click()
    page.wait_for_url("**/info/worker/tcp%3A%2F%2F127.0.0.1%3A*")
    assert "127.0.0.1" in page.inner_text("body")


def test_owners_see_panes_in_frames_of_the_same_origin(person, origin):
    page = person("alice")
    page.goto(f"{origin}{CLUSTER}status")  # any page of this origin
    page.evaluate(
        "url => { document.body.innerHTML = `<iframe src='${url}'></iframe>` }", f"{CLUSTER}individual-progress"
    )
    frame = page.frame_locator("iframe")
    frame.locator(".bk-Figure, .bk-root, canvas").first.wait_for(state="attached")


def test_admins_see_plots_that_live_in_a_sandbox(person, origin):
    page = person("ada")
    frames, wrong = watched(page)
    page.goto(f"{origin}{CLUSTER}status")
    assert "~" in page.url
    page.wait_for_function(DRAWN)
    shot(page, "dashboard-admin")
    assert frames
    assert page.evaluate("window.origin") == "null"
    reach = "url => fetch(url).then(answer => answer.text(), error => 'refused')"
    assert page.evaluate(reach, f"{origin}/jhub/hub/home") == "refused"
    assert page.evaluate("(() => { try { return document.cookie } catch (error) { return 'refused' } })()") == "refused"
    assert wrong_here(wrong, origin) == []


def test_strangers_see_nothing(person, origin):
    page = person("mallory")
    assert page.goto(f"{origin}{CLUSTER}status").status == 404


def test_a_page_of_another_origin_cannot_open_the_websocket(person, origin):
    page = person("alice")
    page.goto(f"{origin}{CLUSTER}status")
    page.wait_for_function(DRAWN)
    tries = """url => new Promise(done => {
        const ws = new WebSocket(url, ['bokeh', 'x']);
        ws.onopen = () => done('open'); ws.onclose = () => done('closed'); })"""
    address = f"{origin}{CLUSTER}status/ws".replace("http", "ws", 1)
    with other_origin() as elsewhere:
        other = page.context.new_page()
        other.goto(elsewhere.origin)
        assert other.evaluate(tries, address) == "closed"
