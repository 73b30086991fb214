from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from launcher.errors import AddressRefused, RepositoryNotFound, SourceInvalid, SourceTooLarge, SourceUnavailable
from launcher.sources.addresses import AddressPolicy
from launcher.sources.http import HttpClient
from tests.support.sources import assert_for_people
from tests.support.web_server import Request, WebServer, json_response, response


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    async with WebServer() as server:
        yield server


@pytest.fixture
async def other() -> AsyncIterator[WebServer]:
    async with WebServer() as server:
        yield server


@pytest.fixture
def client(web: WebServer) -> HttpClient:
    return HttpClient(AddressPolicy({web.host}), timeout=5, max_bytes=1000)


async def test_a_body_and_lower_case_headers_come_back(web: WebServer, client: HttpClient) -> None:
    web.answers["/a?b=c"] = response(200, b"hello", X_Thing="yes")
    answer = await client.get(web.url("a?b=c"), headers={"Accept": "text/plain"})
    assert (answer.status, answer.body, answer.headers["x-thing"]) == (200, b"hello", "yes")
    assert web.requests[0].headers["accept"] == "text/plain"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_within_allowed_hosts_is_followed(web: WebServer, client: HttpClient, status: int) -> None:
    web.answers["/old/x"] = response(status, b"moved away", Location="../new")
    web.answers["/new"] = response(200, b"here")
    answer = await client.get(web.url("old/x"))
    assert (answer.url, answer.body) == (web.url("new"), b"here")


async def test_a_redirect_to_another_loopback_port_is_not_followed(
    web: WebServer, other: WebServer, client: HttpClient
) -> None:
    web.answers["/x"] = response(302, Location=other.url("secret"))
    with pytest.raises(AddressRefused):
        await client.get(web.url("x"))
    assert other.requests == []


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "http://10.0.0.1/", "https://user:s3cret@github.com/", "//x", "http://[x"]
)
async def test_a_redirect_to_what_a_link_could_not_name_is_refused(
    web: WebServer, client: HttpClient, target: str
) -> None:
    web.answers["/x"] = response(302, Location=target)
    with pytest.raises(AddressRefused) as caught:
        await client.get(web.url("x"))
    assert_for_people(caught.value)


async def test_a_loop_of_redirects_has_an_end(web: WebServer, client: HttpClient) -> None:
    web.answers["/x"] = response(302, Location="/x")
    with pytest.raises(SourceUnavailable, match="too often"):
        await client.get(web.url("x"))
    assert len(web.requests) == 6


async def test_secret_headers_stay_with_their_host(web: WebServer, other: WebServer) -> None:
    web.answers["/x"] = response(302, Location="/y")
    web.answers["/y"] = response(302, Location=other.url("z"))
    other.answers["/z"] = response(200)
    client = HttpClient(AddressPolicy({web.host, other.host}))
    await client.get(
        web.url("x"), headers={"Authorization": "token s3cret", "PRIVATE-TOKEN": "s3cret", "Accept": "a/b"}
    )
    assert web.requests[1].headers["authorization"] == "token s3cret"
    assert "authorization" not in other.requests[0].headers
    assert "private-token" not in other.requests[0].headers
    assert other.requests[0].headers["accept"] == "a/b"


@pytest.mark.parametrize("resolved", [["10.0.0.1"], ["127.0.0.1"], ["93.184.216.34", "192.168.0.1"]])
async def test_a_private_name_gets_no_packet(resolved: list[str]) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return resolved

    with pytest.raises(AddressRefused):
        await HttpClient(AddressPolicy(resolver=resolver)).get("https://innocent.example/")


async def test_a_name_that_changes_its_mind_is_connected_to_the_address_that_was_checked(web: WebServer) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    name = f"repositories.example:{web.host.rpartition(':')[2]}"

    async def resolver(host: str, port: int) -> list[str]:
        return next(answers)

    web.answers["/x"] = response(200, b"pinned")
    client = HttpClient(AddressPolicy({name}, resolver))
    assert (await client.get(f"http://{name}/x")).body == b"pinned"
    assert web.requests[0].headers["host"] == name


@pytest.mark.parametrize("announced", ["1001", "9" * 5000])
async def test_an_announced_body_over_the_limit_is_too_large(
    web: WebServer, client: HttpClient, announced: str
) -> None:
    web.answers["/x"] = f"HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n\r\n".encode() + b"x" * 1001
    with pytest.raises(SourceTooLarge):
        await client.get(web.url("x"))


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_endless_body_is_cut_and_too_large(web: WebServer, client: HttpClient, size: int) -> None:
    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(f"{size:x}\r\n".encode() + b"x" * size + b"\r\n")
            await writer.drain()

    web.answers["/x"] = endless
    with pytest.raises(SourceTooLarge):
        await client.get(web.url("x"))


