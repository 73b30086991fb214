"""The pages and the API of clusters: a real Hub and the real web, in front of a gateway that says what a test wants."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import requests

from launcher.policy.dask import DaskPolicy
from launcher.sessions.gateway import GatewayClusters
from tests.http.test_api import error_of
from tests.http.test_pages import FORM_HEADERS, xsrf
from tests.support.hub import free_port
from tests.support.scripted_gateway import cluster, scripted_gateway

LIST = "/api/v1/launcher/clusters"
ONE, TWO, THREE = (digit * 32 for digit in "123")
EVERYBODY = DaskPolicy(scope="access:services!service=binder")  # a scope that everybody here has
EVIL = "<script>alert(1)</script>"
LIMITS = {"clusters": 3, "workers": 4, "memory": 4 * 2**30}


def ago(**delta: float) -> str:
    return (datetime.now(UTC) - timedelta(**delta)).isoformat(timespec="seconds")


@pytest.fixture(scope="module")
def _gateway():
    with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
def behind(web):
    """Puts a gateway behind the web."""
    opened = []

    def _behind(address, policy=EVERYBODY):
        web.clusters = web.call(lambda: GatewayClusters(address, policy))
        opened.append(web.clusters)
        web.fresh()

    yield _behind
    for clusters in opened:
        web.call(clusters.close)
    web.clusters = None
    web.fresh()


@pytest.fixture
def gateway(_gateway, behind):
    """The scripted gateway behind the web, without anything that was scripted before."""
    _gateway.reset()
    behind(_gateway.address)
    return _gateway


def listed(gateway, *clusters, limits=None, used=None):
    gateway.answers["GET", LIST] = [(200, {"clusters": clusters, "limits": limits or {}, "used": used or {}})]


def with_logs(gateway, name, **logs):
    gateway.answer("GET", f"{LIST}/{name}/logs", 200, {"logs": list(logs)})
    for process, text in logs.items():
        gateway.answer("GET", f"{LIST}/{name}/logs/{process}", 200, text)


def words_of(page):
    """What a reader sees, without markup."""
    text = re.sub(r"<(script|style)\b.*?</\1>|</?time\b[^>]*>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", text).split())


def stop(browser, base, name, headers=(), **data):
    page = browser.get(f"{base}/clusters", timeout=20).text
    form = {"_xsrf": xsrf(page), **data}
    origin = re.match(r"http://[^/]+", base)[0]
    return browser.post(
        f"{base}/clusters/{name}/stop",
        data={key: value for key, value in form.items() if value is not None},
        headers={**FORM_HEADERS, "Origin": origin, **dict(headers)},
        allow_redirects=False,
        timeout=20,
    )


# -- the page


def test_nobody_is_sent_to_the_hubs_login(gateway, base):
    for path in ("clusters", f"clusters/{ONE}/logs", f"clusters/{ONE}/logs/scheduler"):
        answer = requests.get(f"{base}/{path}", allow_redirects=False, timeout=20)
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("/hub/api/oauth2/authorize?")
    assert gateway.asked == []


def test_everything_about_a_cluster_is_on_the_page(gateway, base, browser):
    running = cluster(
        ONE,
        user="alice",
        title="org/notes",
        environment="0123456789abcdef",
        workers=2,
        workers_wanted=3,
        worker_cores=2,
        cores=4,
        memory=4 * 2**30,
        started=ago(minutes=5.2),
        idle_seconds=130,
        keep_hours=2,
    )
    adaptive = cluster(TWO, user="alice", workers=1, minimum=0, maximum=8, idle_seconds=0, started=ago(hours=30))
    listed(
        gateway,
        running,
        adaptive,
        limits=LIMITS,
        used={"clusters": 2, "workers": 4, "cores": 7, "memory": 2**30},
    )
    page = browser.get(f"{base}/clusters", timeout=20)
    assert page.status_code == 200
    said = words_of(page.text)
    for words in (
        "org/notes running",
        "0123456789ab ·",
        "· 2 cores and 2 GiB for each worker",
        "kept for 2 hours after its session",
        "Workers 2 of 3 Cores 4",
        "Memory 4 GiB",
        "Age 5 minutes",
        "Idle 2 minutes",
        "Workers 1 of 0 adaptive, 0 to 8",
        "Age 30 hours",
        "Idle no",
        "Clusters 2 of 3",
        "Workers 4 of 4",
        "Cores 7, no limit",
        "Memory 1 GiB of 4 GiB",
    ):
        assert words in said, words
    assert f'href="/at/services/dask-gateway/clusters/{ONE}/status"' in page.text
    assert f'href="/services/binder/clusters/{ONE}/logs"' in page.text
    assert re.search(r'title="since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"', page.text)
    assert "alice" not in said.partition("Dask clusters Dask clusters")[2], "owners are for admins"


def test_clusters_that_ended_say_why(gateway, base, browser):
    failed = cluster(ONE, status="failed", reason="Its memory was used up.", started=ago(hours=5), stopped=ago(hours=3))
    silent = cluster(TWO, status="stopped", started=ago(hours=4), stopped=ago(hours=2), dashboard=None)
    listed(gateway, failed, silent)
    page = browser.get(f"{base}/clusters", timeout=20).text
    said = words_of(page)
    assert "Ended in the last 24 hours" in said
    assert "failed Its memory was used up. Ran for 2 hours, ended 3 hours ago" in said
    assert "stopped It ended. Ran for 2 hours, ended 2 hours ago" in said
    assert "<form" not in page, "there is nothing to stop"
    assert page.count(f"/clusters/{ONE}/logs") == 1


def test_the_empty_page_teaches_how_to_start_one_and_why_there_may_be_none(gateway, base, browser):
    listed(gateway)
    page = browser.get(f"{base}/clusters", timeout=20).text
    code = re.search(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL)[1]
    assert code.splitlines()[0] == "from dask_gateway import Gateway"
    assert len(code.splitlines()) == 3
    assert "“with Dask”" in page


def test_the_page_loads_itself_again_without_an_inline_script(gateway, base, browser):
    listed(gateway, cluster(ONE))
    page = browser.get(f"{base}/clusters", timeout=20)
    assert re.search(r'<noscript><meta http-equiv="refresh" content="\d+"></noscript>', page.text)
    assert re.findall(r'<script(?! type="application/json")[^>]*>(.*?)</script>', page.text) == [""]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"\sstyle=|\son[a-z]+=", page.text)
    source = re.search(r'src="([^"]+/refresh-[^"]+\.js)"', page.text)[1]
    assert requests.get(re.match(r"http://[^/]+", base)[0] + source, timeout=20).status_code == 200


def test_the_visitors_own_token_asks_the_gateway(gateway, base, browser, hub, api):
    listed(gateway)
    browser.get(f"{base}/clusters", timeout=20)
    api.get(f"{base}/api/v1/clusters", timeout=20)
    by_cookie, by_header = (one.authorization for one in gateway.asked)
    assert by_header == api.headers["Authorization"]
    owner = requests.get(f"{hub.url}hub/api/user", headers={"Authorization": by_cookie}, timeout=20).json()
    assert owner["name"] == "alice"


# -- stopping


def test_the_button_stops_a_cluster_and_leads_back(gateway, base, browser):
    listed(gateway, cluster(ONE, user="alice"))
    gateway.answer("DELETE", f"{LIST}/{ONE}", 204, None)
    page = browser.get(f"{base}/clusters", timeout=20).text
    assert re.search(r'<form method="post" action="([^"]+)"', page)[1] == f"/services/binder/clusters/{ONE}/stop"
    answer = stop(browser, base, ONE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/services/binder/clusters")
    assert gateway.requests("DELETE") == [("DELETE", f"{LIST}/{ONE}", None)]


@pytest.mark.parametrize(
    ("headers", "data"),
    [
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}, {}),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://user.hub.test"}, {}),
        ({"Origin": "null"}, {}),
        ({"Sec-Fetch-Mode": "cors"}, {}),
        ({"Sec-Fetch-Mode": "no-cors"}, {}),
        ({}, {"_xsrf": None}),
        ({}, {"_xsrf": "2|abc|def|123"}),
    ],
)
def test_nobody_else_can_press_the_button(gateway, base, browser, headers, data):
    listed(gateway, cluster(ONE, user="alice"))
    answer = stop(browser, base, ONE, headers, **data)
    assert answer.status_code == 403
    assert "cross_site_refused" in answer.text
    assert gateway.requests("DELETE") == []


def test_the_button_needs_a_login_and_a_get_stops_nothing(gateway, base, browser):
    listed(gateway)
    assert requests.post(f"{base}/clusters/{ONE}/stop", data={}, timeout=20).status_code == 403
    assert browser.get(f"{base}/clusters/{ONE}/stop", timeout=20).status_code == 405
    assert gateway.requests("DELETE") == []


@pytest.mark.parametrize("path", ["clusters", f"clusters/{ONE}/logs", f"clusters/{ONE}/logs/scheduler"])
@pytest.mark.parametrize("mode", ["cors", "same-origin", "no-cors"])
def test_a_script_on_the_hubs_own_origin_reads_nothing(gateway, base, browser, path, mode):
    listed(gateway, cluster(ONE, title="secret-title"))
    with_logs(gateway, ONE, scheduler="secret-log")
    answer = browser.get(f"{base}/{path}", headers={"Sec-Fetch-Mode": mode, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 403
    assert "secret" not in answer.text
    assert gateway.asked == []


# -- logs


def test_logs_are_text_with_the_scheduler_first(gateway, base, browser):
    worker = "a" * 32
    listed(gateway, cluster(ONE, status="failed", reason="A worker used too much memory.", title="org/notes"))
    log = f"first line\n\x1b[31m{EVIL} </pre>\x1b[0m\x07\n&amp;\n"
    with_logs(gateway, ONE, scheduler=log, **{worker: "the worker's words"})
    page = browser.get(f"{base}/clusters/{ONE}/logs", timeout=20)
    text = re.search(r'<pre class="log tall"[^>]*>(.*?)</pre>', page.text, re.DOTALL)[1]
    assert text == "first line\n&lt;script&gt;alert(1)&lt;/script&gt; &lt;/pre&gt;\n&amp;amp;\n"
    assert "A worker used too much memory." in page.text
    links = re.findall(r'href="/services/binder/clusters/1+/logs/(\w+)"', page.text)
    assert links == ["scheduler", worker]
    other = browser.get(f"{base}/clusters/{ONE}/logs/{worker}", timeout=20).text
    assert "the worker&#39;s words" in other
    assert "first line" not in other


def test_logs_without_words_say_so(gateway, base, browser):
    listed(gateway, cluster(ONE), cluster(TWO, status="failed"))
    with_logs(gateway, ONE, scheduler="")
    with_logs(gateway, TWO)
    assert "This process has written nothing." in browser.get(f"{base}/clusters/{ONE}/logs", timeout=20).text
    assert "There is no log." in browser.get(f"{base}/clusters/{TWO}/logs", timeout=20).text


@pytest.mark.parametrize("path", [f"{ONE}/logs/nothing", f"{TWO}/logs", "x/logs", f"{ONE}/logs/..%2F..", f"{ONE}x"])
def test_a_log_that_is_not_there_is_a_404(gateway, base, browser, path):
    listed(gateway, cluster(ONE))
    with_logs(gateway, ONE, scheduler="words")
    gateway.answer("GET", f"{LIST}/{TWO}/logs", 404, {"error": "There is no such cluster."})
    answer = browser.get(f"{base}/clusters/{path}", timeout=20)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_a_log_longer_than_promised_is_cut(gateway, base, api):
    with_logs(gateway, ONE, scheduler="x" * (300 * 1024) + "the end")
    text = api.get(f"{base}/api/v1/clusters/{ONE}/logs/scheduler", timeout=20).text
    assert len(text) == 256 * 1024
    assert text.endswith("the end")


# -- what gateways and other people's code may say


HOSTILE = {
    "title": EVIL + "\u202e\x00\n" + "t" * 10_000,
    "user": EVIL,
    "reason": EVIL + "r" * 10_000,
    "environment": '"><img src=x onerror=alert(1)>',
    "workers": "9" * 9,
    "workers_wanted": -1,
    "minimum": 2.5,
    "maximum": [],
    "cores": 1e300,
    "memory": None,
    "started": "0001-01-01T00:00:00+23:59",
    "stopped": EVIL,
    "idle_seconds": EVIL,
    "keep_hours": True,
}


@pytest.mark.parametrize("status", ["running", "failed"])
def test_nothing_foreign_becomes_markup_or_an_error(gateway, base, browser, status):
    good = cluster(TWO, title="still here")
    dashboard = "javascript:alert(1)"
    listed(gateway, cluster(ONE, **HOSTILE, status=status, dashboard=dashboard), good, limits=EVIL, used={"cores": []})
    with_logs(gateway, ONE, scheduler="words")
    for path in ("clusters", f"clusters/{ONE}/logs"):
        page = browser.get(f"{base}/{path}", timeout=20)
        assert page.status_code == 200
        assert EVIL not in page.text
        assert "<img src=x" not in page.text
        assert "javascript:" not in page.text
        assert "\u202e" not in page.text
        assert "t" * 300 not in page.text
        assert "r" * 600 not in page.text
    assert "still here" in browser.get(f"{base}/clusters", timeout=20).text


@pytest.mark.parametrize(
    "dashboard",
    ["//evil.test/x", "https://evil.test/", "/a/../../x", "/a?x", "/a#x", "/a b", "relative", "", 7, "/\\evil.test"],
)
def test_a_dashboard_is_a_path_of_this_host(gateway, base, browser, dashboard):
    listed(gateway, cluster(ONE, dashboard=dashboard))
    page = browser.get(f"{base}/clusters", timeout=20)
    assert page.status_code == 200
    assert ">Dashboard</a>" not in page.text


@pytest.mark.parametrize(
    "body",
    ["nonsense", "[]", "null", "{}", '{"clusters": {}}', "[" * 100_000, '{"clusters": [], "x": "' + "y" * 9_000_000],
)
def test_an_answer_that_is_none_is_said_in_a_sentence(gateway, base, browser, api, body):
    gateway.answers["GET", LIST] = [(200, body)]
    page = browser.get(f"{base}/clusters", timeout=30)
    assert page.status_code == 503
    assert "Dask on this hub does not answer." in page.text
    assert error_of(api.get(f"{base}/api/v1/clusters", timeout=30), 503)["code"] == "dask_unavailable"


def test_what_is_no_cluster_is_left_out(gateway, base, api):
    odd = [None, 7, {}, [], {"name": "../x", "status": "running"}, cluster(ONE, status="odd"), cluster(TWO)]
    listed(gateway, *odd)
    found = api.get(f"{base}/api/v1/clusters", timeout=20).json()["clusters"]
    assert [one["name"] for one in found] == [TWO]


# -- refusals


@pytest.mark.parametrize(
    "refusal",
    [
        (401, {"error": "This token is not one of the hub's."}, 403, "login_required"),
        (403, {"error": "Not for you."}, 403, "dask_not_allowed"),
        (422, {"error": f"Your groups have no Dask. {EVIL}"}, 403, "dask_not_allowed"),
        (404, "404 page not found", 503, "dask_unavailable"),
        (404, {"error": "There is no such cluster."}, 404, "cluster_not_found"),
        (500, "Traceback: /root/secret", 503, "dask_unavailable"),
        (503, {"error": "JupyterHub does not answer. Try again in a moment."}, 503, "dask_unavailable"),
        (302, "http://127.0.0.1:1/elsewhere", 503, "dask_unavailable"),
    ],
)
def test_a_refusal_of_the_gateway_is_told_in_our_shape(gateway, base, browser, api, refusal):
    status, body, expected, code = refusal
    gateway.answers["GET", LIST] = [(status, body)]
    page = browser.get(f"{base}/clusters", timeout=20)
    assert page.status_code == expected
    assert EVIL not in page.text
    assert "secret" not in page.text
    error = error_of(api.get(f"{base}/api/v1/clusters", timeout=20), expected)
    assert error["code"] == code
    if code == "dask_not_allowed" or status == 503:
        assert error["message"] == body["error"]


def test_a_gateway_that_is_down_is_said_in_a_sentence(behind, base, browser):
    behind(f"http://127.0.0.1:{free_port()}/services/dask-gateway")
    page = browser.get(f"{base}/clusters", timeout=20)
    assert page.status_code == 503
    assert "Clusters go on running" in page.text
    assert "Retry-After" in page.headers


def test_somebody_without_dask_is_told_why_before_the_gateway_is_asked(gateway, behind, base, browser, api):
    behind(gateway.address, DaskPolicy(scope="access:services!service=dask-gateway", groups=("scientists",)))
    page = browser.get(f"{base}/clusters", timeout=20)
    assert page.status_code == 403
    assert "Your groups on this hub have no Dask." in page.text
    assert "Dask clusters</h1>" in page.text
    error = error_of(api.get(f"{base}/api/v1/clusters", timeout=20), 403)
    assert (error["code"], error["message"]) == ("dask_not_allowed", "Your groups on this hub have no Dask.")
    assert gateway.asked == []


def test_on_a_hub_without_dask_there_is_nothing_and_no_link_to_it(web, base, browser, api):
    assert "/clusters" not in browser.get(f"{base}/", timeout=20).text
    answer = browser.get(f"{base}/clusters", timeout=20)
    assert answer.status_code == 404
    assert "This hub has no Dask clusters." in answer.text
    error_of(api.get(f"{base}/api/v1/clusters", timeout=20), 404)


def test_every_page_links_to_the_clusters_of_a_hub_with_dask(gateway, base, browser):
    for path in ("", "about", "nonsense"):
        assert '<a href="/services/binder/clusters">Clusters</a>' in browser.get(f"{base}/{path}", timeout=20).text


# -- the API


def test_the_api_tells_what_the_gateway_says(gateway, base, api):
    said = cluster(ONE, user="alice", idle_seconds=3.5, started="2026-01-02T03:04:05+00:00", keep_hours=0.5)
    listed(gateway, said, limits=LIMITS, used={"clusters": 1})
    answer = api.get(f"{base}/api/v1/clusters", timeout=20).json()
    assert answer == {"clusters": [said], "limits": LIMITS, "used": {"clusters": 1}}
    with_logs(gateway, ONE, scheduler=f"{EVIL}\n")
    assert api.get(f"{base}/api/v1/clusters/{ONE}/logs", timeout=20).json() == {"logs": ["scheduler"]}
    log = api.get(f"{base}/api/v1/clusters/{ONE}/logs/scheduler", timeout=20)
    assert log.text == f"{EVIL}\n"
    assert log.headers["content-type"] == "text/plain; charset=UTF-8"
    assert log.headers["x-content-type-options"] == "nosniff"
    gateway.answer("DELETE", f"{LIST}/{ONE}", 204, None)
    assert api.delete(f"{base}/api/v1/clusters/{ONE}", timeout=20).status_code == 204
    assert gateway.requests("DELETE") == [("DELETE", f"{LIST}/{ONE}", None)]


@pytest.mark.parametrize("path", ["", f"/{ONE}/logs", f"/{ONE}/logs/scheduler"])
def test_the_api_takes_no_cookie(gateway, base, browser, path):
    answer = browser.get(f"{base}/api/v1/clusters{path}", timeout=20)
    assert error_of(answer, 403)["code"] == "login_required"
    assert gateway.asked == []


def test_the_api_stops_nothing_for_a_cookie(gateway, base, browser):
    listed(gateway)
    token = xsrf_cookie(browser, base)
    headers = {"X-XSRFToken": token, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    answer = browser.delete(f"{base}/api/v1/clusters/{ONE}", headers=headers, timeout=20)
    assert error_of(answer, 403)["code"] in {"login_required", "cross_site_refused"}
    assert gateway.requests("DELETE") == []


def xsrf_cookie(browser, base):
    browser.get(f"{base}/clusters", timeout=20)
    return next(
        (one.value for one in browser.cookies if one.name == "_xsrf" and one.path.startswith("/services/binder")), ""
    )


def test_numbers_that_are_none_in_json_are_read_as_unknown(gateway, base, api):
    gateway.answers["GET", LIST] = [(200, json.dumps({"clusters": [cluster(ONE, idle_seconds=float("inf"))]}))]
    (found,) = api.get(f"{base}/api/v1/clusters", timeout=20).json()["clusters"]
    assert found["idle_seconds"] is None
