"""The launch page as people use it: by keyboard, with a log to read, in two tabs, after a login that ended."""

import re

import requests
from playwright.sync_api import expect

from tests.support.browser import (
    BUILD_MILLISECONDS,
    accessibility_problems,
    at_the_gate,
    in_session,
    launch_link,
    press,
    shot,
)

README = """# Ocean notebooks

Reads a year of *sea surface temperature*.

<script>parent.document.title = "owned"</script><img src="https://evil.example.org/x.png" onerror="alert(1)">
[Documentation](https://docs.example.org) [bad](javascript:alert(1))
"""
NOTEBOOK = """{"cells": [{"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": ["6 * 7"],
"outputs": [{"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>42</b><script>x</script>"}}]}],
"metadata": {}, "nbformat": 4, "nbformat_minor": 5}
"""
COLOURFUL = """for i in $(seq 1 300); do printf 'Collecting package-%s \\033[32mok\\033[0m\\n' $i; done
"""
FAILING = f"#!/bin/bash\n{COLOURFUL}echo 'error: no compiler'\necho \"that is all\"\nexit 3\n"


def test_the_whole_click_by_keyboard(up, page, repository, gates):
    spec = repository("by-keyboard", {"README.md": "Hello\n", "postBuild": gates.script("keyboard")})
    page.goto(launch_link(up, spec))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")  # the link of the repository
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="In a project home")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="In my own home")).to_be_checked()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    log = at_the_gate(page)
    expect(page.get_by_role("list", name="Steps").locator("[aria-current=step]")).to_contain_text("Environment")
    page.get_by_role("searchbox").focus()
    page.keyboard.type("gate")
    page.keyboard.press("Enter")
    expect(log.locator("mark").first).to_have_text("gate")
    for expected in ("Previous", "Next"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=expected)).to_be_focused()
    gates.open("keyboard")
    in_session(up, page)
    up.stop_sessions()


def test_while_it_builds_the_repository_is_shown_and_can_do_nothing(up, page, repository, gates):
    files = {"README.md": README, "index.ipynb": NOTEBOOK, "postBuild": gates.script("reading", before=COLOURFUL)}
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(launch_link(up, repository("trusted-reading", files), "?labpath=index.ipynb"))
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Ocean notebooks")).to_be_visible()
    expect(frame.locator(".output b")).to_have_text("42")
    expect(frame.get_by_role("link", name="Documentation")).to_have_attribute("rel", re.compile("noopener"))
    assert frame.locator("script, [onerror], [href^=javascript], img[src]").count() == 0
    log = at_the_gate(page)
    expect(log.locator(".fg-ansi-green").first).to_have_text("ok")
    assert log.locator(".line").count() < 100, "only what is seen is drawn"
    expect(page.get_by_role("definition").filter(has_text="Begin")).to_be_visible()
    assert not any("evil" in url for url in asked)
    assert page.title().startswith("Launching")
    shot(page, "building-and-reading")
    assert accessibility_problems(page) == []
    press(page, "Share this build")
    address = page.get_by_role("textbox", name=re.compile("^Address of the build")).input_value()
    assert address.startswith(f"{up.service}builds/")
    page.get_by_role("checkbox", name="Follow").uncheck()
    log.evaluate("element => element.scrollTo(0, 0)")
    expect(log).not_to_contain_text("at the gate")
    gates.open("reading")
    in_session(up, page)
    up.stop_sessions()


def test_a_failure_opens_the_log_where_it_went_wrong(up, page, repository):
    page.goto(launch_link(up, repository("trusted-breaks", {"postBuild": FAILING})))
    expect(page.get_by_role("alert")).to_contain_text("postBuild failed", timeout=BUILD_MILLISECONDS)
    expect(page.locator(".line.trouble")).to_have_text("error: no compiler")
    page.get_by_role("log").scroll_into_view_if_needed()  # the page, not the log in it
    expect(page.locator(".line.trouble")).to_be_in_viewport()
    expect(page.get_by_role("heading", level=1)).to_contain_text("could not be launched")
    shot(page, "failed-with-log")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="build_failed").click()
    expect(opened.value.locator("#build_failed")).to_be_visible()


def test_the_page_says_everything_before_its_script_is_there(up, page, repository, gates):
    spec = repository("trusted-slow-network", {"postBuild": gates.script("slow")})
    held = []
    page.route(re.compile(r"/built/assets/launch-[^/]+\.js$"), lambda route: held.append(route))  # noqa: PLW0108 - playwright marks the function
    page.goto(launch_link(up, spec), wait_until="commit")
    expect(page.get_by_role("heading", level=1)).to_contain_text("trusted-slow-network")
    expect(page.get_by_role("list", name="Steps")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Looking at the repository…")
    expect(page.get_by_role("definition").filter(has_text="Begin")).to_be_visible()
    for route in held:
        route.continue_()
    at_the_gate(page)
    press(page, "Cancel the build")
    expect(page.get_by_role("alert")).to_contain_text("cancelled", timeout=BUILD_MILLISECONDS)


def test_two_tabs_follow_one_build_and_a_login_that_ended_is_said(up, logged_in, repository, gates):
    link = launch_link(up, repository("trusted-two-tabs", {"postBuild": gates.script("tabs")}))
    first, second = logged_in.new_page(), logged_in.new_page()
    second.clock.install()
    for page in (first, second):
        page.goto(link)
        at_the_gate(page)
    logged_in.clear_cookies()
    second.clock.fast_forward(31_000)  # the stream is silent for too long: the page asks anew
    expect(second.get_by_role("alert")).to_contain_text("Your login has ended")
    shot(second, "login-ended")
    second.get_by_role("link", name="Try again").click()
    expect(second).to_have_url(re.compile("/hub/login"))
    first.goto("about:blank")
    build = up.builds()[0]["id"]
    assert requests.delete(f"{up.service}api/v1/builds/{build}", headers=up.headers, timeout=30).ok
