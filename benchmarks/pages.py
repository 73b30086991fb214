"""B13: the page that people wait on, from the request to the first text and the first sign of life."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Request

from benchmarks.browsing import SECONDS, logged_in, person
from benchmarks.observe import Hub
from benchmarks.rounds import Contestant, interleave
from benchmarks.stage import Stage
from benchmarks.tables import Measurement
from tests.support.browser import running_chromium
from tests.support.hub import RunningHub

LAUNCHER, PENDING = "launcher", "JupyterHub's spawn-pending page"
_PERSON = "person"
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
_SETTLE_MILLISECONDS = 300  # icons and frames
_WAITS = {"README.md": "# A course\n\nRead while you wait.\n", "postBuild": "#!/bin/sh\nexec sleep 3600\n"}
_NEVER_READY = """
c.Authenticator.admin_users = {"boss"}
c.Spawner.cmd = ["sleep", "3600"]
c.Spawner.start_timeout = 3600
c.Spawner.http_timeout = 3600
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1}
c.JupyterHub.log_level = "WARN"
"""


@dataclass
class Waiting:
    """A page on which a person waits. ``live``: the address of the stream that tells what happens."""

    url: str
    live: re.Pattern[str]
    state: Any
    """Cookies of the person."""


def waiting_page(stage: Stage, repeats: int) -> Measurement:
    """B13: the page of a launch that builds, beside the Hub's own page of a server that starts."""
    first, again = "bytes, first visit", "bytes, again"
    result = Measurement("B13", "the page that people wait on, in a browser that was there before", units={})
    result.units = {first: "KB", again: "KB", f"{first}, compressed": "KB"}
    with RunningHub(_NEVER_READY) as running, running_chromium() as browser:
        pages = {LAUNCHER: _launch_that_builds(stage, browser), PENDING: _server_that_starts(running, browser)}

        def contestant(name: str) -> Contestant:
            def sample(_turn: int) -> dict[str, float]:
                with person(browser, pages[name].state) as context:
                    new, known = _visit(context, pages[name]), _visit(context, pages[name])
                return {**known.times, first: new.sent, f"{first}, compressed": new.compressed, again: known.sent}

            return sample

        interleave(result, {name: contestant(name) for name in pages}, repeats)
    result.notes += [
        "From the request: first byte of the page; first text: first contentful paint; interactive: its script asks",
        "for the stream of events. The browser was there before and has the files that may be kept.",
        "Bytes: bodies of all that the page loads, its frames too; as they came, and as if all were compressed.",
    ]
    return result


@dataclass(frozen=True)
class _Visit:
    """One load of a page. ``sent``, ``compressed``: kilobytes of bodies, as they came and if each were compressed."""

    times: dict[str, float]
    sent: float
    compressed: float


def _visit(context: BrowserContext, waiting: Waiting) -> _Visit:
    """Load the page in a tab of its own; times are seconds from its request."""
    page = context.new_page()
    try:
        observer = context.new_cdp_session(page)
        observer.send("Network.enable")
        network = _Network(observer, waiting)
        loaded: list[Request] = []
        page.on("requestfinished", lambda request: loaded.append(request))  # noqa: PLW0108 - playwright marks the function
        page.goto(waiting.url, wait_until="load")
        _until(page, lambda: page.evaluate(_PAINT) is not None)  # playwright's own wait evals, which the page forbids
        paint = page.evaluate(_PAINT) / 1000
        _until(page, lambda: network.live is not None)
        page.wait_for_timeout(_SETTLE_MILLISECONDS)
        times = {"first byte": network.first_byte, "first text": paint, "interactive": network.interactive}
        return _Visit(times, sum(map(_sent, loaded)) / 1024, sum(map(_compressed, loaded)) / 1024)
    finally:
        page.close()


def _sent(request: Request) -> int:
    """Bytes of the body that came over the network; 0 for what the browser had."""
    response = request.response()
    if response is None or response.status == requests.codes.not_modified:
        return 0
    return max(int(request.sizes()["responseBodySize"]), 0)


def _compressed(request: Request) -> int:
    response = request.response()
    return 0 if response is None or not response.ok else len(gzip.compress(response.body()))


class _Network:
    """What the browser's own record of requests says, in one clock."""

    def __init__(self, observer: CDPSession, waiting: Waiting) -> None:
        self._waiting = waiting
        self._began: float | None = None
        self._document = ""
        self._answered: float | None = None
        self.live: float | None = None
        observer.on("Network.requestWillBeSent", self._asked)
        observer.on("Network.responseReceived", self._answer)

    @property
    def first_byte(self) -> float:
        return cast("float", self._answered) - cast("float", self._began)

    @property
    def interactive(self) -> float:
        return cast("float", self.live) - cast("float", self._began)

    def _asked(self, event: dict[str, Any]) -> None:
        if self._began is None:
            self._began, self._document = event["timestamp"], event["requestId"]
        elif self.live is None and self._waiting.live.search(urlsplit(event["request"]["url"]).path):
            self.live = event["timestamp"]

    def _answer(self, event: dict[str, Any]) -> None:
        if event["requestId"] == self._document:
            self._answered = event["timestamp"]


def _until(page: Page, there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not there():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{page.url} did not become what it should")
        page.wait_for_timeout(5)


def _launch_that_builds(stage: Stage, browser: Browser) -> Waiting:
    _, spec = stage.repository("b13", _WAITS)
    hub = stage.launcher
    url = f"{hub.url}services/binder/v2/{spec}"
    live = re.compile("/services/binder/build/")
    hub.api("POST", f"/users/{_PERSON}")
    waiting = Waiting(url, live, logged_in(browser, hub.url, _PERSON, f"{hub.url}services/binder/links"))
    with person(browser, waiting.state) as context:
        page = context.new_page()
        page.goto(url)
        page.get_by_role("list", name="Steps").locator("[aria-current=step]", has_text="Environment").wait_for()
        waiting.state = context.storage_state()
    return waiting


def _server_that_starts(running: RunningHub, browser: Browser) -> Waiting:
    hub = Hub(running.url, running.token_for("boss"))
    hub.api("POST", f"/users/{_PERSON}")
    hub.api("POST", f"/users/{_PERSON}/server").raise_for_status()
    state = logged_in(browser, hub.url, _PERSON)
    return Waiting(f"{hub.url}hub/spawn-pending/{_PERSON}", re.compile("/server/progress$"), state)
