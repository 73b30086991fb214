"""A real Chromium for tests: one browser, fresh profiles, and what people do with a launcher's pages."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from tests.support.running import RunningLauncher, eventually

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_MILLISECONDS = 60_000
BUILD_MILLISECONDS = 120_000
"""What a build may take on a machine that does much else."""
SCREENSHOTS = "LAUNCHER_SCREENSHOTS"
"""Environment variable: a directory that `shot` saves pictures of pages into; nothing is saved without it."""


@contextlib.contextmanager
def running_chromium() -> Iterator[Browser]:
    """The system's Chromium; the test is skipped when there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium on this machine: run scripts/setup-tests as root, or install it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def profile(browser: Browser, **options) -> Iterator[BrowserContext]:
    """A fresh profile that reaches no other machine than this one."""
    expect.set_options(timeout=_MILLISECONDS)
    context = browser.new_context(viewport={"width": 1100, "height": 800}, **options)
    context.set_default_timeout(_MILLISECONDS)
    context.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), lambda route: route.abort())
    try:
        yield context
    finally:
        context.close()


def login_link(up: RunningLauncher, then: str = "/hub/home") -> str:
    """The link that ``launcher up`` printed, which leads on to a path; by itself it starts the regular session."""

    def printed() -> str | None:
        found = re.findall(r"^ +(http\S+/hub/link-login\?key=\S+)$", up.log.read_text(), re.MULTILINE)
        return found[-1] if found else None

    return f"{eventually(printed, what='the printed login link')}&next={quote(then, safe='')}"


def launch_link(up: RunningLauncher, spec: str, query: str = "") -> str:
    """The address behind a badge."""
    return f"{up.service}v2/{spec}{query}"


def shot(page: Page, name: str) -> None:
    """Save a picture of the page for people to look at."""
    if directory := os.environ.get(SCREENSHOTS):
        Path(directory).mkdir(parents=True, exist_ok=True)
        size, height = page.viewport_size, page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({**size, "height": max(height, size["height"])})  # frames are drawn only where one looks
        page.screenshot(path=str(Path(directory, f"{name}.png")))
        page.set_viewport_size(size)


def log_in(context: BrowserContext, up: RunningLauncher) -> Page:
    """A page of the launcher's user, at the Hub's home."""
    page = context.new_page()
    page.goto(login_link(up))
    return page


def press(page: Page, name: str) -> None:
    """Press the button with exactly this name."""
    page.get_by_role("button", name=name, exact=True).click()


def servers(up: RunningLauncher) -> dict:
    """The running or pending servers of the launcher's user."""
    return up.api("GET", f"/users/{up.user}").json()["servers"]


def in_session(up: RunningLauncher, page: Page, *, seconds: float = 120) -> None:
    """Wait until the page is inside a session of the user."""
    address = re.compile(re.escape(f"{up.url}/user/{up.user}/") + r"[a-z0-9-]+/")
    page.wait_for_url(address, timeout=seconds * 1000, wait_until="commit")


def at_the_gate(page: Page) -> Locator:
    """The log of the page's build, when the build waits at its gate."""
    log = page.get_by_role("log")
    expect(log).to_contain_text("at the gate", timeout=BUILD_MILLISECONDS)
    return log


def accessibility_problems(page: Page, part: str = "html") -> list[str]:
    """What axe finds wrong with the page as it is now, or with the ``part`` that is ours; one line for each rule."""
    source = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        pytest.fail("axe-core is not there: run scripts/setup-tests, which installs it with the front end's tools")
    page.wait_for_load_state("load")  # what is there may not have its styles yet, and axe takes what has none for white
    page.evaluate(source.read_text())
    found = page.evaluate("(part) => axe.run(part).then((result) => result.violations)", part)
    return [f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:3]}" for one in found]
