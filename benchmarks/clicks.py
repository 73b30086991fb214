"""The click as a browser does it, with cookies: a badge link of the launcher, an nbgitpuller link of a stock hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePosixPath
from urllib.parse import quote, urlsplit

import requests

from benchmarks.observe import Hub, Person, Watch, events, page_config

_SECONDS = 300


def click_launcher(hub: Hub, person: Person, spec: str, watch: Watch) -> str:
    """Open ``/v2/<spec>``, follow the page's event stream, open the session; returns the session's URL.

    Stamps: ``page``, ``ready`` (the event), ``answers`` (HTTP 200 of the session; the files are there then).
    """
    browser = person.browser
    page = browser.get(f"{hub.url}services/binder/v2/{spec}", timeout=_SECONDS)
    page.raise_for_status()
    watch.stamp("page")
    config = page_config(page.text)
    origin = hub.url.rstrip("/")
    query = {"build_token": config["buildToken"], "_xsrf": config["xsrfToken"]}
    headers = {"Accept": "text/event-stream"}
    stream = browser.get(origin + config["eventsUrl"], params=query, headers=headers, stream=True, timeout=_SECONDS)
    with stream:
        last = None
        for event in events(stream):
            last = event
            if event.get("phase") in {"ready", "failed"}:
                break
    if last is None or last["phase"] != "ready":
        raise RuntimeError(f"launch ended with {last}")
    watch.stamp("ready")
    browser.get(origin + last["open_url"], timeout=_SECONDS).raise_for_status()
    watch.stamp("answers")
    return str(last["url"])


def click_stock(hub: Hub, person: Person, repository: str, watch: Watch) -> str:
    """Open an nbgitpuller link, wait for the server as the hub's pending page does, follow the pull.

    Stamps: ``answers`` (HTTP 200 of the session, its pull page) and ``files`` (the pull has finished).
    """
    browser = person.browser
    link = f"{hub.url}hub/user-redirect/git-pull?repo={quote(repository, safe='')}&branch=main&urlpath=tree"
    answer = browser.get(link, timeout=_SECONDS)
    if urlsplit(answer.url).path.startswith(("/hub/spawn", "/hub/user")):
        progress = f"{hub.url}hub/api/users/{person.name}/server/progress"
        query = {"_xsrf": hub.xsrf(browser)}
        with browser.get(progress, params=query, stream=True, timeout=_SECONDS) as stream:
            stream.raise_for_status()
            if not any(event.get("ready") for event in events(stream)):
                raise RuntimeError("the stock server did not start")
        answer = browser.get(answer.url, timeout=_SECONDS)  # what the pending page does: load itself again
    answer.raise_for_status()
    if PurePosixPath(urlsplit(answer.url).path).name != "git-pull":
        raise RuntimeError(f"ended at {answer.url}")
    watch.stamp("answers")
    session = f"{hub.url}user/{person.name}/"
    _pull(browser, session, repository)
    watch.stamp("files")
    return session


def _pull(browser: requests.Session, session: str, repository: str) -> None:
    path = urlsplit(session).path
    xsrf = next((str(one.value) for one in browser.cookies if one.name == "_xsrf" and one.path == path), "")
    query = {"repo": repository, "branch": "main", "_xsrf": xsrf}
    with browser.get(f"{session}git-pull/api", params=query, stream=True, timeout=_SECONDS) as stream:
        stream.raise_for_status()
        for event in events(stream):
            if event.get("phase") == "finished":
                return
            if event.get("phase") == "error":
                raise RuntimeError(f"nbgitpuller: {event}")
    raise RuntimeError("nbgitpuller did not finish")


def timed(click: Callable[..., str], *arguments: object) -> tuple[Watch, str]:
    """A click with a watch of its own: the stamps and the session's URL."""
    watch = Watch()
    return watch, click(*arguments, watch)
