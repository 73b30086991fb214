"""What passes the dashboards' guard and what does not: bytes, headers, redirects, and schedulers that behave badly."""

from __future__ import annotations

import socket
import struct
from urllib.parse import urlsplit

import pytest
import requests
import websocket

from launcher.dask.dashboards import Dashboard
from tests.support.dashboards import PREFIX, TOKEN, running_guard
from tests.support.hub import free_port
from tests.support.odd_scheduler import BIG
from tests.support.running import eventually

CLUSTER = f"{PREFIX}clusters/alices/"


@pytest.fixture(scope="module")
def _running():
    with running_guard() as running:
        yield running


@pytest.fixture(scope="module")
def guard(_running):
    return _running[0]


@pytest.fixture(scope="module")
def origin(_running):
    return f"http://127.0.0.1:{_running[1].port}"


@pytest.fixture(scope="module")
def token(_running):
    return _running[1].token_for("alice")


@pytest.fixture(scope="module")
def alice(token):
    with requests.Session() as session:
        session.headers["Authorization"] = f"token {token}"
        yield session


@pytest.fixture
def scheduler(guard):
    return guard.scheduler("alices")


@pytest.fixture
def url(origin, scheduler):
    return origin + CLUSTER


def raw(origin, token, target, *, method="GET", extra="", body=b""):
    """The whole answer to a request whose target is sent as it is."""
    with socket.create_connection(("127.0.0.1", urlsplit(origin).port), timeout=20) as connection:
        head = (
            f"{method} {target} HTTP/1.1\r\nHost: h\r\nAuthorization: token {token}\r\nConnection: close\r\n{extra}\r\n"
        )
        connection.sendall(head.encode("latin1") + body)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin1")


def open_socket(url, token, path="ws", **options):
    header = {"Authorization": f"token {token}", **options.pop("header", {})}
    return websocket.create_connection(url.replace("http", "ws", 1) + path, header=header, timeout=20, **options)


@pytest.mark.parametrize(
    "tail",
    [
        "info/worker/tls%3A%2F%2F127.0.0.1%3A1.html",
        "info/task/%28%27sum%27%2c%200%29.html?a=%2f&&b=+;c&d=%20",
        "x?a=b?c=d/../e",
        "x/",
        "json/counts.json",
    ],
)
def test_path_and_query_reach_the_scheduler_to_the_byte(url, origin, token, scheduler, tail):
    assert " 200 " in raw(origin, token, CLUSTER + tail)
    assert scheduler.last[1] == f"/{tail}"


@pytest.mark.parametrize("where", ["through the proxies", "direct"])
@pytest.mark.parametrize(
    "tail",
    [
        "../nobodys/x",
        "a/../../nobodys/x",
        "%2e%2e/nobodys/x",
        "a/%2E%2e/b",
        "./x",
        "/x",
        "//evil.example/x",
        "a//b",
        "x%0d%0aSet-Cookie:a=b",
        "x%00",
        "x\\..\\y",
        "\xe9",
        "x#y",
        "x?a=\xe9",
        "x?a=#b",
    ],
)
def test_addresses_that_could_mean_another_place_reach_no_scheduler(origin, guard, token, tail, where):
    scheduler, other = guard.scheduler("alices"), guard.scheduler("nobodys", owner="nobody")
    answer = raw(origin if where != "direct" else guard.direct, token, CLUSTER + tail)
    status = int(answer.split()[1])
    assert status in {400, 404} or (where != "direct" and scheduler.last[1].isascii())
    if where == "direct":
        assert scheduler.requests == []
    assert other.requests == []
    assert "\r\nset-cookie" not in answer.lower()


def test_another_host_in_the_request_line_changes_nothing(url, origin, guard, token, scheduler):
    assert "404" in raw(guard.direct, token, f"http://evil.example{CLUSTER}x").split("\r\n")[0]
    raw(origin, token, f"http://evil.example{CLUSTER}x")
    assert {uri for _, uri, _ in scheduler.requests} <= {"/launcher/dashboard", "/x"}


