"""``/build/<provider>/<spec>`` as Binder clients see it."""

from __future__ import annotations

import json
import re
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from launcher.builds.records import LogRecord
from launcher.errors import RefNotFound
from launcher.models import BuildId
from launcher.sessions.base import LaunchEvent, LogBatch
from launcher.web.settings import WebSettings
from tests.support.scripted_launches import BUILD, QUICK

STREAM = {"Accept": "text/event-stream"}


def events(answer: requests.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def only_event(answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    (event,) = events(answer)
    assert event["phase"] == "failed"
    assert event["message"].endswith("\n")
    return event


def until(condition: Any, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_token_alone_launches_and_is_answered_with_ready(web, base, hub, api):
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20)
    assert answer.status_code == 200
    told = events(answer)
    assert [event["phase"] for event in told] == ["built", "launching", "ready"]
    assert told[0] == {"phase": "built", "message": "Found built image, launching...\n", "imageName": "env:1a2b"}
    assert told[-1]["url"] == f"{hub.url}user/someone/gh-u-r-abc123/"
    assert told[-1]["token"] == "short-lived-token"
    (request,) = web.launches.requests
    assert request.person.name == "alice"
    assert request.confirmed
    assert request.wants_token
    assert request.launch_host == f"{base}/"


def test_the_headers_are_those_of_a_stream_that_no_proxy_may_hold_back(web, base, api):
    headers = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20).headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert "set-cookie" not in headers


def test_bearer_is_a_word_for_token(web, base, alice_token):
    headers = {**STREAM, "Authorization": f"Bearer {alice_token}"}
    answer = requests.get(f"{base}/build/gh/u/r/HEAD", headers=headers, timeout=20)
    assert events(answer)[-1]["phase"] == "ready"


@pytest.mark.parametrize(
    "accept",
    ["text/event-stream", "text/event-stream, */*", "text/html;q=0.5,text/event-stream;q=0.9", "TEXT/event-stream"],
)
def test_an_accept_header_is_read_as_http_says(web, base, api, accept):
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers={"Accept": accept}, timeout=20)
    assert events(answer)[-1]["phase"] == "ready"


@pytest.mark.parametrize("accept", [None, "*/*", "text/html", "text/event-stream;q=0"])
def test_without_the_accept_header_nothing_starts(web, base, api, accept):
    event = only_event(api.get(f"{base}/build/gh/u/r/HEAD", headers={"Accept": accept}, timeout=20))
    assert event["message"] == "Missing Accept header: text/event-stream\n"
    assert event["status_code"] == 400
    assert web.launches.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "token "},
        {"Authorization": "token nonsense"},
        {"Authorization": "Basic YWxpY2U6eA=="},
        {"Authorization": "token a, token b"},
        {"Authorization": "token " + "x" * 5000},
    ],
)
def test_nobody_is_forbidden_in_an_event(web, base, headers):
    event = only_event(requests.get(f"{base}/build/gh/u/r/HEAD", headers={**STREAM, **headers}, timeout=20))
    assert event["message"] == "Forbidden\n"
    assert event["status_code"] == 403
    assert web.launches.requests == []


def test_a_token_without_access_to_the_service_is_refused(web, base, hub):
    token = hub.token_for("alice", scopes=["read:users:name!user"])
    headers = {**STREAM, "Authorization": f"token {token}"}
    event = only_event(requests.get(f"{base}/build/gh/u/r/HEAD", headers=headers, timeout=20))
    assert event["status_code"] == 403
    assert web.launches.requests == []


@pytest.mark.parametrize("token", [None, "", "nonsense", "eyJhbGciOiJub25lIn0.e30."])
def test_a_cookie_alone_starts_nothing(web, base, browser, token):
    url = f"{base}/build/gh/u/r/HEAD" + (f"?build_token={token}" if token is not None else "")
    event = only_event(browser.get(url, headers=STREAM, timeout=20))
    assert event["message"] == "Invalid build token\n"
    assert (event["code"], event["status_code"]) == ("build_token_invalid", 403)
    assert web.launches.requests == []


def page_config(text: str) -> dict[str, Any]:
    return json.loads(re.search(r'id="data-launch">(\{.*?\})</script>', text)[1])


