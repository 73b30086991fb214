"""GitHub, gists and GitLab: grammar as BinderHub's, refs through the API, files through git."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from launcher.errors import (
    ConfigurationInvalid,
    RefAmbiguous,
    RefNotFound,
    RepositoryNotFound,
    SourceInvalid,
    SourceUnavailable,
    SpecInvalid,
)
from launcher.models import Resolved
from launcher.sources import RepositorySources
from tests.support.git_server import GitServer, branch, commit, git, make_repository, tag
from tests.support.sources import assert_for_people
from tests.support.web_server import WebServer, json_response, response

MakeSources = Callable[..., RepositorySources]
TOKEN = "s3cret-token"


@pytest.fixture
async def api() -> AsyncIterator[WebServer]:
    async with WebServer() as web:
        web.anything = response(422, b'{"message": "No commit found"}')
        yield web


@pytest.fixture
def github(make_sources: MakeSources, server: GitServer, api: WebServer) -> RepositorySources:
    return make_sources(
        allow_hosts=frozenset({server.host, api.host}),
        github_url=server.url(),
        github_api_url=api.url(),
        gist_url="https://gist.github.com",
        github_token=TOKEN,
    )


@pytest.fixture
def repository(server: GitServer) -> Path:
    return make_repository(server.directory / "org" / "repo", {"a": "1"})


async def resolve(sources: RepositorySources, provider: str, raw: str) -> Resolved:
    return await sources.resolve(sources.parse(provider, raw))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("u/r", 'Spec is not of the form "user/repo/ref", provided: "u/r". Did you mean "u/r/HEAD"?'),
        ("u/r/", 'Spec is not of the form "user/repo/ref", provided: "u/r". Did you mean "u/r/HEAD"?'),
        ("u/main", 'Spec is not of the form "user/repo/ref", provided: "u/main".'),
        ("u", 'Spec is not of the form "user/repo/ref", provided: "u".'),
        ("", 'Spec is not of the form "user/repo/ref", provided: "".'),
    ],
)
def test_a_github_spec_without_a_ref_gets_binderhubs_words(sources: RepositorySources, raw: str, message: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        sources.parse("gh", raw)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "raw",
    [
        "../x/main",
        "u/../main",
        "u/./main",
        "-u/r/main",
        "u/r%2Fx/main",
        "u%2Fr/x/main",
        "ü/r/main",
        "u/r/--x",
        "u/r/a%00",
    ],
)
def test_what_is_no_github_name_is_refused(sources: RepositorySources, raw: str) -> None:
    with pytest.raises(SpecInvalid):
        sources.parse("gh", raw)


async def test_a_branch_is_asked_for_by_its_full_name(
    github: RepositorySources, api: WebServer, repository: Path
) -> None:
    sha = branch(repository, "feature/x")
    api.answers["/repos/org/repo/commits/heads/feature/x"] = response(200, sha.encode())
    resolved = await resolve(github, "gh", "org/repo.git/feature/x/")
    assert (resolved.ref, resolved.ref_name) == (sha, "refs/heads/feature/x")
    assert resolved.persistent_spec == f"gh/org/repo/{sha}"
    assert resolved.ref_url.endswith(f"/org/repo/tree/{sha}")
    assert (await github.fetch(resolved)).commit == sha
    assert {request.headers["authorization"] for request in api.requests} == {f"token {TOKEN}"}
    assert TOKEN not in repr(github.tools)


async def test_json_from_the_api_is_understood_too(github: RepositorySources, api: WebServer, repository: Path) -> None:
    sha = git(repository, "rev-parse", "main")
    api.answers["/repos/org/repo/commits/HEAD"] = json_response({"sha": sha})
    assert (await resolve(github, "gh", "org/repo/HEAD")).ref == sha


@pytest.mark.parametrize("old", ["master", "main"])
async def test_an_old_default_branch_means_head(
    github: RepositorySources, api: WebServer, repository: Path, old: str
) -> None:
    sha = git(repository, "rev-parse", "main")
    api.answers["/repos/org/repo/commits/HEAD"] = response(200, sha.encode())
    assert (await resolve(github, "gh", f"org/repo/{old}")).ref == sha
    with pytest.raises(RefNotFound):
        await resolve(github, "gh", "org/repo/other")


async def test_a_branch_and_tag_of_one_name_are_ambiguous_on_github(github: RepositorySources, api: WebServer) -> None:
    api.answers["/repos/org/repo/commits/heads/v1"] = response(200, b"a" * 40)
    api.answers["/repos/org/repo/commits/tags/v1"] = response(200, b"b" * 40)
    with pytest.raises(RefAmbiguous):
        await resolve(github, "gh", "org/repo/v1")
    assert (await resolve(github, "gh", "org/repo/refs/tags/v1")).ref == "b" * 40


async def test_a_forks_commit_known_to_the_api_is_refused_when_fetched(
    github: RepositorySources, api: WebServer, repository: Path
) -> None:
    branch(repository, "refs/pull/1/head")
    sha = commit(repository, {"a": "stranger"}, branch="refs/pull/1/head")
    api.answers[f"/repos/org/repo/commits/{sha}"] = response(200, sha.encode())
    resolved = await resolve(github, "gh", f"org/repo/{sha}")
    with pytest.raises(RefNotFound):
        await github.fetch(resolved)


async def test_a_pull_request_is_found_with_git_because_the_api_promises_nothing_about_it(
    github: RepositorySources, api: WebServer, repository: Path
) -> None:
    head = commit(repository, {"a": "a stranger's"}, branch="refs/pull/12/head")
    resolved = await resolve(github, "gh", "org/repo/refs/pull/12/head")
    assert (resolved.ref, resolved.ref_name) == (head, "refs/pull/12/head")
    assert resolved.repository.id.endswith("/org/repo#pull/12")
    assert resolved.repository.display_name == "org/repo#12"
    assert resolved.persistent_spec == "gh/org/repo/refs/pull/12/head"
    assert (await github.fetch(resolved)).commit == head
    assert api.requests == []


@pytest.mark.parametrize("prefix", ["", "refs/heads/"])
async def test_a_forks_commit_in_the_name_of_a_description_is_no_branch(
    github: RepositorySources, api: WebServer, repository: Path, prefix: str
) -> None:
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    branch(repository, "refs/pull/1/head")
    sha = commit(repository, {"a": "stranger"}, branch="refs/pull/1/head")
    name = f"v1-1-g{sha[:12]}"
    api.answers[f"/repos/org/repo/commits/heads/{name}"] = response(200, sha.encode())  # as git reads such a name
    with pytest.raises(RefNotFound):
        await resolve(github, "gh", f"org/repo/{prefix}{name}")
    real = branch(repository, name)
    assert (await resolve(github, "gh", f"org/repo/{prefix}{name}")).ref == real


async def test_the_api_is_asked_whether_the_answer_still_holds(github: RepositorySources, api: WebServer) -> None:
    api.answers["/repos/org/repo/commits/HEAD"] = response(200, b"a" * 40, ETag='"1"')
    await resolve(github, "gh", "org/repo/HEAD")
    api.answers["/repos/org/repo/commits/HEAD"] = response(304, ETag='"1"')
    assert (await resolve(github, "gh", "org/repo/HEAD")).ref == "a" * 40
    assert api.requests[-1].headers["if-none-match"] == '"1"'


def rate_limited(**headers: str) -> bytes:
    return response(403, b"API rate limit exceeded", X_RateLimit_Remaining="0", **headers)


async def test_a_rate_limit_is_no_reason_to_fail_when_git_answers(
    github: RepositorySources, api: WebServer, repository: Path
) -> None:
    api.anything = rate_limited()
    resolved = await resolve(github, "gh", "org/repo/main")
    assert resolved.ref == git(repository, "rev-parse", "main")


async def test_a_rate_limit_is_told_with_the_time_to_wait(
    github: RepositorySources, api: WebServer, server: GitServer
) -> None:
    api.anything = rate_limited(X_RateLimit_Reset=str(int(time.time()) + 400))
    server.redirects["/"] = "/"  # git does not answer either
    with pytest.raises(SourceUnavailable) as caught:
        await resolve(github, "gh", "org/repo/main")
    assert caught.value.message == "GitHub rate limit exceeded. Try again in 10 minutes."
    assert 390 <= (caught.value.retry_after or 0) <= 400
    assert_for_people(caught.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response(404, b'{"message": "Not Found"}'), RepositoryNotFound),
        (response(409, b'{"message": "Git Repository is empty."}'), RefNotFound),
        (response(200, b"no commit"), SourceInvalid),
        (response(200, b'{"sha": "short"}'), SourceInvalid),
        (response(200, b"[]"), SourceInvalid),
        (response(500), RepositoryNotFound),  # git answers instead: there is none
        (response(401, b"Bad credentials"), RepositoryNotFound),
    ],
)
async def test_every_answer_of_the_api_is_a_clear_error(
    github: RepositorySources, api: WebServer, answer: bytes, error: type[Exception]
) -> None:
    api.anything = answer
    with pytest.raises(error):
        await resolve(github, "gh", "org/nothing/HEAD")


def gist(owner: str = "someone", *, public: bool = True) -> bytes:
    history = [{"version": "a" * 40}, {"version": "b" * 40}]
    return json_response({"owner": {"login": owner}, "public": public, "history": history})


@pytest.mark.parametrize(
    ("raw", "sha"),
    [
        ("someone/abc123", "a"),
        ("Someone/ABC123/", "a"),
        ("someone/abc123/HEAD", "a"),
        ("someone/abc123/master", "a"),
        ("someone/abc123/" + "B" * 40, "b"),
    ],
)
async def test_a_gist_is_its_newest_or_a_named_version(
    github: RepositorySources, api: WebServer, raw: str, sha: str
) -> None:
    api.answers["/gists/abc123"] = gist()
    resolved = await resolve(github, "gist", raw)
    assert resolved.ref == sha * 40
    assert resolved.persistent_spec.lower() == f"gist/someone/abc123/{sha * 40}"
    assert resolved.ref_url.lower() == f"https://gist.github.com/someone/abc123/{sha * 40}"


@pytest.mark.parametrize(
    ("raw", "answer", "error"),
    [
        ("somebody/abc123", gist(), RepositoryNotFound),
        ("someone/abc123", gist(public=False), RepositoryNotFound),
        ("someone/abc123/" + "c" * 40, gist(), RefNotFound),
        ("someone/abc123/branch", gist(), RefNotFound),
        ("someone/abc123", response(404), RepositoryNotFound),
        ("someone/abc123", json_response([]), SourceInvalid),
        ("someone/abc123", json_response({"owner": None, "public": True, "history": []}), SourceInvalid),
        ("someone/abc123", json_response({"owner": {"login": "someone"}, "public": True, "history": []}), RefNotFound),
        ("someone/abc123", rate_limited(), SourceUnavailable),
    ],
)
async def test_a_gist_that_is_not_that_persons_public_gist_is_refused(
    github: RepositorySources, api: WebServer, raw: str, answer: bytes, error: type[Exception]
) -> None:
    api.answers["/gists/abc123"] = answer
    with pytest.raises(error):
        await resolve(github, "gist", raw)


@pytest.mark.parametrize("raw", ["someone", "someone/nothex", "a/b/c/d", "../abc/HEAD", "someone/abc/--x", ""])
def test_what_is_no_gist_is_refused(sources: RepositorySources, raw: str) -> None:
    with pytest.raises(SpecInvalid):
        sources.parse("gist", raw)


async def test_a_gitlab_project_resolves_and_arrives(make_sources: MakeSources, server: GitServer) -> None:
    path = make_repository(server.directory / "group" / "sub" / "project.git", {"a": "1"}, branch="trunk")
    tag(path, "v1", "trunk", message="a release")
    sources = make_sources(gitlab_url=server.url())
    sha = git(path, "rev-parse", "trunk")
    for raw, name in (
        ("group%2Fsub%2Fproject/v1", "refs/tags/v1"),
        ("group%2Fsub%2Fproject.git/HEAD/", "refs/heads/trunk"),
        ("group%2Fsub%2Fproject/master", "refs/heads/trunk"),
    ):
        resolved = await resolve(sources, "gl", raw)
        assert (resolved.ref, resolved.ref_name) == (sha, name)
        assert resolved.persistent_spec == f"gl/group%2Fsub%2Fproject/{sha}"
        assert resolved.ref_url.endswith(f"/group/sub/project/-/tree/{sha}")
        assert (await sources.fetch(resolved)).commit == sha
    with pytest.raises(RefNotFound):
        await resolve(sources, "gl", "group%2Fsub%2Fproject/other")


@pytest.mark.parametrize(
    "raw",
    ["group/project/main", "project/main", "group%2Fproject", "group%2F..%2Fx/main", "%2F/main", "group%2F%2Fx/main"],
)
def test_what_is_no_gitlab_project_is_refused(sources: RepositorySources, raw: str) -> None:
    with pytest.raises(SpecInvalid):
        sources.parse("gl", raw)


def test_a_forge_at_a_private_address_needs_the_operators_word(make_sources: MakeSources) -> None:
    with pytest.raises(ConfigurationInvalid):
        make_sources(gitlab_url="http://10.0.0.1/")
