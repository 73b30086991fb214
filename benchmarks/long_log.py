"""B14: a very long log in a browser."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser

from benchmarks.browsing import logged_in, person
from benchmarks.rounds import Contestant, interleave
from benchmarks.stage import Stage
from benchmarks.tables import Measurement, percentile
from tests.support.browser import running_chromium

LAUNCHER, PRE = "launcher", "plain <pre>"
LINES = 50_000
_FRAMES = 120
_LAST_WORD = "the-very-last-line"
_TALKS = f"#!/bin/sh\nseq -f 'line %06g of a log that somebody may want to read' {LINES - 1}\necho {_LAST_WORD}\n"
_FIRST_LINE = """selector => new Promise(done => {
  const look = () => {
    const found = document.querySelector(selector)
    if (found && /line \\d{6}|very-last/.test(found.textContent.slice(-200))) done(performance.now() / 1000)
    else requestAnimationFrame(look)
  }
  look()
})"""
_SEARCH_LIST = """word => new Promise(done => {
  const look = () => {
    const box = document.querySelector('input[type=search]')
    if (box && box.value === '') {
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(box, word)
      box.dispatchEvent(new Event('input', {bubbles: true}))
    }
    if (/[1-9]/.test(document.querySelector('.found')?.textContent ?? '')) done(performance.now() / 1000)
    else requestAnimationFrame(look)
  }
  look()
})"""
_SEARCH_PRE = """word => new Promise(done => {
  const look = () => {
    if (document.readyState === 'complete' && window.find(word)) done(performance.now() / 1000)
    else requestAnimationFrame(look)
  }
  look()
})"""
_SCROLL = """([selector, frames]) => new Promise(done => {
  const box = selector ? document.querySelector(selector) : document.scrollingElement
  const far = box.scrollHeight - box.clientHeight, times = []
  let last
  const step = now => {
    if (last !== undefined) times.push(now - last)
    last = now
    if (times.length >= frames) return done(times)
    box.scrollTop = far * (1 - times.length / frames)
    requestAnimationFrame(step)
  }
  requestAnimationFrame(step)
})"""


@dataclass(frozen=True)
class LogPage:
    """A page with the log on it, and how to look at it from outside."""

    url: str
    state: Any
    first: str
    search: str
    box: str


def long_log(stage: Stage, repeats: int) -> Measurement:
    """B14: the page of a build that said very much, beside the same text as one element of a page."""
    frame, slow, worst = "a frame while scrolling", "a frame while scrolling, p95", "a frame while scrolling, worst"
    result = Measurement(
        "B14", f"a log of {LINES:,} lines in a browser", units=dict.fromkeys((frame, slow, worst), "ms")
    )
    with running_chromium() as browser, _as_one_element(stage.directory / "b14") as plain:
        pages = {
            LAUNCHER: LogPage(_finished_build(stage), _reader(stage, browser), "#log-island", _SEARCH_LIST, ".log"),
            PRE: LogPage(plain, None, "pre", _SEARCH_PRE, ""),
        }

        def contestant(name: str) -> Contestant:
            def sample(_turn: int) -> dict[str, float]:
                looked = pages[name]
                with person(browser, looked.state) as context:
                    page = context.new_page()
                    page.goto(looked.url, wait_until="commit")
                    first = page.evaluate(_FIRST_LINE, looked.first)
                    all_there = page.evaluate(looked.search, _LAST_WORD)
                    frames = page.evaluate(_SCROLL, [looked.box, _FRAMES])
                return {
                    "first line": first,
                    "last line found by a search": all_there,
                    frame: percentile(frames, 0.5),
                    slow: percentile(frames, 0.95),
                    worst: max(frames),
                }

            return sample

        interleave(result, {name: contestant(name) for name in pages}, repeats)
    result.notes += [
        "From the request of the page. A search is that of the log's own box, and the browser's own in the plain page.",
        f"The whole log is scrolled through in {_FRAMES} frames; a browser with nothing to do has one in 16.7 ms.",
        "The plain page comes straight from a file server, the launcher's through the hub's proxy.",
    ]
    return result


def _finished_build(stage: Stage) -> str:
    """The address of a build with the whole log."""
    _, spec = stage.repository("b14", {"postBuild": _TALKS})
    hub = stage.launcher
    headers = {"Authorization": f"token {hub.admin_token}", "Accept": "text/event-stream"}
    address = f"{hub.url}services/binder/build/{spec}"
    with requests.get(address, headers=headers, params={"build_only": "true"}, stream=True, timeout=600) as answer:
        answer.raise_for_status()
        for _ in answer.iter_lines():
            pass
    (build,) = [one for one in hub.service("api/v1/builds").json()["builds"] if "b14" in one["spec"]]
    if build["status"] != "succeeded":
        raise RuntimeError(f"the build ended as {build['status']}")
    return f"{hub.url}services/binder/builds/{build['id']}"


def _reader(stage: Stage, browser: Browser) -> Any:
    """An administrator sees everybody's builds."""
    hub = stage.launcher
    return logged_in(browser, hub.url, "admin", f"{hub.url}services/binder/builds")


@contextmanager
def _as_one_element(directory: Path) -> Iterator[str]:
    """The address of a page with the same lines in one element."""
    directory.mkdir()
    lines = [f"line {number:06} of a log that somebody may want to read" for number in range(1, LINES)]
    text = "\n".join([*lines, _LAST_WORD])
    (directory / "log.html").write_text(f"<!doctype html><title>log</title><pre>{text}</pre>")
    handler = partial(_Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/log.html"
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""