EVENT_SOURCE = {**STREAM, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


def stream_url(base: str, config: dict[str, Any], **changes: str) -> str:
    origin = base.removesuffix(urlsplit(base).path)
    parameters = {"build_token": config["buildToken"], "_xsrf": config["xsrfToken"], **changes}
    separator = "&" if "?" in config["eventsUrl"] else "?"
    return origin + config["eventsUrl"] + separator + "&".join(f"{k}={v}" for k, v in parameters.items())


def test_the_pages_token_opens_the_stream_and_gets_no_session_token(web, base, browser):
    config = page_config(browser.get(f"{base}/v2/gh/u/r/HEAD/?labpath=a%20b.ipynb", timeout=20).text)
    told = events(browser.get(stream_url(base, config), headers=EVENT_SOURCE, timeout=20))
    assert told[-1]["phase"] == "ready"
    assert told[-1]["open_url"] == "/user/someone/gh-u-r-abc123/doc/tree/a%20b.ipynb"
    assert "token" not in told[-1]
    (request,) = web.launches.requests
    assert (request.confirmed, request.wants_token) == (False, False)
    assert request.spec.raw == "u/r/HEAD"


@pytest.mark.parametrize(
    ("url_change", "headers"),
    [
        (lambda url: url.replace("/gh/u/r/HEAD", "/gh/u/other/HEAD"), {}),
        (lambda url: url.replace("/gh/u/r/HEAD", "/gh/u/r%2FHEAD"), {}),
        (lambda url: url, {"Origin": "https://evil.test"}),
        (lambda url: url, {"Origin": "null"}),
        (lambda url: re.sub(r"_xsrf=[^&]*", "_xsrf=x", url), {}),
        (lambda url: re.sub(r"_xsrf=[^&]*", "", url), {}),
    ],
)
def test_the_pages_token_works_for_its_page_only(web, base, browser, url_change, headers):
    config = page_config(browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20).text)
    url = url_change(stream_url(base, config))
    event = only_event(browser.get(url, headers={**EVENT_SOURCE, **headers}, timeout=20))
    assert event["status_code"] == 403
    assert web.launches.requests == []


@pytest.mark.parametrize("authorization", ["token nonsense", "Basic YWxpY2U6eA==", "token", "Bearer \u00e9"])
def test_a_wrong_token_does_not_fall_back_to_the_cookie(web, base, browser, authorization):
    config = page_config(browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20).text)
    headers = {**EVENT_SOURCE, "Authorization": authorization.encode()}
    event = only_event(browser.get(stream_url(base, config), headers=headers, timeout=20))
    assert event["message"] == "Forbidden\n"
    assert web.launches.requests == []


def test_the_pages_token_is_for_its_person_only(web, base, browser, hub):
    config = page_config(browser.get(f"{base}/v2/gh/u/r/HEAD", timeout=20).text)
    headers = {**STREAM, "Authorization": f"token {hub.token_for('bob')}"}
    event = only_event(requests.get(stream_url(base, config), headers=headers, timeout=20))
    assert event["message"] == "Invalid build token\n"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nope/u/r/HEAD", "No provider found for prefix nope\n"),
        ("gh/u/r", 'Spec is not of the form "user/repo/ref", provided: "u/r". Did you mean "u/r/HEAD"?\n'),
    ],
)
def test_bad_specs_are_told_in_binderhubs_words_without_a_status(web, base, api, path, message):
    event = only_event(api.get(f"{base}/build/{path}", headers=STREAM, timeout=20))
    assert event["message"] == message
    assert "status_code" not in event
    assert event["code"] in {"provider_unknown", "spec_invalid"}


def test_the_raw_spec_keeps_its_encoding(web, base, api):
    api.get(f"{base}/build/git/https%3A%2F%2Fexample.org%2Fa%252Fb/feature%2Fx/", headers=STREAM, timeout=20)
    assert web.launches.requests[0].spec.raw == "https%3A%2F%2Fexample.org%2Fa%252Fb/feature%2Fx"


def test_build_only_is_passed_on(web, base, api):
    web.launches.script = (LaunchEvent("ready", "Done! Image built\n", {"imageName": "env:1"}),)
    answer = api.get(f"{base}/build/gh/u/r/HEAD?build_only=TRUE", headers=STREAM, timeout=20)
    assert events(answer) == [{"phase": "ready", "message": "Done! Image built\n", "imageName": "env:1"}]
    assert web.launches.requests[0].build_only