def test_what_makes_a_page_safe_is_added_and_what_makes_it_unsafe_taken_away(url, alice):
    answer = alice.get(f"{url}page")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert answer.text == "<h1>hello</h1>"
    assert headers["content-type"] == "text/html; charset=UTF-8"
    assert headers["etag"] == "abc"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["content-security-policy"] == "frame-ancestors 'self'"
    for gone in ("set-cookie", "access-control-allow-origin", "clear-site-data", "service-worker-allowed"):
        assert gone not in headers
    for gone in ("x-frame-options", "www-authenticate", "refresh", "server"):
        assert gone not in headers


def test_static_files_stay_in_the_visitors_cache_and_in_no_other(url, alice):
    answer = alice.get(f"{url}static/x.js")
    assert (answer.text, answer.headers["cache-control"]) == ("let a;", "private, max-age=9")
    answer = alice.get(f"{url}static/x.js", headers={"If-None-Match": '"abc"'})
    assert (answer.status_code, answer.content) == (304, b"")
    answer = alice.head(f"{url}static/x.js")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "6", b"")


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("status", CLUSTER + "status"),
        ("/status?a=b", CLUSTER + "status?a=b"),
        ("HERE/status", CLUSTER + "status"),
        ("HERE//evil.example/", CLUSTER + "evil.example/"),
        ("../../../hub/home", CLUSTER + "hub/home"),
    ],
)
def test_redirects_stay_in_the_cluster(url, alice, to, expected):
    answer = alice.get(f"{url}redirect", params={"to": to}, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, expected)


@pytest.mark.parametrize(
    "to",
    [
        "http://evil.example/",
        "//evil.example/",
        "javascript:alert(1)",
        "/%2e%2e/%2e%2e/hub",
        "/\\evil.example",
        "https://127.0.0.1/",
        "http://[",
    ],
)
def test_redirects_elsewhere_are_not_followed_by_anyone(url, alice, to):
    answer = alice.get(f"{url}redirect", params={"to": to}, allow_redirects=False)
    assert (answer.status_code, "another place" in answer.text) == (503, True)
    assert "location" not in answer.headers


def test_a_big_body_passes_both_ways(url, alice):
    assert len(alice.get(f"{url}big").content) == BIG
    answer = alice.post(f"{url}upload", data=b"x" * BIG, headers={"X-Forwarded-For": "1.1.1.1"})
    assert answer.json()["bytes"] == BIG
    assert alice.post(f"{url}upload", data=(b"x" * 2**16 for _ in range(20))).json()["bytes"] == 20 * 2**16
    assert alice.post(f"{url}upload").json()["bytes"] == 0


def test_a_body_is_not_collected_before_it_is_passed_on(url, alice, scheduler):
    def body():
        yield b"first"
        assert scheduler.received.wait(20)
        yield b"second"

    assert alice.post(f"{url}upload", data=body()).json()["bytes"] == 11
    with alice.get(f"{url}first-then-wait", stream=True, timeout=20) as answer:
        assert next(answer.iter_content(5)) == b"first"


def test_a_body_that_is_too_long_is_refused_before_it_is_read(guard, token, scheduler):
    answer = raw(guard.direct, token, f"{CLUSTER}upload", method="POST", extra="Content-Length: 99999999999\r\n")
    assert int(answer.split()[1]) in {400, 413}
    assert all(method != "POST" for method, _, _ in scheduler.requests)


@pytest.mark.parametrize(
    "extra", ["Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 1\r\nContent-Length: 3\r\n"]
)
def test_two_lengths_of_one_body_are_refused(guard, token, scheduler, extra):
    raw(guard.direct, token, f"{CLUSTER}upload", method="POST", extra=extra, body=b"0\r\n\r\n")
    assert all(method != "POST" for method, _, _ in scheduler.requests)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(url, alice, scheduler, method):
    assert alice.request(method, f"{url}x").status_code == 405
    assert scheduler.requests == []


@pytest.mark.parametrize("path", ["wait", "first-then-wait"])
def test_a_visitor_who_leaves_takes_the_request_along(url, origin, token, scheduler, path):
    with socket.create_connection(("127.0.0.1", urlsplit(origin).port), timeout=20) as connection:
        connection.sendall(f"GET {CLUSTER}{path} HTTP/1.1\r\nHost: h\r\nAuthorization: token {token}\r\n\r\n".encode())
        eventually(lambda: scheduler.requests and scheduler.last[1] == f"/{path}", what="the request")
    assert scheduler.left.wait(20)


