"""Browsers of people of a hub, for measurements of pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext

SECONDS = 60


@contextmanager
def person(browser: Browser, state: Any) -> Iterator[BrowserContext]:
    """A profile with the person's cookies and nothing kept."""
    context = browser.new_context(storage_state=state)
    context.set_default_timeout(SECONDS * 1000)
    try:
        yield context
    finally:
        context.close()


def logged_in(browser: Browser, hub_url: str, name: str, *pages: str) -> Any:
    """The cookies of somebody who logged in and has seen some pages."""
    with person(browser, None) as context:
        page = context.new_page()
        page.goto(f"{hub_url}hub/login")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", "any")
        with page.expect_navigation():
            page.click("input[type=submit], button[type=submit]")
        for address in pages:
            page.goto(address)
        return context.storage_state()
