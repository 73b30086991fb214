"""Where a branch ends in the address of a page: the repository knows, and is asked no more than that."""

from __future__ import annotations

import threading

import pytest

from launcher.errors import AddressRefused, RepositoryNotFound, SpecInvalid
from launcher.sources import RepositorySources
from launcher.sources.pasted import find_pasted
from tests.support.git_server import GitServer, branch, commit, make_repository, tag


@pytest.fixture
def page(server: GitServer) -> str:
    """The address of pages of a repository with a tag ``feature``, and branches that begin or end like others."""
    path = make_repository(server.directory / "u" / "r", {"docs/a.ipynb": "{}"})
    commit(path, {"docs/a.ipynb": "[]"}, branch="feature/x")
    branch(path, "feature/x-y")
    branch(path, "other/main")
    tag(path, "feature")
    branch(path, "refs/pull/1/head")
    return server.url("u/r/blob/")


@pytest.mark.parametrize(
    ("place", "ref", "path"),
    [
        ("main/docs/a.ipynb", "main", "docs/a.ipynb"),
        ("feature/x/docs/a.ipynb", "feature/x", "docs/a.ipynb"),
        ("feature/x", "feature/x", ""),
        ("feature/x-y/docs/a.ipynb", "feature/x-y", "docs/a.ipynb"),
        ("feature/docs/a.ipynb", "feature", "docs/a.ipynb"),
        ("feature/.hidden/a b.ipynb", "feature", ".hidden/a b.ipynb"),
        ("gone/docs/a.ipynb", "gone", "docs/a.ipynb"),
        ("pull/1/head/a.ipynb", "pull", "1/head/a.ipynb"),
        ("--upload-pack=x/docs/a.ipynb", "--upload-pack=x", "docs/a.ipynb"),
        ("/".join("x" * 200) + "/a.ipynb", "x", "x/" * 199 + "a.ipynb"),
    ],
    ids=lambda value: value[:30],
)
async def test_the_longest_branch_or_tag_is_meant(
    sources: RepositorySources, page: str, place: str, ref: str, path: str
) -> None:
    found = await find_pasted(sources, page + place)
    assert found.sure
    assert (found.pasted.ref, found.pasted.path) == (ref, path)
    assert found.pasted.repository == page.removesuffix("/blob/")


@pytest.mark.parametrize("text", ["main", f"{'a' * 40}/docs/a.ipynb", "HEAD/docs/a.ipynb", "refs/heads/main"])
async def test_nobody_is_asked_when_there_is_nothing_to_find_out(
    server: GitServer, sources: RepositorySources, page: str, text: str
) -> None:
    assert (await find_pasted(sources, page + text)).sure
    assert (await find_pasted(sources, page + "feature/x/docs/a.ipynb", ref="feature/x")).pasted.path == "docs/a.ipynb"
    assert server.requests == []


async def test_a_repository_that_does_not_answer_in_time_leaves_the_guess(
    server: GitServer, sources: RepositorySources, page: str
) -> None:
    asked = threading.Event()
    answered = threading.Event()

    def hold(_: str) -> None:
        asked.set()
        answered.wait(20)

    server.before = hold
    found = await find_pasted(sources, page + "feature/x/docs/a.ipynb", seconds=0.3)
    answered.set()
    assert asked.is_set()
    assert not found.sure
    assert (found.pasted.ref, found.pasted.path) == ("feature", "x/docs/a.ipynb")


async def test_what_cannot_be_is_said(server: GitServer, sources: RepositorySources, page: str) -> None:
    with pytest.raises(RepositoryNotFound):
        await find_pasted(sources, server.url("u/nothing/tree/a/b"))
    with pytest.raises(AddressRefused):
        await find_pasted(sources, "https://127.0.0.1/u/r/tree/a/b")
    with pytest.raises(SpecInvalid):
        await find_pasted(sources, "repo")


async def test_http_is_taken_as_https_where_this_hub_speaks_no_http(sources: RepositorySources) -> None:
    found = await find_pasted(sources, "http://git.example.org/u/r")
    assert found.pasted.spec() == "git/https%3A%2F%2Fgit.example.org%2Fu%2Fr/HEAD"
    with pytest.raises(AddressRefused):
        await find_pasted(sources, "http://127.0.0.1/u/r")
