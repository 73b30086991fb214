"""The page and the API of clusters with real clusters of several people, below a base URL."""

from __future__ import annotations

import re

import pytest
import requests

from tests.support.dask import DASK, Clusters
from tests.support.running import eventually

FAILS = """
from dask_gateway import Gateway
cluster = Gateway().new_cluster(shutdown_on_close=False)
client = cluster.get_client()
print(cluster.name)
def fail():
    import os
    print("<b>last words</b>", flush=True)
    os._exit(7)
try:
    client.sync(client._run_on_scheduler, fail, callback_timeout=10)
except Exception:
    pass  # nobody is left who could answer
"""
FORM = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def browsers(dask_world):
    """People in browsers, logged in at the launcher."""
    opened = {}

    def _browser(person):
        if person not in opened:
            dask_world.token(person)  # makes the person
            opened[person] = dask_world.hub.login_session(person)
            opened[person].headers.update(
                {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
            )
            opened[person].get(dask_world.service, timeout=30)  # walks through the Hub's OAuth
        return opened[person]

    yield _browser
    for session in opened.values():
        session.close()


@pytest.fixture(scope="module")
def pages(dask_world, browsers):
    """The text of a page of the launcher, as a person sees it."""

    def _page(person, path="clusters", status=200):
        answer = browsers(person).get(f"{dask_world.service}{path}", timeout=30)
        assert answer.status_code == status, answer.text
        return answer.text

    return _page


@pytest.fixture(scope="module")
def cluster(dask_world):
    """Ana's cluster with one worker, from a session of hers."""
    dask_world.launch("ana", dask_world.repository("dask-page", {"requirements.txt": DASK}))
    clusters = Clusters(dask_world.hub.url, dask_world.token("ana"))
    name = clusters.start()
    assert clusters.scale(name, 1).status_code == 200
    eventually(lambda: clusters.one(name)["workers"] == 1, seconds=60, what="a worker")
    yield name
    clusters.call("DELETE", f"launcher/clusters/{name}")
    eventually(lambda: not clusters.live(), what="the end of the cluster")


def press_stop(dask_world, browser, name, page):
    origin = re.match(r"http://[^/]+", dask_world.service)[0]
    token = re.search(r'name="_xsrf" value="([^"]+)"', page)[1]
    address = f"{dask_world.service}clusters/{name}/stop"
    headers = {**FORM, "Origin": origin}
    return browser.post(address, data={"_xsrf": token}, headers=headers, allow_redirects=False, timeout=30)


def api(dask_world, person, method, path):
    return requests.request(
        method, f"{dask_world.service}api/v1/clusters{path}", headers=dask_world.headers(person), timeout=30
    )


def test_owners_and_admins_see_it_and_nobody_else(cluster, pages, dask_world):
    mine = pages("ana")
    assert "dask-page" in mine
    assert re.search(r"<dt>Workers</dt><dd>1 of 1</dd>", mine)
    assert "1 core and 1 GiB for each worker" in mine
    assert f'href="/campus/services/dask-gateway/clusters/{cluster}/status"' in mine
    assert "<dt>Clusters</dt><dd>1 of 3</dd>" in mine
    everybodys = pages("root")
    assert cluster in everybodys
    assert '<p class="eyebrow">ana</p>' in everybodys
    assert cluster not in pages("bob")
    assert [one["name"] for one in api(dask_world, "ana", "GET", "").json()["clusters"]].count(cluster) == 1
    assert cluster in {one["name"] for one in api(dask_world, "root", "GET", "").json()["clusters"]}
    assert cluster not in {one["name"] for one in api(dask_world, "bob", "GET", "").json()["clusters"]}


def test_the_link_to_the_dashboard_opens_it(cluster, pages, browsers, dask_world):
    path = re.search(r'href="([^"]+/status)"', pages("ana"))[1]
    origin = re.match(r"http://[^/]+", dask_world.service)[0]
    answer = browsers("ana").get(origin + path, timeout=60)
    assert answer.status_code == 200
    assert "Bokeh" in answer.text


def test_somebody_without_dask_reads_why(pages, dask_world):
    page = pages("carol", status=403)
    assert "Your groups on this hub have no Dask." in page
    error = api(dask_world, "carol", "GET", "").json()["error"]
    assert (error["code"], error["message"]) == ("dask_not_allowed", "Your groups on this hub have no Dask.")


def test_somebody_elses_cluster_is_not_there(cluster, pages, browsers, dask_world):
    for path in (f"clusters/{cluster}/logs", f"clusters/{cluster}/logs/scheduler"):
        assert "There is no such cluster." in pages("bob", path, status=404)
    form_of_his = pages("bob", f"v2/{dask_world.repository('unknown')}")  # any form has his token
    assert press_stop(dask_world, browsers("bob"), cluster, form_of_his).status_code == 404
    for method, path in (("DELETE", f"/{cluster}"), ("GET", f"/{cluster}/logs"), ("GET", f"/{cluster}/logs/scheduler")):
        answer = api(dask_world, "bob", method, path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "cluster_not_found"
    assert cluster in pages("ana")


def test_logs_are_there_while_it_runs(cluster, pages):
    page = pages("ana", f"clusters/{cluster}/logs")
    links = re.findall(rf'href="/campus/services/binder/clusters/{cluster}/logs/(\w+)"', page)
    assert links[0] == "scheduler"
    assert len(links) >= 2
    for process in links:
        assert process in pages("root", f"clusters/{cluster}/logs/{process}")


def test_the_button_stops_it_and_its_logs_stay(cluster, pages, browsers, dask_world):
    answer = press_stop(dask_world, browsers("ana"), cluster, pages("ana"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/campus/services/binder/clusters")
    ended = Clusters(dask_world.hub.url, dask_world.token("ana")).wait_for(cluster, "stopped")
    assert ended["reason"] == "It was stopped."
    page = pages("ana")
    assert "It was stopped." in page
    assert f"clusters/{cluster}/stop" not in page
    assert "scheduler" in pages("ana", f"clusters/{cluster}/logs")


def test_an_admin_stops_a_cluster_of_somebody(pages, browsers, dask_world):
    clusters = Clusters(dask_world.hub.url, dask_world.token("ana"))
    dask_world.launch("ana", dask_world.repository("dask-page", {"requirements.txt": DASK}))
    name = clusters.start()
    assert press_stop(dask_world, browsers("root"), name, pages("root")).status_code == 303
    assert clusters.wait_for(name, "stopped")["reason"] == "root stopped it."


def test_a_cluster_that_failed_says_why_and_its_log_can_be_read(pages, dask_world):
    session = dask_world.launch("ana", dask_world.repository("dask-page", {"requirements.txt": DASK}))
    name = session.run(FAILS, seconds=90).split()[0]
    ended = Clusters(dask_world.hub.url, dask_world.token("ana")).wait_for(name, "failed")
    assert ended["reason"]
    page = pages("ana")
    assert ended["reason"] in page
    log = pages("ana", f"clusters/{name}/logs")
    assert "&lt;b&gt;last words&lt;/b&gt;" in log
    assert ended["reason"] in log
    assert "<b>last words" in api(dask_world, "ana", "GET", f"/{name}/logs/scheduler").text
