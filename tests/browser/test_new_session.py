"""The page of a new session in a real browser: looks, accessibility, keyboard alone. Hub and plans are real."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from playwright.sync_api import expect

from launcher.sessions.session_offer import RegularSessions
from tests.browser.test_my_pages import person, wide
from tests.http.conftest import base, hub, planned_hub, running_web, web, web_socket
from tests.http.test_mine import servers_of
from tests.http.test_new_session import ready, sessions, use, used
from tests.support.browser import accessibility_problems, shot

__all__ = ["base", "hub", "person", "planned_hub", "running_web", "sessions", "web", "web_socket"]

LONG = "official-repository-with-a-rather-long-name-as-people-do-give-them"


@pytest.mark.parametrize("look", [("light", 1100), ("dark", 360)])
def test_every_state_is_accessible_and_fits(web, sessions, base, person, look):
    scheme, width = look
    used(sessions, LONG, ready(sessions, 1))
    use(web, sessions, regular=replace(sessions.regular, allows_image=lambda name: name.startswith("quay.io/")))
    page = person("alice", "new", color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    wrong = {}

    def check(name):
        shot(page, f"new-session-{name}-{scheme}-{width}")
        if problems := accessibility_problems(page):
            wrong[name] = problems
        if wide(page) > 0:
            wrong[f"{name} is too wide"] = [wide(page)]

    check("form")
    page.get_by_label("From a repository…").check()
    page.get_by_label("Repository any address").fill("https://github.com/org/course/tree/main/notebooks")
    check("repository")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("not a repository this hub knows")
    expect(page.get_by_label("Repository any address")).to_be_visible()
    check("untrusted")
    page.get_by_label("Other image…").check()
    page.get_by_label("Image its name").fill("docker.io/evil/image")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("does not allow that image")
    check("image")
    sessions.builder.hold()
    page.get_by_label("Geospatial").check()
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("log")).to_contain_text("resolving")
    check("building")
    sessions.builder.release()
    page.wait_for_url("**/user/alice/**", wait_until="commit")
    page.goto(f"{base}/new")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    check("running")
    use(web, sessions, regular=RegularSessions(own=False))
    page.goto(f"{base}/new")
    check("elsewhere")
    assert wrong == {}


def test_the_keyboard_alone_starts_a_session(sessions, base, hub, person):
    page = person("alice")
    page.get_by_role("link", name="New session").first.press("Enter")
    page.wait_for_url(f"{base}/new")
    page.get_by_label("Small").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Large")).to_be_checked()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Standard")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("From a repository…")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.type("org/mine")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Files from a repository")).to_be_focused()
    page.keyboard.type("org/course")
    page.keyboard.press("Enter")
    trust = page.get_by_label("I trust this repository")
    expect(trust).to_have_accessible_description(re.compile("is not a repository this hub knows to be safe"))
    expect(page.get_by_label("Large")).to_be_checked()
    expect(page.get_by_label("Files from a repository")).to_have_value("org/course")
    trust.focus()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_url("**/user/alice/**", wait_until="commit")
    assert servers_of(hub, "alice") == {""}
    [plan] = sessions.plans()
    assert (plan.size.name, plan.content["name"]) == ("large", "course")
