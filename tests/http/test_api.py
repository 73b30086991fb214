"""The JSON API and what machines ask about the service."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from launcher.errors import RecipeUnsupported
from launcher.sessions.base import LaunchEvent
from launcher.web.service import Health
from tests.http.test_build_stream import page_config
from tests.support.scripted_launches import BUILD, COMMIT


def error_of(answer: requests.Response, status: int) -> dict[str, str]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert set(body) == {"error"}
    assert {"code", "message", "hint", "id"} <= set(body["error"])
    assert str(Path(__file__).parents[2]) not in answer.text
    assert "Traceback" not in answer.text
    return body["error"]


API_ROUTES = [
    ("GET", "api/v1/preview?spec=gh/u/r/HEAD"),
    ("POST", "api/v1/launches"),
    ("POST", "api/v1/build-token"),
    ("GET", "api/v1/builds"),
    ("GET", "api/v1/builds/b-1"),
    ("DELETE", "api/v1/builds/b-1"),
    ("GET", "api/v1/builds/b-1/log"),
    ("GET", "api/v1/builds/b-1/events"),
    ("GET", "api/v1/builds/b-1/share"),
    ("POST", "api/v1/links"),
    ("GET", "api/v1/sessions"),
    ("DELETE", "api/v1/sessions/r-abc"),
    ("GET", "api/v1/repositories"),
    ("DELETE", "api/v1/trust?repository=gh:github.com/u/r"),
    ("GET", "api/v1/project-homes/r-abc"),
    ("DELETE", "api/v1/project-homes/r-abc"),
    ("GET", "api/v1/project-homes/r-abc/archive"),
]


@pytest.mark.parametrize(("method", "path"), API_ROUTES)
def test_every_address_refuses_nobody_in_the_one_shape(web, base, method, path):
    headers = {"Accept": "text/event-stream" if path.endswith("events") else "*/*"}
    error_of(requests.request(method, f"{base}/{path}", headers=headers, timeout=20), 403)
    assert web.launches.requests == []
    assert web.launches.cancelled == []


@pytest.mark.parametrize(("method", "path"), API_ROUTES)
def test_every_address_names_the_methods_it_knows(web, base, api, method, path):
    answer = api.request("PATCH", f"{base}/{path}", timeout=20)
    assert error_of(answer, 405)["code"] == "method_not_allowed"
    assert method in answer.headers["allow"]


@pytest.mark.parametrize(("method", "path"), [route for route in API_ROUTES if route[0] != "GET"])
def test_a_cookie_without_the_xsrf_token_changes_nothing(web, base, browser, method, path):
    for mode in ("cors", "navigate", "no-cors"):
        answer = browser.request(
            method,
            f"{base}/{path}",
            headers={"Sec-Fetch-Mode": mode, "Sec-Fetch-Site": "same-origin"},
            json={},
            timeout=20,
        )
        error_of(answer, 403)
    assert web.launches.requests == []
    assert web.launches.cancelled == []


@pytest.mark.parametrize(
    "path", ["api/v1/nope", "api/v2/builds", "api/v1/builds/../../x", "api/", "api/v1/builds/a%00b"]
)
def test_unknown_addresses_below_the_api_are_json_too(web, base, api, path):
    request = requests.Request("GET", f"{base}/{path}", headers=dict(api.headers)).prepare()
    request.url = f"{base}/{path}"
    answer = requests.Session().send(request, timeout=20)
    assert answer.status_code in {400, 404}
    if "/../" not in path:
        error_of(answer, answer.status_code)


def test_a_preview_tells_without_doing(web, base, api):
    body = api.get(f"{base}/api/v1/preview", params={"spec": "git/https%3A%2F%2Fh%2Fr/x"}, timeout=20).json()["preview"]
    assert body["spec"] == "git/https%3A%2F%2Fh%2Fr/x"
    assert body["ref"] == COMMIT
    assert (body["trust"], body["home"], body["environment_status"]) == ("trusted", "personal", "ready")
    assert web.launches.requests == []


class TestLaunches:
    def test_a_launch_is_accepted_when_it_is_under_way(self, web, base, api):
        web.launches.script = BUILD
        answer = api.post(f"{base}/api/v1/launches", json={"spec": "gh/u/r/HEAD", "labpath": "a.ipynb"}, timeout=20)
        assert answer.status_code == 202
        launch = answer.json()["launch"]
        assert launch["build_id"] == "b-1"
        assert launch["events_url"] == f"{base}/build/gh/u/r/HEAD"
        (request,) = web.launches.requests
        assert request.confirmed
        assert request.open_path == "doc/tree/a.ipynb"
        told = api.get(launch["events_url"], headers={"Accept": "text/event-stream"}, timeout=20).text
        assert '"ready"' in told

    def test_a_refused_launch_is_its_error(self, web, base, api):
        error = RecipeUnsupported("apt.txt cannot be used.", hint="Use containers.")
        data = {"code": error.code, "hint": error.hint, "status_code": error.http_status}
        web.launches.script = (LaunchEvent("failed", error.message + "\n", data),)
        answer = api.post(f"{base}/api/v1/launches", json={"spec": "gh/u/r/HEAD"}, timeout=20)
        told = error_of(answer, 422)
        assert (told["code"], told["message"], told["hint"]) == (error.code, error.message, error.hint)

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"[]", 400),
            (b"null", 400),
            (b"42", 400),
            (b'{"spec": NaN}', 400),
            (b'{"spec": "gh/u/r/HEAD", "spec": "gh/u/r/x"}', 400),
            (b"[" * 10_000, 400),
            (b'{"a":' * 9_000, 400),
            ('{"spec": "é"}'.encode("latin-1"), 400),
            (b"", 400),
            (b'{"spec": 1}', 400),
            (b'{"spec": "gh/u/r"}', 400),
            (b'{"spec": "nope/u"}', 404),
            (b'{"spec": ""}', 404),
            (b'{"spec": "gh/u/r/HEAD", "trust": "yes"}', 400),
            (b'{"spec": "gh/u/r/HEAD", "urlpath": "https://evil.test"}', 400),
            (b'{"spec": "gh/u/r/HEAD", "urlpath": "\\ud800"}', 400),
        ],
    )
    def test_bad_bodies_are_client_errors(self, web, base, api, body, status):
        headers = {"Content-Type": "application/json"}
        error_of(api.post(f"{base}/api/v1/launches", data=body, headers=headers, timeout=20), status)
        assert web.launches.requests == []

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
    def test_only_json_is_read(self, web, base, api, kind):
        body = json.dumps({"spec": "gh/u/r/HEAD"})
        error_of(api.post(f"{base}/api/v1/launches", data=body, headers={"Content-Type": kind}, timeout=20), 400)
        assert web.launches.requests == []

    def test_a_large_body_is_not_read(self, web, base, direct, api):
        address = urlsplit(direct)
        with socket.create_connection((address.hostname, address.port), timeout=20) as client:
            client.sendall(
                f"POST {address.path}/api/v1/launches HTTP/1.1\r\nHost: {address.netloc}\r\n"
                f"Authorization: {api.headers['Authorization']}\r\nContent-Length: {2**30}\r\n\r\n".encode()
            )
            answer = client.recv(1000)  # at the headers: nobody waits for the gigabyte
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert web.launches.requests == []
        assert api.get(f"{base}/api/v1/builds", timeout=20).status_code == 200

    def test_a_cookie_needs_the_pages_token_as_well(self, web, base, browser):
        config = page_config(browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20).text)
        headers = {"X-XSRFToken": config["xsrfToken"], "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
        body = {"spec": "gh/u/r/HEAD"}
        error_of(browser.post(f"{base}/api/v1/launches", json=body, headers=headers, timeout=20), 403)
        body["build_token"] = config["buildToken"]
        assert browser.post(f"{base}/api/v1/launches", json=body, headers=headers, timeout=20).status_code == 202
        (request,) = web.launches.requests
        assert (request.wants_token, request.confirmed) == (False, False)

    def test_the_rate_is_limited_with_retry_after(self, web, base, api):
        web.fresh(launches_per_minute=1)
        body = {"spec": "gh/u/r/HEAD"}
        assert api.post(f"{base}/api/v1/launches", json=body, timeout=20).status_code == 202
        answer = api.post(f"{base}/api/v1/launches", json=body, timeout=20)
        assert error_of(answer, 429)["code"] == "rate_limited"
        assert 0 < int(answer.headers["retry-after"]) <= 60


def test_an_open_page_renews_its_token(web, base, browser):
    config = page_config(browser.get(f"{base}/v2/gh/u/r/HEAD/", timeout=20).text)
    headers = {"X-XSRFToken": config["xsrfToken"], "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    body = {"spec": config["specPath"], "build_token": config["buildToken"]}
    renewed = browser.post(f"{base}/api/v1/build-token", json=body, headers=headers, timeout=20)
    assert renewed.status_code == 200
    assert renewed.json()["build_token"].count(".") == 2
    body["build_token"] = "nonsense"
    error = error_of(browser.post(f"{base}/api/v1/build-token", json=body, headers=headers, timeout=20), 403)
    assert error["code"] == "build_token_invalid"


class TestBuilds:
    def test_a_build_can_be_cancelled(self, web, base, api):
        assert api.delete(f"{base}/api/v1/builds/b-1", timeout=20).status_code == 204
        assert web.launches.cancelled == ["b-1"]
        error_of(api.delete(f"{base}/api/v1/builds/b-2", timeout=20), 404)

    def test_the_log_is_plain_text_that_nothing_renders(self, web, base, api):
        web.launches.script = (LaunchEvent("building", "<img src=x onerror=alert(1)>\n", {}, id="b-1:30"),)
        answer = api.get(f"{base}/api/v1/builds/b-1/log", timeout=20)
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.text == "<img src=x onerror=alert(1)>\n"
        error_of(api.get(f"{base}/api/v1/builds/b-2/log", timeout=20), 404)

    @pytest.mark.parametrize(
        ("last", "ids"),
        [
            (None, ["b-1:15", "b-1:32", "b-1:54"]),
            ("b-1:32", ["b-1:54"]),
            ("b-1:99999999", []),
            ("b-1:-1", ["b-1:15", "b-1:32", "b-1:54"]),
            ("b-2:32", ["b-1:15", "b-1:32", "b-1:54"]),
            ("b-1:" + "9" * 400, ["b-1:15", "b-1:32", "b-1:54"]),
            ("b-1:²", ["b-1:15", "b-1:32", "b-1:54"]),
            ("nonsense", ["b-1:15", "b-1:32", "b-1:54"]),
        ],
    )
    def test_events_go_on_after_the_last_one_seen(self, web, base, api, last, ids):
        web.launches.script = BUILD
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last.encode()} if last else {})}
        answer = api.get(f"{base}/api/v1/builds/b-1/events", headers=headers, timeout=20)
        assert answer.headers["content-type"] == "text/event-stream"
        assert re.findall(r"^id: (.*)$", answer.text, re.MULTILINE) == ids

    def test_events_of_no_build_are_a_real_404(self, web, base, api):
        headers = {"Accept": "text/event-stream"}
        error_of(api.get(f"{base}/api/v1/builds/b-2/events", headers=headers, timeout=20), 404)

    def test_events_need_their_accept_header(self, web, base, api):
        error_of(api.get(f"{base}/api/v1/builds/b-1/events", timeout=20), 400)


class TestService:
    def test_versions_says_binderhub_to_every_page(self, web, base):
        answer = requests.get(f"{base}/versions", headers={"Origin": "https://book.example.org"}, timeout=20)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.json()["binderhub"]
        assert "builder_info" in answer.json()

    def test_health_has_binderhubs_shape_for_get_and_head(self, web, base):
        async def hub_api():
            return {"service": "JupyterHub API", "ok": True}

        web.application.settings["health"] = Health((hub_api,))
        answer = requests.get(f"{base}/health", timeout=20)
        assert answer.status_code == 200
        assert answer.json() == {"ok": True, "checks": [{"service": "JupyterHub API", "ok": True}]}
        assert requests.head(f"{base}/health", timeout=20).status_code == 200

    def test_a_check_that_fails_or_breaks_is_503(self, web, base):
        async def broken():
            raise OSError("/secret")

        web.application.settings["health"] = Health((broken,))
        answer = requests.get(f"{base}/health", timeout=20)
        assert answer.status_code == 503
        assert answer.json() == {"ok": False, "checks": [{"service": "broken", "ok": False}]}

    def test_a_check_may_be_soft(self, web, base):
        async def pods():
            return {"service": "Pod quota", "total_pods": 3, "quota": 2, "ok": False, "_ignore_failure": True}

        web.application.settings["health"] = Health((pods,))
        answer = requests.get(f"{base}/health", timeout=20)
        assert (answer.status_code, answer.json()["ok"]) == (200, True)

    def test_providers_are_described_in_both_shapes(self, web, base):
        providers = requests.get(f"{base}/api/repoproviders", timeout=20).json()
        assert [provider["id"] for provider in providers] == ["gh", "git", "zenodo"]
        labels = requests.get(f"{base}/_config", timeout=20).json()
        assert labels["zenodo"]["ref_prop_disabled"] is True
        assert labels["gh"]["text"] == "GitHub repository name or URL"

    @pytest.mark.parametrize("path", ["badge.svg", "badge_logo.svg", "assets/images/badge.svg", "logo_social.png"])
    def test_badges_are_images_for_every_page(self, web, base, path):
        answer = requests.get(f"{base}/{path}", timeout=20)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == ("image/png" if path.endswith("png") else "image/svg+xml")
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "max-age" in answer.headers["cache-control"]

    @pytest.mark.parametrize(
        "path", ["static/../settings.py", "static/%2e%2e/settings.py", "static/nope.js", "static/"]
    )
    def test_only_our_files_are_served(self, web, base, path):
        request = requests.Request("GET", base).prepare()
        request.url = f"{base}/{path}"
        answer = requests.Session().send(request, timeout=20)
        assert answer.status_code in {400, 403, 404}
        assert "build_token_secret" not in answer.text

    def test_metrics_have_a_bounded_number_of_series(self, web, base, api):
        def series() -> int:
            text = requests.get(f"{base}/metrics", timeout=20).text
            return sum(1 for line in text.splitlines() if not line.startswith("#"))

        stream = {"Accept": "text/event-stream"}
        api.get(f"{base}/build/gh/u/r/HEAD", headers=stream, timeout=20)
        series()
        before = series()
        for number in range(15):
            api.get(f"{base}/build/gh/user{number}/r/HEAD", headers=stream, timeout=20)
        assert series() == before
        assert "user1" not in requests.get(f"{base}/metrics", timeout=20).text

    def test_metrics_can_ask_for_a_token(self, web, base, api):
        web.fresh(authenticate_metrics=True)
        assert requests.get(f"{base}/metrics", timeout=20).status_code == 403

    def test_a_long_address_is_refused(self, web, base, api):
        answer = api.get(f"{base}/api/v1/preview?spec={'x' * 9000}", timeout=20)
        assert error_of(answer, 413)["code"] == "request_too_large"

    def test_a_forged_host_changes_nothing_in_pages(self, web, base, api):
        answer = api.get(f"{base}/v2/gh/u/r/HEAD", headers={"Host": "evil.test"}, timeout=20)
        assert page_config(answer.text)["eventsUrl"] == "/services/binder/build/gh/u/r/HEAD"
        assert "evil.test" not in answer.text
