"""JupyterLab's Dask panel in a session, with a real gateway, real clusters and Chromium."""

from __future__ import annotations

import json
import re

import pytest
import requests
from playwright.sync_api import expect

from tests.support.browser import profile, shot
from tests.support.dask import dask_world
from tests.support.running import Session, eventually

__all__ = ["dask_world"]

KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
NOTEBOOK = {"cells": [], "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}
SLOW = 60_000


@pytest.fixture
def session(up):
    """The regular session of the launcher's user; it and its clusters end with the test."""
    up.api("POST", f"/users/{up.user}/server")
    eventually(lambda: _is_ready(up), seconds=60, what="the regular session")
    session = Session(f"{up.url}/user/{up.user}/", up.token)
    yield session
    for cluster in session.get("dask/clusters").json():  # they would wait for the next test's session
        requests.delete(f"{session.url}dask/clusters/{cluster['id']}", headers=session.headers, timeout=30)
    up.stop_sessions()


def _is_ready(up) -> bool:
    servers = up.api("GET", f"/users/{up.user}").json()["servers"]
    return bool(servers.get("", {}).get("ready"))


@pytest.fixture
def panel(session, page):
    """JupyterLab with the Dask panel open."""
    return opened(page, f"{session.url}lab?reset")


@pytest.fixture
def notebook(session, page):
    """The same beside a notebook whose kernel runs."""
    body = {"type": "notebook", "content": NOTEBOOK}
    requests.put(f"{session.url}api/contents/work.ipynb", headers=session.headers, json=body, timeout=30)
    opened(page, f"{session.url}lab/tree/work.ipynb?reset")
    expect(page.locator(".jp-Notebook")).to_be_visible(timeout=SLOW)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("Idle", timeout=SLOW)
    return page


def opened(page, address: str):
    page.set_viewport_size({"width": 1500, "height": 950})
    page.goto(address)
    page.locator('[data-id="dask-dashboard-launcher"]').click(timeout=SLOW)
    expect(page.locator(".dask-DaskSidebar")).to_be_visible()
    return page


def clusters(page):
    return page.locator("li.dask-ClusterListingItem")


def new_cluster(page):
    page.locator(".dask-DaskClusterManager").get_by_role("button", name="NEW").click()
    expect(clusters(page)).to_have_count(1, timeout=SLOW)
    expect(clusters(page)).to_contain_text("Number of Workers: 0")
    return clusters(page)


def scale(page, workers: int) -> None:
    clusters(page).get_by_role("button", name="SCALE").click()
    dialog = page.locator(".jp-Dialog")
    dialog.locator("input[type=number]").first.fill(str(workers))
    dialog.get_by_role("button", name="SCALE").click()


def test_the_panel_makes_scales_shows_and_ends_a_cluster(panel, session):
    cluster = new_cluster(panel)
    shot(panel, "dask-panel-new-cluster")
    scale(panel, 1)
    expect(cluster).to_contain_text("Number of Workers: 1", timeout=SLOW)
    expect(cluster).to_contain_text("Memory: 2.00 GiB")

    panel.locator(".dask-DashboardListing-list").get_by_role("button", name="Task Stream", exact=True).click(
        timeout=SLOW
    )
    pane = panel.frame_locator('iframe[src*="individual-task-stream"]')
    expect(pane.locator("canvas").first).to_be_visible(timeout=SLOW)
    frame = next(frame for frame in panel.frames if "individual-task-stream" in frame.url)
    assert "/services/dask-gateway/clusters/" in frame.url
    shot(panel, "dask-panel-task-stream")

    (listed,) = session.get("dask/clusters").json()
    link = cluster.locator("a")
    assert link.get_attribute("href") == listed["dashboard_link"]

    cluster.get_by_role("button", name="SHUTDOWN").click()
    expect(clusters(panel)).to_have_count(0, timeout=SLOW)
    assert session.get("dask/clusters").json() == []


def test_the_code_that_the_panel_writes_connects_to_the_cluster(notebook):
    cluster = new_cluster(notebook)
    scale(notebook, 1)
    expect(cluster).to_contain_text("Number of Workers: 1", timeout=SLOW)
    notebook.locator(".jp-Notebook .jp-Cell").first.click()
    cluster.locator(".dask-ClusterListingItem-code").click()
    cell = notebook.locator(".jp-Notebook .jp-Cell").first
    expect(cell).to_contain_text('client = Client("gateway://127.0.0.1:')
    cell.locator(".cm-content").click()
    notebook.keyboard.press("Control+End")
    notebook.keyboard.type(".submit(sum, [20, 22]).result(60)")
    notebook.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea-output").last).to_have_text(re.compile(r"^\s*42\s*$"), timeout=SLOW)
    shot(notebook, "dask-panel-client")


def test_a_cluster_made_in_code_is_in_the_panel_and_a_limit_is_told_in_words(panel, session):
    made = json.loads(
        session.run(
            "import json\nfrom dask_gateway import Gateway\ngateway = Gateway()\n"
            "print(json.dumps([gateway.submit() for _ in range(4)]))"
        )
    )
    expect(clusters(panel)).to_have_count(4, timeout=SLOW)
    assert {one.get_attribute("data-cluster-id") for one in clusters(panel).all()} == set(made)
    panel.locator(".dask-DaskClusterManager").get_by_role("button", name="NEW").click()
    dialog = panel.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Cluster Start Error")
    expect(dialog).to_contain_text("4 clusters")
    shot(panel, "dask-panel-limit")


def test_a_page_without_the_sessions_xsrf_token_makes_no_cluster(panel, session):
    status = panel.evaluate(
        "url => fetch(url, {method: 'PUT'}).then(answer => answer.status)", f"{session.url}dask/clusters"
    )
    assert status == 403
    assert session.get("dask/clusters").json() == []


@pytest.fixture
def regular_session(dask_world, chromium):
    """JupyterLab in a person's regular session of a hub below a base_url, with the Dask panel open."""
    contexts, people = [], []

    def open_for(person):
        people.append(person)
        dask_world.as_person(person, "POST", f"/users/{person}/server")
        ready = lambda: dask_world.servers(person).get("", {}).get("ready")  # noqa: E731 - a question, not a part
        eventually(ready, seconds=60, what="the regular session")
        contexts.append(profile(chromium))
        page = contexts[-1].__enter__().new_page()
        page.goto(f"{dask_world.hub.url}hub/login")
        page.fill("#username_input", person)
        page.fill("#password_input", "any")
        page.click("#login_submit")
        page.wait_for_url("**/user/**")
        return opened(page, f"{dask_world.hub.url}user/{person}/lab?reset")

    yield open_for
    for context in contexts:
        context.__exit__(None, None, None)
    for person in people:
        dask_world.as_person(person, "DELETE", f"/users/{person}/server")


def test_below_a_base_url_panes_open_from_the_cluster_and_from_the_addresses_people_paste(regular_session, dask_world):
    page = regular_session("ana")
    cluster = new_cluster(page)
    link = cluster.locator("a").get_attribute("href")
    assert link.startswith("/campus/services/dask-gateway/clusters/")
    address, plots = page.locator(".dask-URLInput input"), page.locator(".dask-DashboardListing-list button")
    expect(plots.first).to_be_visible(timeout=SLOW)
    names = ("Progress", "Occupancy")  # each address opens a pane of its own
    for name, typed in zip(names, (link, f"{dask_world.hub.url.removesuffix('/campus/')}{link}"), strict=True):
        address.fill("http://127.0.0.1:9/status")
        address.press("Enter")
        expect(plots).to_have_count(0, timeout=SLOW)
        address.fill(typed)
        address.press("Enter")
        page.locator(".dask-DashboardListing-list").get_by_role("button", name=name, exact=True).click(timeout=SLOW)
        pane = page.frame_locator(f'iframe[src*="individual-{name.lower()}"]')
        expect(pane.locator("canvas").first).to_be_visible(timeout=SLOW)
    cluster.get_by_role("button", name="SHUTDOWN").click()
    expect(clusters(page)).to_have_count(0, timeout=SLOW)


def test_a_person_without_dask_reads_why_there_is_no_new_cluster(regular_session):
    page = regular_session("carol")
    page.locator(".dask-DaskClusterManager").get_by_role("button", name="NEW").click()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Cluster Start Error")
    shot(page, "dask-panel-without-the-right")
    assert len(dialog.locator(".jp-Dialog-body").inner_text().split()) > 4
    expect(clusters(page)).to_have_count(0)
