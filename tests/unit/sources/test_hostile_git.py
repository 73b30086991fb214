"""Servers and addresses that mean no good: nothing runs, nothing else is spoken to, and everything has an end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import AddressRefused, LauncherError, RepositoryNotFound, SourceUnavailable
from launcher.sources import GitTree, RepositorySources, SourcesConfig
from launcher.sources.git import Git
from tests.support.git_server import GitServer, commit, git, make_repository
from tests.support.sources import assert_for_people, git_spec, resolve
from tests.support.web_server import Request, WebServer, response

MakeSources = Callable[..., RepositorySources]


def sources_for(web: WebServer, directory: Path, **changes: float) -> RepositorySources:
    return RepositorySources(SourcesConfig(directory / "cache", allow_hosts=frozenset({web.host}), **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch canary",
        "-oProxyCommand=touch canary",
        "ext::sh -c touch% canary",
        "fd::17",
        "file:///etc",
        "file://{directory}",
        "{directory}",
        "../../repo",
        ".",
        "",
        "git@host:-x/y",
        "ssh://-oProxyCommand=touch$IFS/tmp/p/x",
        "git://127.0.0.1:1/x",
        "http::http://127.0.0.1:1/x",
        "https://github.com/",
        "https://github.com/a?service=git-upload-pack",
    ],
)
async def test_an_address_that_is_no_web_address_never_reaches_git(
    tmp_path: Path, sources: RepositorySources, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = make_repository(tmp_path / "outside", {"a": "1"})
    with pytest.raises(LauncherError) as caught:
        sources.parse("git", git_spec(url.format(directory=repository), "main"))
    assert caught.value.code in {"address_refused", "spec_invalid"}
    assert_for_people(caught.value)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "url", ["ext::touch {canary}", "file://{repository}", "{repository}", "--upload-pack=touch {canary}"]
)
async def test_git_itself_refuses_what_the_guard_would_have_let_through(tmp_path: Path, url: str) -> None:
    repository = make_repository(tmp_path / "outside", {"a": "1"})
    canary = tmp_path / "canary"
    address = url.format(canary=canary, repository=repository)
    for command in ("ls-remote", "fetch"):
        result = await Git().run(command, "--end-of-options", address, directory=repository)
        assert not result.ok
    assert os.listdir(tmp_path) == ["outside"]  # noqa: PTH208 - no canary


async def test_git_sees_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitconfig").write_text('[alias]\n\tsay = "!echo from-home"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "alias.say")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "!echo from-environment")
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "s3cret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    runner = Git()
    assert not (await runner.run("say")).ok
    environment = (await runner.run("-c", "alias.environment=!env", "environment")).output.decode()
    assert "s3cret" not in environment
    assert "http_proxy" not in environment
    assert "GIT_ALLOW_PROTOCOL=none" in environment


async def test_a_redirect_to_another_host_is_not_followed(
    server: GitServer, sources: RepositorySources, tmp_path: Path
) -> None:
    make_repository(server.directory / "r", {"a": "1"})
    inside = tmp_path / "inside"
    make_repository(inside / "secret", {"a": "secret"})
    with GitServer(inside) as other:
        server.redirects["/r"] = other.url("secret")
        with pytest.raises(AddressRefused):
            await resolve(sources, server.url("r"), "main")
        assert other.requests == []


async def test_a_redirect_to_another_allowed_host_is_another_repository(
    server: GitServer, make_sources: MakeSources, tmp_path: Path
) -> None:
    make_repository(tmp_path / "inside" / "r", {"a": "other"})
    with GitServer(tmp_path / "inside") as other:
        server.redirects["/r"] = other.url("r")
        sources = make_sources(allow_hosts=frozenset({server.host, other.host}))
        with pytest.raises(AddressRefused):
            await resolve(sources, server.url("r"), "main")


async def test_a_renamed_repository_is_found_under_its_old_name(server: GitServer, sources: RepositorySources) -> None:
    make_repository(server.directory / "new", {"a": "1"})
    server.redirects["/old"] = "/new"
    resolved = await resolve(sources, server.url("old"), "main")
    assert resolved.repository.name == "old"
    assert (await sources.fetch(resolved)).commit == resolved.ref


async def test_a_loop_of_redirects_has_an_end(server: GitServer, sources: RepositorySources) -> None:
    server.redirects["/r"] = "/r"
    with pytest.raises(SourceUnavailable):
        await resolve(sources, server.url("r"), "main")
    assert len(server.requests) < 30


async def test_a_redirect_to_a_login_page_is_no_repository(server: GitServer, sources: RepositorySources) -> None:
    server.redirects["/r/info/refs"] = "/login"
    with pytest.raises(RepositoryNotFound):
        await resolve(sources, server.url("r"), "main")


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["127.0.0.1"], ["93.184.216.34", "192.168.1.1"], ["64:ff9b::a00:1"]])
async def test_a_private_name_never_reaches_git(make_sources: MakeSources, answers: list[str]) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return answers

    sources = make_sources(resolver=resolver)
    with pytest.raises(AddressRefused):
        await resolve(sources, "https://innocent.example/r", "main")


async def test_git_connects_to_the_address_that_was_checked(server: GitServer, make_sources: MakeSources) -> None:
    make_repository(server.directory / "r", {"a": "1"})
    name = f"repositories.example:{server.host.rpartition(':')[2]}"
    asked: list[str] = []

    async def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    sources = make_sources(allow_hosts=frozenset({name}), resolver=resolver)
    resolved = await resolve(sources, f"http://{name}/r", "main")  # no resolver on earth knows this name
    assert (await sources.fetch(resolved)).commit == resolved.ref
    assert asked == ["repositories.example"] * 2


async def _silent(_: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _drip(_: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n")
    while True:
        writer.write(b"0")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("answer", [_silent, _drip])
async def test_a_slow_server_is_cut_at_the_deadline(tmp_path: Path, answer: object) -> None:
    async with WebServer() as web:
        web.anything = answer  # type: ignore[assignment]
        sources = sources_for(web, tmp_path, timeout=0.5)
        with pytest.raises(SourceUnavailable, match="in time"):
            await asyncio.wait_for(resolve(sources, web.url("r"), "main"), 10)


async def test_endless_refs_are_cut(tmp_path: Path) -> None:
    async def endless(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\n")
        writer.write(b"001e# service=git-upload-pack\n0000")
        number = 0
        while True:
            line = b"a" * 40 + f" refs/heads/main/{number}\n".encode()
            writer.write(f"{len(line) + 4:04x}".encode() + line)
            number += 1
            await writer.drain()
            await asyncio.sleep(0)  # drain alone may keep the loop for itself

    async with WebServer() as web:
        web.anything = endless
        sources = sources_for(web, tmp_path, timeout=1.0)
        with pytest.raises(SourceUnavailable):
            await asyncio.wait_for(resolve(sources, web.url("r"), "main"), 10)


@pytest.mark.parametrize(
    "answer",
    [
        response(200, b"<html>hello</html>", content_type="text/html"),
        response(200, b"", content_type="application/x-git-upload-pack-advertisement"),
        response(200, b"\0" * 5000, content_type="application/x-git-upload-pack-advertisement"),
        response(500, b"Traceback s3cret"),
        response(418),
        b"not http at all\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_git_server_is_said_without_its_own_words(tmp_path: Path, answer: bytes) -> None:
    async with WebServer() as web:
        web.anything = answer
        with pytest.raises(LauncherError) as caught:
            await resolve(sources_for(web, tmp_path), web.url("r"), "main")
        assert caught.value.code in {"source_unavailable", "ref_not_found"}
        assert_for_people(caught.value)


async def test_a_host_that_asks_for_a_password_gets_none(tmp_path: Path) -> None:
    async with WebServer() as web:
        web.anything = response(401, www_authenticate='Basic realm="s3cret"')
        with pytest.raises(RepositoryNotFound) as caught:
            await resolve(sources_for(web, tmp_path), web.url("r"), "main")
        assert_for_people(caught.value)
        assert all("authorization" not in request.headers for request in web.requests)


async def test_submodules_and_links_of_a_repository_are_not_followed(
    server: GitServer, sources: RepositorySources, tmp_path: Path
) -> None:
    path = make_repository(
        server.directory / "r", {".gitmodules": f'[submodule "x"]\n path=x\n url={server.url("y")}\n'}
    )
    commit(
        path,
        {"binder/real.txt": "1"},
        links={"README.md": "/etc/passwd", "links": "../.."},
        executable=["binder/real.txt"],
    )
    head = git(path, "rev-parse", "main")
    tree = git(path, "ls-tree", head) + f"\n160000 commit {'1' * 40}\tx\n"
    git(
        path,
        "update-ref",
        "refs/heads/main",
        git(path, "commit-tree", "-m", "m", git(path, "mktree", stdin=tree.encode())),
    )
    snapshot = await sources.fetch(await resolve(sources, server.url("r"), "main"))
    loaded = await GitTree.load(snapshot.cache, snapshot.commit)
    assert sorted(loaded.files()) == [".gitmodules", "binder/real.txt"]
    assert loaded.modes()["README.md"] == "120000"
    assert loaded.modes()["x"] == "160000"
    for name in ("README.md", "links", "x", "binder", "nothing"):
        with pytest.raises(KeyError):
            loaded.read(name)
    assert not any("/y" in request for request in server.requests)
