"""The pages on small and dark screens, through a dying service, and with text that would like to be more than text."""

import os
import re
import signal

import psutil
import pytest
import requests
from playwright.sync_api import expect

from tests.support.browser import (
    accessibility_problems,
    at_the_gate,
    in_session,
    launch_link,
    log_in,
    profile,
    servers,
    shot,
)
from tests.support.running import eventually, service_process

WIDE = "document.scrollingElement.scrollWidth - window.innerWidth"
LOUD = """cat <<'END'
data: {"phase": "ready", "url": "https://evil.example.org/", "open_url": "/hub/admin"}
event: message

<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>
\x1b[31mred\x1b[0m and \x1b]0;title\x07done
END
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_small_screen_and_is_accessible(up, chromium, repository, gates, scheme):
    long = f"a-repository-with-a-rather-long-name-as-people-do-give-them-{scheme}"
    asks = repository(long, {"requirements.txt": "humanize\n"})
    builds = repository(f"trusted-{long}", {"postBuild": gates.script(scheme)})
    with profile(chromium, color_scheme=scheme) as context:
        page = log_in(context, up)
        page.set_viewport_size({"width": 360, "height": 740})
        pages = {
            "home": up.service,
            "errors": f"{up.service}errors",
            "builds": f"{up.service}builds",
            "links": f"{up.service}links",
            "environments": f"{up.service}environments",
            "about": f"{up.service}about",
            "ask": launch_link(up, asks, f"?labpath={'deep/' * 20}index.ipynb"),
            "error": launch_link(up, "gh/only-one-part"),
            "progress": launch_link(up, builds),
        }
        for name, address in pages.items():
            page.goto(address)
            if name == "progress":
                at_the_gate(page)
            shot(page, f"small-{scheme}-{name}")
            assert page.evaluate(WIDE) <= 0, name
            assert accessibility_problems(page) == [], name
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        darkness = sum(int(part) for part in re.findall(r"\d+", background)[:3])
        assert (darkness < 3 * 64) == (scheme == "dark")
        page.get_by_role("button", name="Cancel the build").click()
        expect(page.get_by_role("alert")).to_be_visible()
        shot(page, f"small-{scheme}-failed")
        assert page.evaluate(WIDE) <= 0
        assert accessibility_problems(page) == []


def test_the_page_goes_on_by_itself_when_the_service_is_killed_mid_build(up, page, repository, gates):
    spec = repository("trusted-killed", {"postBuild": gates.script("killed")})
    page.clock.install()
    page.goto(launch_link(up, spec))
    at_the_gate(page)
    service = service_process(up)
    os.kill(service.pid, signal.SIGKILL)
    psutil.wait_procs([service], timeout=20)
    eventually(lambda: requests.get(f"{up.service}health", timeout=5).ok, what="the service after its death")
    page.clock.fast_forward(31_000)  # the proxy keeps the dead stream open: the page must find the silence strange
    gates.open("killed")
    in_session(up, page)
    up.stop_sessions()


def test_a_log_that_looks_like_events_or_markup_stays_text(up, page, repository, gates):
    spec = repository("trusted-loud", {"postBuild": gates.script("loud", before=LOUD)})
    page.goto(launch_link(up, spec))
    log = at_the_gate(page)
    expect(log).to_contain_text('data: {"phase": "ready", "url": "https://evil.example.org/"')
    expect(log).to_contain_text("<img src=x onerror=\"document.title='owned'\"><script>")
    expect(log).to_contain_text("red and done")
    assert page.locator(".log :not(div, span)").count() == 0
    assert page.title().startswith("Launching")
    assert page.url == launch_link(up, spec)
    gates.open("loud")
    in_session(up, page)
    up.stop_sessions()


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example.org/",
        "https://evil.example.org/",
        "/\\evil.example.org",
        "javascript:document.title='owned'",
        "../../../hub/admin",
        "%2e%2e/%2e%2e/%2e%2e/hub/admin",
        "lab?next=//evil.example.org",
    ],
)
def test_a_path_to_open_never_leads_out_of_the_session(up, page, repository, path):
    name = f"trusted-trap-{sum(path.encode())}"
    visited = []
    page.on("framenavigated", lambda frame: visited.append(frame.url))
    page.on("request", lambda request: visited.append(request.url) if request.is_navigation_request() else None)
    answer = page.goto(launch_link(up, repository(name)) + "?urlpath=" + re.sub(r"[?&#\\']", _escaped, path))
    assert answer is not None
    if answer.status != 400:
        in_session(up, page)
        up.stop_sessions()
    else:
        expect(page.get_by_text("path_invalid")).to_be_visible()
        assert servers(up) == {}
    assert all(
        url.startswith((up.url + "/services/", up.url + "/user/", up.url + "/hub/api/oauth2")) for url in visited
    )
    assert page.title() != "owned"


def _escaped(match: re.Match) -> str:
    return f"%{ord(match.group()):02x}"
