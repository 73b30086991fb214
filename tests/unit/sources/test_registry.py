"""The one door to all providers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.errors import ProviderUnknown, SourceInvalid, SourceTooLarge
from launcher.sources import GitTree, RepositorySources
from launcher.sources.base import Sources, Tree
from tests.support.git_server import GitServer, make_repository
from tests.support.sources import git_spec, resolve


def test_every_provider_of_binderhub_is_there_with_its_description(sources: RepositorySources) -> None:
    described = {str(entry["id"]): entry for entry in sources.describe()}
    assert list(described) == ["gh", "gist", "git", "gl", "zenodo", "figshare", "dataverse", "hydroshare", "ckan"]
    for entry in described.values():
        assert isinstance(entry["displayName"], str)
        assert set(entry) >= {"displayName", "id", "spec", "repo", "ref"}


@pytest.mark.parametrize("name", ["nope", "", "GH", "<script>", "x" * 10_000])
def test_an_unknown_provider_gets_binderhubs_words(sources: RepositorySources, name: str) -> None:
    with pytest.raises(ProviderUnknown) as caught:
        sources.parse(name, "a/b/c")
    assert caught.value.message.startswith("No provider found for prefix ")
    assert len(caught.value.message) < 100
    assert "<" not in caught.value.message


def test_a_spec_keeps_every_byte_of_the_link(sources: RepositorySources) -> None:
    raw = "https%3a%2F%2Fgit.example%2Fa%2fb/feature%2Fx/"
    assert sources.parse("git", raw).raw == raw


async def test_the_protocols_are_kept(server: GitServer, sources: RepositorySources) -> None:
    make_repository(server.directory / "r", {"a": "1"})
    door: Sources = sources
    snapshot = await door.fetch(await door.resolve(door.parse("git", git_spec(server.url("r"), "HEAD"))))
    tree: Tree = await GitTree.load(snapshot.cache, snapshot.commit)
    assert tree.read("a") == b"1"
    await sources.check()


async def test_a_tree_reads_small_and_large_files_within_limits(server: GitServer, sources: RepositorySources) -> None:
    files = {"binder/environment.yml": "a: 1", "data/deep/x.bin": b"\0\xff" * 300_000, "é ü.txt": "x", "empty": ""}
    make_repository(server.directory / "r", files)
    snapshot = await sources.fetch(await resolve(sources, server.url("r"), "main"))
    tree = await GitTree.load(snapshot.cache, snapshot.commit)
    assert {path: tree.read(path) for path in tree.files()} == {
        path: text.encode() if isinstance(text, str) else text for path, text in files.items()
    }
    assert set(tree.directories()) == {"binder", "data", "data/deep"}
    assert tree.sizes()["data/deep/x.bin"] == 600_000
    assert len(tree.id) == 40
    with pytest.raises(SourceTooLarge):
        tree.read("data/deep/x.bin", limit=599_999)
    with pytest.raises(SourceTooLarge):
        tree.read("binder/environment.yml", limit=3)


async def test_a_commit_that_is_not_there_is_no_tree(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "r", {"a": "1"})
    for commit in ("a" * 40, "--output=x", "HEAD:nothing"):
        with pytest.raises(SourceInvalid):
            await GitTree.load(repository, commit)


def test_tokens_are_not_in_any_representation(make_sources: Callable[..., RepositorySources]) -> None:
    sources = make_sources(github_token="s3cret")
    assert "s3cret" not in repr(sources.tools.config)