def test_half_an_answer_does_not_look_like_a_whole_one(origin, guard, token, scheduler):
    head, _, body = raw(guard.direct, token, f"{CLUSTER}too-short").partition("\r\n\r\n")
    assert "content-length: 100" in head.lower()
    assert body in {"", "only this"}  # and the connection ended
    assert " 200 " not in raw(origin, token, f"{CLUSTER}too-short").split("\r\n")[0]


def test_a_scheduler_that_is_gone_or_talks_nonsense_is_told_in_a_sentence(guard, url, alice, token):
    page = alice.get(f"{url}nonsense")
    assert (page.status_code, "does not answer" in page.text) == (503, True)
    guard.clusters["dead"] = Dashboard("alice", f"http://127.0.0.1:{free_port()}", TOKEN)
    dead = url.replace("alices", "dead")
    page = alice.get(f"{dead}status")
    assert (page.status_code, "does not answer" in page.text) == (503, True)
    assert "127.0.0.1" not in page.text
    assert "Traceback" not in page.text
    with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
        open_socket(dead, token)


def test_a_cluster_without_a_path_leads_to_its_status(url, alice):
    for address in (url, url.rstrip("/")):
        answer = alice.get(address, allow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (302, f"{CLUSTER}status")


def test_websockets_carry_text_bytes_subprotocol_and_query(url, token, scheduler):
    ws = open_socket(url, token, "ws?a=%2f&&b", subprotocols=["bokeh", "a.token-of_bokeh"])
    assert ws.getsubprotocol() == "bokeh"
    assert scheduler.subprotocols == ["bokeh", "a.token-of_bokeh"]
    ws.send("text äöü")
    assert ws.recv() == "text äöü"
    big = bytes(range(256)) * 2**14  # 4 MiB
    ws.send_binary(big)
    assert ws.recv() == big
    ws.send_binary(b"")
    assert ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"")
    ws.ping("are you there")
    assert ws.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"are you there")
    ws.close()
    method, uri, headers = next(request for request in scheduler.requests if request[0] == "WS")
    assert (method, uri) == ("WS", "/ws?a=%2f&&b")
    assert headers["Authorization"] == f"token {TOKEN}"
    assert not {name for name in headers if name.lower().startswith(("cookie", "x-forwarded", "origin"))}


def test_a_scheduler_without_that_subprotocol_chooses_none(url, token):
    ws = open_socket(url, token, header={"Sec-WebSocket-Protocol": "other"})
    assert "sec-websocket-protocol" not in ws.getheaders()
    ws.close()


def test_close_codes_pass_both_ways(url, token, scheduler):
    ws = open_socket(url, token)
    ws.send("close")
    assert ws.recv_data() == (websocket.ABNF.OPCODE_CLOSE, struct.pack("!H", 4321) + b"as you wish")
    ws.shutdown()
    ws = open_socket(url, token)
    scheduler.closed.clear()
    ws.close(status=3210, reason=b"enough")
    eventually(lambda: scheduler.closed == [(3210, "enough")], what="the close code")


def test_a_websocket_that_breaks_on_one_side_ends_on_the_other(url, token, scheduler):
    ws = open_socket(url, token)
    ws.send("break")
    opcode, data = ws.recv_data()
    assert (opcode, struct.unpack("!H", data[:2])) == (websocket.ABNF.OPCODE_CLOSE, (1011,))
    ws.shutdown()
    ws = open_socket(url, token)
    scheduler.closed.clear()
    ws.shutdown()
    eventually(lambda: scheduler.closed, what="the end on the other side")


def test_a_message_that_is_too_long_ends_the_websocket(url, token):
    ws = open_socket(url, token)
    with pytest.raises((websocket.WebSocketConnectionClosedException, OSError)):  # noqa: PT012 - either may notice
        ws.send_binary(b"x" * (20 * 2**20 + 1))
        opcode, _ = ws.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        ws.recv()
    ws.shutdown()


def test_a_websocket_address_that_is_none_is_refused(url, token):
    with pytest.raises(websocket.WebSocketBadStatusException, match=r"503|403"):
        open_socket(url, token, "page")