def test_a_path_that_leaves_the_session_fails(web, base, api):
    event = only_event(api.get(f"{base}/build/gh/u/r/HEAD?urlpath=https://evil.test", headers=STREAM, timeout=20))
    assert event["code"] == "path_invalid"


def test_unexpected_trouble_is_one_failed_event_without_its_words(web, base, api):
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("/secret/path")
        yield

    web.launches.launch = broken  # type: ignore[method-assign]
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20)
    assert only_event(answer)["status_code"] == 500
    assert "secret" not in answer.text


def test_log_lines_have_ids_and_a_client_goes_on_from_the_last(web, base, api):
    web.launches.script = BUILD
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers={**STREAM, "Last-Event-ID": "b-1:15"}, timeout=20)
    assert re.findall(r"^id: (.*)$", answer.text, re.MULTILINE) == ["b-1:15", "b-1:32", "b-1:54"]
    assert web.launches.afters == ["b-1:15"]
    api.get(f"{base}/build/gh/u/r/HEAD?last_event_id=b-1:32", headers=STREAM, timeout=20)
    assert web.launches.afters[-1] == "b-1:32"


@pytest.mark.parametrize(
    "text",
    [
        '{"phase":"ready","url":"javascript:alert(1)"}',
        "42",
        "data: x\n\nevent: ready\n\n",
        "</script><img src=x onerror=alert(1)>",
        "\r\r\n\u2028\x00\x1b]0;title\x07",
    ],
)
def test_log_lines_are_data_whatever_they_look_like(web, base, api, text):
    web.launches.script = (LaunchEvent("building", text, {}, id="b-1:1\nevent: ready"), *QUICK)
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20)
    told = events(answer)
    assert [event["phase"] for event in told] == ["building", "built", "launching", "ready"]
    assert re.findall(r"^(?!data: |$|:).*$", answer.text, re.MULTILINE) == [], "no line of a build is a field of ours"
    assert told[0]["message"].startswith(text)


def test_lines_that_came_together_are_told_like_single_ones(web, base, api):
    """Byte for byte, whatever the log says: a line that looks like the end of the stream is a line."""
    texts = ["Cloning", "data: x", "\u2028\x1b]0;", "ready"]
    together = LogBatch(
        BuildId("b-1"), tuple(LogRecord(10 * at, 0.1, "building", text) for at, text in enumerate(texts, 1))
    )
    web.launches.script = (*together.events, *QUICK)
    single = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20)
    web.launches.script = (together, *QUICK)
    batched = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20)

    def frames(answer: requests.Response) -> bytes:
        return answer.content.replace(b":keepalive\n\n", b"")

    assert frames(single) == frames(batched)
    assert [event["message"] for event in events(batched)][:4] == [text + "\n" for text in texts]
    told = api.get(f"{base}/api/v1/builds/b-1/log", timeout=20)
    assert told.text == "".join(text + "\n" for text in texts)


def test_pauses_are_filled_with_keepalives(web, base, api):
    assert WebSettings(build_token_secret=b"x" * 32).keepalive_seconds <= 25
    web.launches.script, web.launches.pause_after = BUILD, 1
    with api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20, stream=True) as answer:
        lines = answer.iter_lines(decode_unicode=True, chunk_size=1)
        assert next(line for line in lines if line.startswith(":")) == ":keepalive"
        web.loop.call_soon_threadsafe(web.launches.go_on.set)
        assert any('"ready"' in line for line in lines)


def test_the_stream_lingers_after_the_end_so_that_nobody_launches_again(web, base, api):
    web.fresh(linger_seconds=0.6)
    started = time.monotonic()
    assert events(api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20))[-1]["phase"] == "ready"
    assert time.monotonic() - started >= 0.6
    assert len(web.launches.requests) == 1


def test_a_client_that_leaves_frees_its_slot_and_closes_its_iterator_only(web, base, api):
    web.launches.script, web.launches.pause_after = BUILD, 2
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20, stream=True)
    lines = answer.iter_lines(chunk_size=1)  # kept: the connection is closed when nobody holds it
    next(lines)
    assert web.application.settings["stream_slots"].count == 1
    answer.close()
    until(lambda: web.launches.closed == 1)
    until(lambda: web.application.settings["stream_slots"].count == 0)