async def test_a_compressed_body_is_not_unpacked(web: WebServer, client: HttpClient) -> None:
    web.answers["/x"] = response(200, b"\x1f\x8b not even gzip", content_encoding="gzip")
    assert (await client.get(web.url("x"))).body.startswith(b"\x1f\x8b")


async def _silent(_: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _drip(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("slow", [_silent, _drip])
async def test_a_slow_host_is_cut_at_the_deadline(web: WebServer, client: HttpClient, slow: object) -> None:
    web.anything = slow  # type: ignore[assignment]
    with pytest.raises(SourceUnavailable, match="in time"):
        await asyncio.wait_for(client.get(web.url("x"), timeout=0.3), 3)


async def test_redirects_do_not_stretch_the_deadline(web: WebServer, client: HttpClient) -> None:
    async def slow_redirect(_: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        writer.write(response(302, Location="/again"))
        await writer.drain()

    web.anything = slow_redirect
    with pytest.raises(SourceUnavailable, match="in time"):
        await client.get(web.url("x"), timeout=0.5)
    assert len(web.requests) <= 3


async def test_a_port_where_nobody_listens_is_unavailable(web: WebServer, client: HttpClient) -> None:
    url = web.url("x")
    await web.__aexit__()
    with pytest.raises(SourceUnavailable) as caught:
        await client.get(url)
    assert_for_people(caught.value)


@pytest.mark.parametrize(
    "garbage", [b"SSH-2.0-x\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\0" * 99]
)
async def test_what_is_no_http_is_unavailable(web: WebServer, client: HttpClient, garbage: bytes) -> None:
    web.answers["/x"] = garbage
    with pytest.raises(SourceUnavailable):
        await client.get(web.url("x"))


async def test_a_host_without_tls_is_unavailable_over_https(web: WebServer, client: HttpClient) -> None:
    with pytest.raises(SourceUnavailable):
        await client.get(web.url("x").replace("http://", "https://"), timeout=0.5)


@pytest.mark.parametrize("status", [500, 502, 503, 599])
async def test_a_host_with_trouble_is_unavailable(web: WebServer, client: HttpClient, status: int) -> None:
    web.answers["/x"] = response(status, b"Traceback: s3cret")
    with pytest.raises(SourceUnavailable) as caught:
        await client.get(web.url("x"))
    assert_for_people(caught.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response(404), RepositoryNotFound),
        (response(403), RepositoryNotFound),
        (response(429, retry_after="17"), SourceUnavailable),
        (response(200, b"<html>"), SourceInvalid),
        (response(200, b"[" * 990), SourceInvalid),
        (response(200, b"\xff\xfe"), SourceInvalid),
    ],
)
async def test_json_is_given_or_a_clear_error(
    web: WebServer, client: HttpClient, answer: bytes, error: type[Exception]
) -> None:
    web.answers["/good"] = json_response({"a": 1})
    web.answers["/bad"] = answer
    assert await client.get_json(web.url("good")) == {"a": 1}
    with pytest.raises(error) as caught:
        await client.get_json(web.url("bad"))
    assert getattr(caught.value, "retry_after", None) == (17 if b"17" in answer else None)


async def test_a_remembered_answer_is_revalidated_and_costs_no_body(web: WebServer, client: HttpClient) -> None:
    async def etag(request: Request, writer: asyncio.StreamWriter) -> None:
        known = request.headers.get("if-none-match") == '"1"'
        writer.write(response(304, ETag='"1"') if known else response(200, b"body", ETag='"1"'))
        await writer.drain()

    web.answers["/x"] = etag
    answers = [await client.get_revalidated(web.url("x"), headers={"Accept": "a"}) for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(200, b"body")] * 3
    assert [request.headers.get("if-none-match") for request in web.requests] == [None, '"1"', '"1"']
    await client.get_revalidated(web.url("x"), headers={"Accept": "b"})
    assert "if-none-match" not in web.requests[-1].headers


async def test_a_download_is_a_new_file_or_none(web: WebServer, client: HttpClient, tmp_path: Path) -> None:
    web.answers["/moved"] = response(302, b"junk", Location="/data")
    web.answers["/data"] = response(200, b"d" * 5000)
    assert await client.download(web.url("moved"), tmp_path / "good", max_bytes=5000) == 5000
    assert (tmp_path / "good").read_bytes() == b"d" * 5000
    failures: list[tuple[str, int, Callable[[], type[Exception]]]] = [
        ("data", 4999, lambda: SourceTooLarge),
        ("missing", 5000, lambda: RepositoryNotFound),
    ]
    for path, limit, error in failures:
        with pytest.raises(error()):
            await client.download(web.url(path), tmp_path / "bad", max_bytes=limit)
        assert not (tmp_path / "bad").exists()
    with pytest.raises(FileExistsError):
        await client.download(web.url("data"), tmp_path / "good", max_bytes=5000)
