"""Hosts and records that mean harm, or are broken: a clear error, and nothing left on disk."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import (
    AddressRefused,
    LauncherError,
    RepositoryNotFound,
    SourceInvalid,
    SourceTooLarge,
    SourceUnavailable,
)
from launcher.sources.providers import SourceTools
from launcher.sources.zenodo import ZenodoProvider
from tests.support.doi_server import DoiServer, doi_server, tools_for, zip_bytes


@pytest.fixture
def server() -> Iterator[DoiServer]:
    with doi_server("zenodo") as running:
        yield running


@pytest.fixture
def tools(server: DoiServer, tmp_path: Path) -> SourceTools:
    return tools_for(server, tmp_path)


def offer(server: DoiServer, *entries: dict[str, Any]) -> None:
    """The record has these files; ``/content`` is where a file is unless it says otherwise."""
    usual = {"key": "file.txt", "links": {"content": "{server}/content"}, "size": 10}
    server.json("/api/records/3242074/files", {"entries": [{**usual, **entry} for entry in entries]})


async def refused(tools: SourceTools, error: type[LauncherError]) -> LauncherError:
    """Fetching the record ends in this error, in words for people, and leaves nothing behind."""
    zenodo = ZenodoProvider(tools)
    resolved = await zenodo.resolve(zenodo.parse("10.5281/zenodo.3242074"))
    with pytest.raises(error) as caught:
        await zenodo.fetch(resolved)
    cache = tools.config.cache_directory
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []
    words = caught.value.message + caught.value.hint
    assert str(cache) not in words
    assert words.isprintable()
    return caught.value


@pytest.mark.parametrize(
    "key",
    ["../evil", "../../../../tmp/evil", "/etc/evil", "a/../../evil", "nul\0name", "line\nbreak", "\x1b[2J", "", ".",
     "x" * 4096, "d/" * 200 + "f"],
)  # fmt: skip
async def test_names_of_files_cannot_lead_anywhere(server: DoiServer, tools: SourceTools, key: str) -> None:
    offer(server, {"key": key}, {"key": "fine.txt"})
    server.body("/content", b"x" * 10)
    await refused(tools, SourceInvalid)
    assert "/content" not in server.requests


@pytest.mark.parametrize("keys", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "./a")])
async def test_names_that_collide_are_refused(server: DoiServer, tools: SourceTools, keys: tuple[str, str]) -> None:
    offer(server, *({"key": key} for key in keys))
    await refused(tools, SourceInvalid)


async def test_a_zip_bomb_in_a_record_is_refused(server: DoiServer, tools: SourceTools) -> None:
    packed = zip_bytes({"zeros": bytes(5_000_000)})
    offer(server, {"key": "bomb.zip", "size": len(packed)})
    server.body("/content", packed)
    await refused(tools, SourceTooLarge)


async def test_an_archive_with_a_way_out_is_refused(server: DoiServer, tools: SourceTools) -> None:
    packed = zip_bytes({"../evil": b"x"})
    offer(server, {"key": "evil.zip", "size": len(packed)})
    server.body("/content", packed)
    await refused(tools, SourceInvalid)


async def test_an_archive_with_too_many_entries_is_refused(server: DoiServer, tools: SourceTools) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for number in range(101):
            archive.addfile(tarfile.TarInfo(str(number)))
    offer(server, {"key": "many.tar.gz", "size": len(packed.getvalue())})
    server.body("/content", packed.getvalue())
    await refused(tools, SourceTooLarge)


async def test_too_many_files_are_refused_before_the_first(server: DoiServer, tools: SourceTools) -> None:
    offer(server, *({"key": str(number)} for number in range(101)))
    await refused(tools, SourceTooLarge)
    assert "/content" not in server.requests


async def test_too_many_announced_bytes_are_refused_before_the_first(server: DoiServer, tools: SourceTools) -> None:
    offer(server, {"key": "a", "size": 2_000_000}, {"key": "b", "size": 2_000_000})
    await refused(tools, SourceTooLarge)
    assert "/content" not in server.requests


async def test_a_negative_size_buys_nothing(server: DoiServer, tools: SourceTools) -> None:
    offer(server, {"key": "a", "size": -(10**12)}, {"key": "b", "size": 10**9})
    await refused(tools, SourceTooLarge)


async def test_a_file_larger_than_announced_is_refused(server: DoiServer, tools: SourceTools) -> None:
    offer(server, {"size": 10})
    server.body("/content", b"x" * 1_000)
    await refused(tools, SourceTooLarge)


@pytest.mark.parametrize("size", [0, 10, 2_000_000])
async def test_a_body_without_an_end_is_cut(server: DoiServer, tools: SourceTools, size: int) -> None:
    offer(server, {"size": size})
    server.endless("/content")
    await refused(tools, SourceTooLarge)


async def test_a_body_that_only_the_connections_end_limits_is_counted_too(
    server: DoiServer, tools: SourceTools
) -> None:
    offer(server, {"size": 10})
    server.unframed("/content", b"x" * 200_000)
    await refused(tools, SourceTooLarge)
    server.unframed("/content", b"x" * 10)
    zenodo = ZenodoProvider(tools)
    assert await zenodo.fetch(await zenodo.resolve(zenodo.parse("10.5281/zenodo.3242074")))


async def test_a_body_shorter_than_announced_is_noticed(server: DoiServer, tools: SourceTools) -> None:
    offer(server, {"size": 1_000})
    server.short("/content", b"x" * 10, announced=1_000)
    await refused(tools, SourceUnavailable)


async def test_a_host_that_falls_silent_is_left(server: DoiServer, tmp_path: Path) -> None:
    offer(server, {"size": 1_000}, {"key": "other", "size": 1_000})
    server.silent("/content")
    error = await refused(tools_for(server, tmp_path, fetch_timeout=0.5), SourceUnavailable)
    assert "time" in error.message


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_file_that_is_not_public_is_not_found(server: DoiServer, tools: SourceTools, status: int) -> None:
    offer(server, {})
    server.body("/content", b"secret", status=status)
    await refused(tools, RepositoryNotFound)


async def test_a_host_in_trouble_is_not_the_records_fault(server: DoiServer, tools: SourceTools) -> None:
    offer(server, {})
    server.body("/content", b"<html>stack trace</html>", status=500)
    error = await refused(tools, SourceUnavailable)
    assert "stack" not in error.message


async def test_redirects_into_the_network_are_refused_before_connecting(server: DoiServer, tools: SourceTools) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        offer(server, {})
        server.redirect("/content", f"http://127.0.0.1:{listener.getsockname()[1]}/secret")
        await refused(tools, AddressRefused)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    "target", ["http://10.0.0.1/", "https://169.254.169.254/latest", "file:///etc/passwd", "//127.1/x"]
)
async def test_redirects_to_private_addresses_are_refused(server: DoiServer, tools: SourceTools, target: str) -> None:
    offer(server, {})
    server.redirect("/content", target)
    await refused(tools, AddressRefused)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://10.0.0.1/x", "http://u:p@127.0.0.1/x", "", "/relative"])
async def test_addresses_in_the_answer_are_checked_too(server: DoiServer, tools: SourceTools, url: str) -> None:
    offer(server, {"links": {"content": url}})
    await refused(tools, AddressRefused)


async def test_a_redirect_loop_ends(server: DoiServer, tools: SourceTools) -> None:
    offer(server, {})
    server.redirect("/content", "/content?a=b")
    server.redirect("/content?a=b", "/content")
    await refused(tools, SourceUnavailable)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"42", b'"x"', b"{}", b'{"entries": null}', b'{"entries": [null]}', b'{"entries": [{}]}',
        b'{"entries": [{"key": "a", "size": "many", "links": {"content": "x"}}]}',
        b'{"entries": [{"key": "a", "size": 1e999, "links": {"content": "x"}}]}',
        b'{"entries": [{"key": "a", "size": 1, "links": []}]}', b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
async def test_answers_of_another_shape_are_a_clear_error(server: DoiServer, tools: SourceTools, body: bytes) -> None:
    server.body("/api/records/3242074/files", body)
    await refused(tools, SourceInvalid)


@pytest.mark.parametrize("number", [None, "../../x", [], {"a": 1}, "1 --x"])
async def test_an_odd_record_number_is_a_clear_error(server: DoiServer, tools: SourceTools, number: object) -> None:
    server.json("/api/records/3242074", {"id": number})
    zenodo = ZenodoProvider(tools)
    with pytest.raises(SourceInvalid):
        await zenodo.resolve(zenodo.parse("10.5281/zenodo.3242074"))


@pytest.mark.parametrize(
    "body", [{}, [], {"values": []}, {"values": [{"type": "EMAIL", "data": {"value": "x"}}]}, {"values": 1}]
)
async def test_a_doi_without_an_address_is_a_clear_error(server: DoiServer, tools: SourceTools, body: object) -> None:
    server.json("/api/handles/10.9999/odd", body)
    zenodo = ZenodoProvider(tools)
    with pytest.raises(SourceInvalid):
        await zenodo.resolve(zenodo.parse("10.9999/odd"))