def test_one_person_may_open_only_so_many_streams(web, base, api, hub):
    web.fresh(streams_per_person=2)
    web.launches.script, web.launches.pause_after = BUILD, 1
    url = f"{base}/build/gh/u/r/HEAD"
    held = [api.get(url, headers=STREAM, timeout=20, stream=True) for _ in range(2)]
    event = only_event(api.get(url, headers=STREAM, timeout=20))
    assert (event["code"], event["status_code"]) == ("rate_limited", 429)
    assert event["retry_after"] > 0
    bob = requests.get(
        url, headers={**STREAM, "Authorization": f"token {hub.token_for('bob')}"}, timeout=20, stream=True
    )
    assert b"waiting" in next(bob.iter_lines(chunk_size=1))
    for answer in (*held, bob):
        answer.close()


def test_one_person_may_launch_only_so_often(web, base, api):
    web.fresh(launches_per_minute=2)
    url = f"{base}/build/gh/u/r/HEAD"
    for _ in range(2):
        assert events(api.get(url, headers=STREAM, timeout=20))[-1]["phase"] == "ready"
    event = only_event(api.get(url, headers=STREAM, timeout=20))
    assert event["message"] == f"Rate limit exceeded. Try again in {event['retry_after']} seconds.\n"
    resumed = api.get(url, headers={**STREAM, "Last-Event-ID": "b-1:15"}, timeout=20)
    assert events(resumed)[-1]["phase"] == "ready"


def test_a_reader_that_stopped_is_dropped(web, hub, base, alice_token):
    web.fresh(slow_reader_seconds=0.5)
    big = LaunchEvent("building", "x" * 1_000_000 + "\n", {})
    web.launches.script = (big,) * 40
    address = urlsplit(base)
    with socket.create_connection((address.hostname, address.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(
            f"GET {address.path}/build/gh/u/r/HEAD HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Accept: text/event-stream\r\nAuthorization: token {alice_token}\r\n\r\n".encode()
        )
        until(lambda: web.launches.closed == 1, 20)
    assert web.launches.told < 40


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_only_get_is_known_and_says_so_in_an_event(web, base, api, method):
    event = only_event(api.request(method, f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20))
    assert event["status_code"] == 405
    assert web.launches.requests == []


def test_head_starts_nothing(web, base, api):
    assert api.head(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20).status_code == 200
    assert web.launches.requests == []


def test_failures_of_a_launch_pass_through_with_code_and_hint(web, base, api):
    error = RefNotFound("There is no branch mian.", hint="Branches: main.")
    web.launches.script = (LaunchEvent("failed", error.message + "\n", {"code": error.code, "hint": error.hint}),)
    event = only_event(api.get(f"{base}/build/gh/u/r/mian", headers=STREAM, timeout=20))
    assert (event["code"], event["hint"]) == ("ref_not_found", "Branches: main.")


class TestCrossOrigin:
    PAGE = "https://book.example.org"

    def test_a_preflight_of_an_allowed_origin_permits_token_and_resume(self, web, base):
        web.fresh(cors_origins=(self.PAGE, "https://other.example.org"))
        answer = requests.options(
            f"{base}/build/gh/u/r/HEAD",
            headers={"Origin": self.PAGE, "Access-Control-Request-Method": "GET"},
            timeout=20,
        )
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == self.PAGE
        assert "Origin" in answer.headers["vary"]
        allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
        assert {"authorization", "x-xsrftoken", "cache-control", "last-event-id"} <= allowed
        assert "access-control-allow-credentials" not in answer.headers

    def test_other_origins_get_no_permission(self, web, base, api):
        web.fresh(cors_origins=(self.PAGE,))
        answer = api.get(f"{base}/build/gh/u/r/HEAD", headers={**STREAM, "Origin": "https://evil.test"}, timeout=20)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["vary"] == "Origin"

    def test_a_star_is_for_everybody_and_never_with_credentials(self, web, base, api):
        web.fresh(cors_origins=("*",))
        answer = api.get(f"{base}/build/gh/u/r/HEAD", headers={**STREAM, "Origin": self.PAGE}, timeout=20)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert events(answer)[-1]["phase"] == "ready"
