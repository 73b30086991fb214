"""Every route says no in the same way."""

from __future__ import annotations

import re

import pytest

from launcher.web.routes import routes
from tests.http.conftest import PREFIX
from tests.http.test_api import error_of
from tests.http.test_build_stream import only_event

EXAMPLES = [
    "",
    "about",
    "documents/gh/u/r/HEAD",
    "errors",
    "go",
    "build/gh/u/r/HEAD",
    "v2/gh/u/r/HEAD",
    "repo/u/r",
    "oauth_callback",
    "health",
    "versions",
    "metrics",
    "api/repoproviders",
    "_config",
    "badge.svg",
    "assets/images/badge_logo.svg",
    "static/icon.svg",
    "api/v1/preview",
    "api/v1/launches",
    "api/v1/build-token",
    "api/v1/builds",
    "api/v1/builds/b-1",
    "api/v1/builds/b-1/log",
    "api/v1/builds/b-1/events",
    "api/v1/builds/b-1/share",
    "api/v1/sessions",
    "api/v1/sessions/",
    "api/v1/repositories",
    "api/v1/trust",
    "api/v1/project-homes/r-abc",
    "api/v1/project-homes/r-abc/archive",
    "new",
    "new/progress",
    "api/v1/new-session",
    "api/v1/new-session/events",
    "links",
    "api/v1/links",
    "sessions/stop",
    "sessions/keep",
    "api/v1/sessions/r-abc/activity",
    f"environments/{'0' * 64}/rebuild",
    f"api/v1/environments/{'0' * 64}/rebuild",
    "trust/take-back",
    "project-homes/r-abc/download",
    "project-homes/r-abc/delete",
    "builds",
    "builds/b-1",
    "builds/b-1/cancel",
    f"api/v1/environments/{'0' * 64}/pin",
    f"api/v1/environments/{'0' * 64}",
    "environments",
    f"environments/{'0' * 64}/pin",
    f"environments/{'0' * 64}/delete",
    "api/v1/environments",
    "clusters",
    f"clusters/{'0' * 32}/stop",
    f"clusters/{'0' * 32}/logs",
    f"clusters/{'0' * 32}/logs/scheduler",
    "api/v1/clusters",
    f"api/v1/clusters/{'0' * 32}",
    f"api/v1/clusters/{'0' * 32}/logs",
    f"api/v1/clusters/{'0' * 32}/logs/scheduler",
]


def test_every_route_has_an_example_here():
    for pattern, *_ in routes(PREFIX):
        assert any(re.fullmatch(pattern, PREFIX + example) for example in EXAMPLES), pattern


@pytest.mark.parametrize("path", [*EXAMPLES, "nonsense", "api/nonsense"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_method_nobody_knows_is_refused_in_the_one_shape(web, base, api, path, method):
    headers = {"Accept": "application/json", "X-HTTP-Method-Override": "GET"}
    answer = api.request(method, f"{base}/{path}", headers=headers, timeout=20)
    if path.startswith("build/") or path == "api/v1/new-session/events":  # streams of launches, whatever happens
        assert only_event(answer)["code"] == "method_not_allowed"
    elif "nonsense" in path:
        assert error_of(answer, 404)["code"] == "not_found"
    else:
        assert error_of(answer, 405)["code"] == "method_not_allowed"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert web.launches.requests == []


@pytest.mark.parametrize("path", EXAMPLES)
@pytest.mark.parametrize("query", ["?spec=%ff&urlpath=%ff&build_token=%ff&repository=%ff&wait=%ff&code=%ff&error=%ff"])
def test_bytes_that_are_no_text_are_client_errors_or_ignored(web, base, api, path, query):
    answer = api.get(f"{base}/{path}{query}", headers={"Accept": "text/event-stream"}, timeout=20)
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    assert web.launches.requests == []


@pytest.mark.parametrize(
    "path", ["v2/gh/u/r/%ff", "v2/gh/u/r/%00", "build/gh/u/r/%ff%0d%0a", "repo/u/%0d%0aSet-Cookie:a=b", "static/%ff"]
)
def test_strange_bytes_in_a_path_do_no_harm(web, direct, api, path):
    answer = api.get(f"{direct}/{path}", headers={"Accept": "text/event-stream"}, timeout=20, allow_redirects=False)
    assert answer.status_code < 500
    assert "a=b" not in answer.headers.get("set-cookie", "")
