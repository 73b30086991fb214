"""Getting files into the cache, against a real git server; and what a kill, a force-push or damage leaves."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from launcher.errors import RefNotFound, SourceError, SourceTooLarge, SourceUnavailable
from launcher.models import Resolved
from launcher.sources import GitTree, RepositorySources
from tests.support.git_server import GitServer, branch, commit, git, make_repository
from tests.support.sources import assert_for_people, resolve

MakeSources = Callable[..., RepositorySources]


async def fetched(sources: RepositorySources, url: str, ref: str) -> dict[str, str]:
    snapshot = await sources.fetch(await resolve(sources, url, ref))
    tree = await GitTree.load(snapshot.cache, snapshot.commit)
    return {path: tree.read(path).decode() for path in tree.files()}


@pytest.fixture
def repository(server: GitServer) -> Path:
    path = make_repository(server.directory / "r", {"a": "1"})
    commit(path, {"a": "2"}, "second")
    commit(path, {"a": "3"}, "third")
    return path


@pytest.mark.usefixtures("repository")
async def test_a_branch_arrives_without_its_history(server: GitServer, sources: RepositorySources) -> None:
    snapshot = await sources.fetch(await resolve(sources, server.url("r"), "main"))
    assert git(snapshot.cache, "rev-list", "--count", snapshot.commit) == "1"
    assert git(snapshot.cache, "for-each-ref", "--format=%(objectname)", "refs/launcher/") == snapshot.commit


@pytest.mark.usefixtures("repository")
async def test_what_is_there_already_needs_no_network(server: GitServer, sources: RepositorySources) -> None:
    resolved = await resolve(sources, server.url("r"), "main")
    first = await sources.fetch(resolved)
    server.requests.clear()
    assert await sources.fetch(resolved) == first
    assert server.requests == []


@pytest.mark.usefixtures("repository")
async def test_many_clicks_on_one_repository_fetch_it_once(server: GitServer, sources: RepositorySources) -> None:
    resolved = await resolve(sources, server.url("r"), "main")
    server.requests.clear()
    snapshots = await asyncio.gather(*(sources.fetch(resolved) for _ in range(10)))
    assert len(set(snapshots)) == 1
    assert sum("info/refs" in request for request in server.requests) == 1


async def test_two_launchers_on_one_cache_do_not_disturb_each_other(
    server: GitServer, make_sources: MakeSources, repository: Path
) -> None:
    launchers = [make_sources() for _ in range(3)]
    older = git(repository, "rev-parse", "main~1")
    jobs = [fetched(launcher, server.url("r"), ref) for launcher in launchers for ref in ("main", older)]
    assert await asyncio.gather(*jobs) == [{"a": "3"}, {"a": "2"}] * 3


async def test_an_old_commit_of_a_branch_is_accepted(
    server: GitServer, sources: RepositorySources, repository: Path
) -> None:
    assert await fetched(sources, server.url("r"), "main") == {"a": "3"}
    assert await fetched(sources, server.url("r"), git(repository, "rev-parse", "main~1")) == {"a": "2"}
    assert await fetched(sources, server.url("r"), git(repository, "rev-parse", "main~2")) == {"a": "1"}
    assert await fetched(sources, server.url("r"), "main") == {"a": "3"}


async def test_an_old_commit_is_found_on_a_host_that_hands_out_no_commits_and_knows_no_filters(
    server: GitServer, sources: RepositorySources, repository: Path
) -> None:
    git(repository, "config", "uploadpack.allowFilter", "false")
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "false")
    server.protocol = "version=0"
    assert await fetched(sources, server.url("r"), "main") == {"a": "3"}
    assert await fetched(sources, server.url("r"), git(repository, "rev-parse", "main~1")) == {"a": "2"}


@pytest.mark.parametrize("ref", ["refs/pull/1/head", "refs/hidden/x"])
async def test_a_commit_that_no_branch_or_tag_reaches_is_refused(
    server: GitServer, sources: RepositorySources, repository: Path, ref: str
) -> None:
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    branch(repository, ref)
    imposter = commit(repository, {"a": "stranger"}, branch=ref)
    resolved = await resolve(sources, server.url("r"), imposter)
    for _ in range(2):
        with pytest.raises(RefNotFound) as caught:
            await sources.fetch(resolved)
        assert_for_people(caught.value)
    assert not await sources.tools.cache.holds(resolved.repository.id, imposter)
    branch(repository, "merged", imposter)
    assert (await sources.fetch(resolved)).commit == imposter


async def test_a_push_between_resolve_and_fetch_changes_nothing(
    server: GitServer, sources: RepositorySources, repository: Path
) -> None:
    resolved = await resolve(sources, server.url("r"), "main")
    commit(repository, {"a": "4"})
    snapshot = await sources.fetch(resolved)
    assert (await GitTree.load(snapshot.cache, snapshot.commit)).read("a") == b"3"


async def test_a_force_push_between_resolve_and_fetch_gives_what_was_shown_or_nothing(
    server: GitServer, sources: RepositorySources, repository: Path
) -> None:
    resolved = await resolve(sources, server.url("r"), "main")
    commit(repository, {"a": "rewritten"}, orphan=True)
    snapshot = await sources.fetch(resolved)
    assert (await GitTree.load(snapshot.cache, snapshot.commit)).read("a") == b"3"
    await sources.tools.cache.forget(resolved.repository.id)
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "--quiet", "--prune=now")
    with pytest.raises(RefNotFound) as caught:
        await sources.fetch(resolved)
    assert_for_people(caught.value)


async def test_a_deleted_branch_says_so(server: GitServer, sources: RepositorySources, repository: Path) -> None:
    commit(repository, {"a": "x"}, branch="short")
    resolved = await resolve(sources, server.url("r"), "short")
    git(repository, "update-ref", "-d", "refs/heads/short")
    git(repository, "gc", "--quiet", "--prune=now")
    with pytest.raises(RefNotFound):
        await sources.fetch(resolved)


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("damage", ["truncate", "delete", "garbage", "head", "config"])
async def test_a_damaged_cache_is_fetched_again(server: GitServer, sources: RepositorySources, damage: str) -> None:
    resolved = await resolve(sources, server.url("r"), "main")
    cache = (await sources.fetch(resolved)).cache
    pack = next(cache.glob("objects/pack/*.pack"))
    pack.chmod(0o600)
    if damage == "truncate":
        os.truncate(pack, pack.stat().st_size // 2)
    elif damage == "delete":
        pack.unlink()
    elif damage == "garbage":
        pack.write_bytes(b"x" * pack.stat().st_size)
    else:
        (cache / {"head": "HEAD", "config": "config"}[damage]).write_text("[nonsense")
    assert await fetched(sources, server.url("r"), "main") == {"a": "3"}


def _processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture
def big(server: GitServer) -> Path:
    """A repository whose fetch can be watched while it happens."""
    noise = random.Random(7)
    return make_repository(server.directory / "big", {f"f{n}": noise.randbytes(500_000) for n in range(12)})


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - other processes have no event to wait for
            await asyncio.sleep(0.002)


async def _start_fetch(sources: RepositorySources, resolved: Resolved) -> tuple[asyncio.Task[object], Path]:
    task: asyncio.Task[object] = asyncio.ensure_future(sources.fetch(resolved))
    cache = sources.tools.cache.path(resolved.repository.id)
    await _until(lambda: any(cache.glob("objects/pack/tmp_pack_*")) or task.done())
    return task, cache


@pytest.mark.usefixtures("big")
async def test_a_cancelled_fetch_ends_its_processes_and_breaks_nothing(
    server: GitServer, sources: RepositorySources
) -> None:
    resolved = await resolve(sources, server.url("big"), "main")
    before = _processes()
    task, _ = await _start_fetch(sources, resolved)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(lambda: not [pid for pid in _processes() - before if _is_ours(pid)])
    assert len(await fetched_names(sources, resolved)) == 12


def _is_ours(pid: int) -> bool:
    """Whether a process is a client's git, not the test server's backend."""
    try:
        line = " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
    return "fetch" in line or "remote-http" in line or "index-pack" in line


async def fetched_names(sources: RepositorySources, resolved: Resolved) -> dict[str, str]:
    snapshot = await sources.fetch(resolved)
    return (await GitTree.load(snapshot.cache, snapshot.commit)).files()


@pytest.mark.usefixtures("big")
async def test_a_killed_fetch_leaves_nothing_that_breaks_the_next_one(
    server: GitServer, sources: RepositorySources
) -> None:
    resolved = await resolve(sources, server.url("big"), "main")
    task, cache = await _start_fetch(sources, resolved)
    for child in psutil.Process().children(recursive=True):
        if _is_ours(child.pid):
            os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(SourceError):
        await task
    for name in ("shallow.lock", "packed-refs.lock", "config.lock", "HEAD.lock"):
        (cache / name).touch()
    assert len(await fetched_names(sources, resolved)) == 12
    assert not list(cache.glob("objects/pack/tmp_*"))


@pytest.mark.usefixtures("big")
async def test_a_repository_larger_than_allowed_is_stopped(server: GitServer, make_sources: MakeSources) -> None:
    sources = make_sources(max_repository_bytes=1_000_000)
    resolved = await resolve(sources, server.url("big"), "main")
    with pytest.raises(SourceTooLarge) as caught:
        await sources.fetch(resolved)
    assert_for_people(caught.value)
    assert not sources.tools.cache.path(resolved.repository.id).exists()


async def test_files_that_unpack_to_more_than_allowed_are_refused(server: GitServer, make_sources: MakeSources) -> None:
    make_repository(server.directory / "bomb", {"zeros": b"\0" * 20_000_000, "small": "x"})
    sources = make_sources(max_content_bytes=10_000_000, max_repository_bytes=1_000_000)
    resolved = await resolve(sources, server.url("bomb"), "main")
    for _ in range(2):
        with pytest.raises(SourceTooLarge):
            await sources.fetch(resolved)


async def test_too_many_files_are_refused_even_as_a_tree_of_trees(server: GitServer, make_sources: MakeSources) -> None:
    path = make_repository(server.directory / "bomb", {"x": "x"})
    tree = git(path, "rev-parse", "main^{tree}")
    for _ in range(8):  # ten to the eighth paths in ten small objects
        listing = "".join(f"040000 tree {tree}\td{n}\n" for n in range(10))
        tree = git(path, "mktree", stdin=listing.encode())
    git(path, "update-ref", "refs/heads/main", git(path, "commit-tree", "-m", "bomb", tree))
    sources = make_sources(max_files=1000)
    with pytest.raises(SourceTooLarge):
        await sources.fetch(await resolve(sources, server.url("bomb"), "main"))


async def test_a_fetch_that_takes_too_long_is_stopped(server: GitServer, make_sources: MakeSources) -> None:
    make_repository(server.directory / "r", {"a": "1"})
    release = asyncio.Event()
    loop = asyncio.get_running_loop()
    sources = make_sources(fetch_timeout=0.5)
    resolved = await resolve(sources, server.url("r"), "main")

    def hold(_: str) -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)

    server.before = hold
    try:
        with pytest.raises(SourceUnavailable, match="in time"):
            await asyncio.wait_for(sources.fetch(resolved), 10)
    finally:
        release.set()
    server.before = lambda path: None
    assert (await sources.fetch(resolved)).commit == resolved.ref
