"""The page of clusters in a real browser: how it looks, that it keeps itself fresh, and that the button works."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from launcher.policy.dask import DaskPolicy
from launcher.sessions.gateway import GatewayClusters
from tests.http.conftest import base, hub, planned_hub, running_web, web, web_socket
from tests.support.browser import profile, shot
from tests.support.scripted_gateway import cluster, scripted_gateway

__all__ = ["base", "hub", "planned_hub", "running_web", "web", "web_socket"]

LIST = "/api/v1/launcher/clusters"
ONE, TWO, THREE, FOUR, FIVE = (digit * 32 for digit in "12345")
POLICY = DaskPolicy(scope="access:services!service=binder")  # a scope that everybody here has
EVIL = "<img src=x onerror=alert(1)>"
LIMITS = {"clusters": 4, "workers": 16, "cores": 16, "memory": 32 * 2**30}
USED = {"clusters": 2, "workers": 6, "cores": 12, "memory": 24 * 2**30}


def ago(**delta):
    return (datetime.now(UTC) - timedelta(**delta)).isoformat(timespec="seconds")


def some_clusters(*people):
    """Clusters in every state, of these people in turn."""
    ended = {"stopped": ago(hours=1), "dashboard": None}
    key = "3f9c2a71d0be4455"
    found = [
        cluster(ONE, title="pangeo-data/pangeo-tutorial", environment=key, started=ago(minutes=12), idle_seconds=0.2)
        | {"workers": 4, "workers_wanted": 4, "worker_cores": 2, "cores": 8, "memory": 8 * 2**30},
        cluster(TWO, title="Regular session", environment="server", started=ago(hours=5), idle_seconds=1500)
        | {
            "workers": 2,
            "workers_wanted": 2,
            "minimum": 0,
            "maximum": 8,
            "cores": 2,
            "memory": 4 * 2**30,
            "keep_hours": 6,
        },
        cluster(THREE, title=f"an-organisation-with-a-long-name/{'and-a-repository-' * 4}{EVIL}", status="starting")
        | {"dashboard": None, "started": ago(seconds=4), "workers_wanted": 3, "environment": key},
        cluster(FOUR, title="pangeo-data/pangeo-tutorial", status="failed", started=ago(hours=2), environment=key)
        | {"reason": "The scheduler ended by itself: it used more memory than it may."}
        | ended,
        cluster(FIVE, title="Regular session", status="stopped", reason="Its session ended.", started=ago(hours=9))
        | ended,
    ]
    return [one | {"user": people[number % len(people)]} for number, one in enumerate(found)]


@pytest.fixture
def gateway(web):
    """The scripted gateway behind the web."""
    with scripted_gateway() as gateway:
        web.clusters = web.call(lambda: GatewayClusters(gateway.address, POLICY))
        web.fresh()
        yield gateway
        web.call(web.clusters.close)
        web.clusters = None


@pytest.fixture
def alice(chromium, base, hub):
    """Opens pages of alice, logged in at the Hub."""
    with contextlib.ExitStack() as stack:

        def _open(path="clusters", **options):
            page = stack.enter_context(profile(chromium, **options)).new_page()
            page.goto(f"{base}/{path}")
            page.fill("#username_input", "alice")
            page.fill("#password_input", "any")
            page.click("#login_submit")
            page.wait_for_url(f"{base}/{path}")
            return page

        yield _open


def listed(gateway, *clusters):
    gateway.answers["GET", LIST] = [(200, {"clusters": list(clusters), "limits": LIMITS, "used": USED})]


def fits(page):
    """Whether nothing is wider than the screen."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_fits_a_wide_and_a_narrow_screen(gateway, alice, scheme):
    gateway.answer("GET", f"{LIST}/{FOUR}/logs", 200, {"logs": ["scheduler", "a" * 32, "b" * 32]})
    lines = "".join(f"distributed.scheduler - INFO - line {number} {EVIL}\n" for number in range(60))
    gateway.answer("GET", f"{LIST}/{FOUR}/logs/scheduler", 200, lines + "x" * 500)
    states = {"empty": [], "mine": some_clusters("alice"), "everybodys": some_clusters("alice", "bob", "carol" * 8)}
    listed(gateway)
    page = alice(color_scheme=scheme)
    for width in (1100, 360):
        page.set_viewport_size({"width": width, "height": 800})
        for state, clusters in states.items():
            listed(gateway, *clusters)
            page.reload()
            expect(page.get_by_role("heading", name="Dask clusters")).to_be_visible()
            shot(page, f"clusters-{state}-{scheme}-{width}")
            assert fits(page), (state, width)
        page.goto(page.url + f"/{FOUR}/logs")
        expect(page.get_by_text(f"line 59 {EVIL}")).to_be_visible()
        shot(page, f"clusters-log-{scheme}-{width}")
        assert fits(page), width
        page.go_back()
    gateway.answers["GET", LIST] = [(422, {"error": "Your groups on this hub have no Dask."})]
    page.reload()
    expect(page.get_by_role("alert")).to_have_text("Your groups on this hub have no Dask.")
    shot(page, f"clusters-refused-{scheme}")


def test_the_page_keeps_itself_fresh_and_leaves_alone_who_reads(gateway, alice):
    listed(gateway, cluster(ONE, title="first"))
    page = alice()
    page.clock.install()
    page.reload()
    expect(page.get_by_role("heading", name="first")).to_be_visible()
    listed(gateway, cluster(ONE, title="second"))
    page.clock.run_for(12_000)
    expect(page.get_by_role("heading", name="second")).to_be_visible()
    page.get_by_role("link", name="Logs").focus()
    asked = len(gateway.asked)
    page.clock.run_for(60_000)
    expect(page.get_by_role("link", name="Logs")).to_be_focused()
    assert len(gateway.asked) == asked, "somebody is on the link with the keyboard"
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(2_000)
    expect(page.get_by_role("link", name="Logs")).not_to_be_focused()
    assert len(gateway.asked) > asked


@pytest.mark.parametrize("script", [True, False])
def test_the_button_stops_a_cluster_with_and_without_a_script(gateway, alice, script):
    listed(gateway, cluster(ONE, title="mine", user="alice"))
    gateway.answer("DELETE", f"{LIST}/{ONE}", 204, None)
    page = alice(java_script_enabled=script)
    listed(gateway, cluster(ONE, title="mine", user="alice", status="stopping", reason="It was stopped."))
    page.get_by_role("button", name="Stop the cluster of mine").click()
    expect(page.get_by_text("It was stopped.")).to_be_visible()
    assert page.url.endswith("/services/binder/clusters")
    assert gateway.requests("DELETE") == [("DELETE", f"{LIST}/{ONE}", None)]
    expect(page.get_by_role("button")).to_have_count(0)


def test_the_navigation_leads_there_by_keyboard(gateway, alice):
    listed(gateway)
    page = alice("")
    page.get_by_role("link", name="Clusters").press("Enter")
    expect(page.get_by_role("heading", name="No cluster is running")).to_be_visible()
