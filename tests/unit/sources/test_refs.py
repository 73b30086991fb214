"""Which commit a link means, against a real git server."""

from __future__ import annotations

import pytest

from launcher.errors import AddressRefused, LauncherError, RefAmbiguous, RefNotFound, RepositoryNotFound, SpecInvalid
from launcher.sources import GitTree, RepositorySources
from tests.support.git_server import GitServer, branch, commit, git, make_repository, tag
from tests.support.sources import assert_for_people, git_spec, resolve


async def test_a_branch_is_itself_and_not_one_that_ends_like_it(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "good"})
    commit(path, {"a": "bad"}, branch="evil/main")
    resolved = await resolve(sources, server.url("r"), "main")
    assert (resolved.ref, resolved.ref_name) == (git(path, "rev-parse", "main"), "refs/heads/main")
    slashed = await resolve(sources, server.url("r"), "evil/main")
    assert slashed.ref_name == "refs/heads/evil/main"
    encoded = await resolve(sources, server.url("r"), "evil%2Fmain/")
    assert encoded.ref == slashed.ref


async def test_a_name_that_only_ends_a_branch_is_not_found(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "1"}, branch="trunk")
    branch(path, "evil/main", "trunk")
    branch(path, "refs/tags/evil/v1", "trunk")
    for name in ("main", "v1"):
        with pytest.raises(RefNotFound, match=name):
            await resolve(sources, server.url("r"), name)


async def test_head_is_the_default_branch_by_its_name(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "1"}, branch="trunk")
    resolved = await resolve(sources, server.url("r"), "HEAD")
    assert (resolved.ref, resolved.ref_name) == (git(path, "rev-parse", "trunk"), "refs/heads/trunk")
    git(path, "update-ref", "--no-deref", "HEAD", git(path, "rev-parse", "trunk"))
    assert (await resolve(sources, server.url("r"), "HEAD")).ref_name == "HEAD"


async def test_tags_are_peeled_to_their_commit(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    wanted = git(path, "rev-parse", "main")
    tag(path, "light")
    assert tag(path, "annotated", message="a release") != wanted
    tag(path, "twice", "annotated", message="a tag of a tag")
    for name in ("light", "annotated", "twice"):
        resolved = await resolve(sources, server.url("r"), name)
        assert (resolved.ref, resolved.ref_name) == (wanted, f"refs/tags/{name}")
        assert (await sources.fetch(resolved)).commit == wanted


@pytest.mark.parametrize("target", ["main:a", "main^{tree}"])
async def test_a_tag_of_something_else_than_a_commit_is_refused(
    server: GitServer, sources: RepositorySources, target: str
) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    tag(path, "odd", target, message="not a commit")
    with pytest.raises(RefNotFound) as caught:
        await sources.fetch(await resolve(sources, server.url("r"), "odd"))
    assert_for_people(caught.value)


async def test_a_branch_and_a_tag_of_one_name_are_ambiguous_unless_they_agree(
    server: GitServer, sources: RepositorySources
) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    tag(path, "v1", message="a release")
    branch(path, "v1")
    assert (await resolve(sources, server.url("r"), "v1")).ref_name == "refs/heads/v1"
    newer = commit(path, {"a": "2"}, branch="v1")
    with pytest.raises(RefAmbiguous) as caught:
        await resolve(sources, server.url("r"), "v1")
    assert "refs/heads/v1" in caught.value.hint
    assert "refs/tags/v1" in caught.value.hint
    assert (await resolve(sources, server.url("r"), "refs/heads/v1")).ref == newer
    assert (await resolve(sources, server.url("r"), "refs/tags/v1")).ref == git(path, "rev-parse", "main")


@pytest.mark.parametrize(
    ("ref", "identity", "shown"),
    [
        ("refs/pull/1/head", "#pull/1", "#1"),
        ("pull/1/head", "#pull/1", "#1"),
        ("refs%2Fpull%2F1%2Fmerge", "#pull/1", "#1"),
        ("refs/merge-requests/5/head", "#merge-requests/5", "!5"),
    ],
)
async def test_a_request_to_merge_is_a_repository_of_its_own(
    server: GitServer, sources: RepositorySources, ref: str, identity: str, shown: str
) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    for name in ("refs/pull/1/head", "refs/pull/1/merge", "refs/merge-requests/5/head"):
        commit(path, {"a": "a stranger's"}, branch=name)
    full = ref.replace("%2F", "/") if ref.startswith("refs") else f"refs/{ref}"
    branch(path, full.removeprefix("refs/"))  # a branch of the same name is not what is meant
    own = (await resolve(sources, server.url("r"), "main")).repository
    resolved = await resolve(sources, server.url("r"), ref)
    assert (resolved.ref, resolved.ref_name) == (git(path, "rev-parse", full), full)
    assert resolved.persistent_spec.endswith(f"/{full}"), "no commit of it is the repository's"
    assert resolved.repository.is_proposal
    assert (resolved.repository.id, resolved.repository.display_name) == (own.id + identity, own.display_name + shown)
    assert (resolved.repository.name, resolved.repository.url) == (own.name, own.url)
    snapshot = await sources.fetch(resolved)
    assert (await GitTree.load(snapshot.cache, snapshot.commit)).read("a") == b"a stranger's"
    with pytest.raises(RefNotFound, match="No branch or tag"):
        await sources.fetch(await resolve(sources, server.url("r"), resolved.ref))


async def test_a_request_to_merge_that_is_not_there_is_said_by_its_number(
    server: GitServer, sources: RepositorySources
) -> None:
    make_repository(server.directory / "r", {"a": "1"})
    with pytest.raises(RefNotFound, match="no request to merge with the number 7"):
        await resolve(sources, server.url("r"), "refs/pull/7/head")
    for name in ("1/head", "refs/pull/01/head", "refs/pull/1/head/x", "refs/pull/1"):
        with pytest.raises(RefNotFound, match="no branch"):
            await resolve(sources, server.url("r"), name)


async def test_a_commit_in_capitals_is_the_commit(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    sha = git(path, "rev-parse", "main")
    resolved = await resolve(sources, server.url("r"), sha.upper())
    assert (resolved.ref, resolved.ref_name) == (sha, None)
    assert resolved.persistent_spec.endswith(f"/{sha}")


async def test_a_branch_called_like_a_commit_is_not_the_commit(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    branch(path, "refs/heads/" + "a" * 40)
    resolved = await resolve(sources, server.url("r"), "a" * 40)
    with pytest.raises(RefNotFound):
        await sources.fetch(resolved)


@pytest.mark.parametrize("ref", ["a" * 39, "a" * 41, "0" * 40])
async def test_what_is_nearly_a_commit_is_not_found(server: GitServer, sources: RepositorySources, ref: str) -> None:
    make_repository(server.directory / "r", {"a": "1"})
    with pytest.raises(RefNotFound):
        await resolve(sources, server.url("r"), ref)


@pytest.mark.parametrize(
    "ref",
    [
        "--output=/tmp/p",
        "-x",
        "--upload-pack=touch%20p",
        "a..b",
        "HEAD@{1}",
        "HEAD^{/x}",
        "HEAD~1",
        "main^",
        ":/fix",
        "refs/heads/../../x",
        "a" * 40 + " --x",
        "a" * 40 + "%20--x",
        "x" * 5000,
        "a b",
        "a%20b",
        "x\u202egpj",
        "main.lock",
        "a.lock/b",
        "main%0a",
        "main\n",
        "%00",
        "%ff%fe",
        "\ud800",
        ".hidden",
        "a/.b",
        "a//b",
        "x.",
        "@",
        "a\\b",
        "a*",
        "a?b",
        "[x]",
    ],
    ids=lambda ref: ascii(ref[:30]),
)
def test_a_name_that_git_does_not_allow_is_refused_before_anything_is_asked(
    server: GitServer, sources: RepositorySources, ref: str
) -> None:
    with pytest.raises(SpecInvalid) as caught:
        sources.parse("git", git_spec(server.url("r"), ref))
    assert_for_people(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("ref", ["HEAD;id", "$(id)", "`id`", "é", "release/2024#1", "a&b", "'x'"])
async def test_odd_names_that_git_allows_are_just_names(
    server: GitServer, sources: RepositorySources, ref: str
) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    with pytest.raises(RefNotFound):
        await resolve(sources, server.url("r"), ref)
    branch(path, f"refs/heads/{ref}")
    assert (await resolve(sources, server.url("r"), ref)).ref_name == f"refs/heads/{ref}"


async def test_an_empty_repository_says_so(server: GitServer, sources: RepositorySources) -> None:
    make_repository(server.directory / "r")
    with pytest.raises(RefNotFound, match="empty"):
        await resolve(sources, server.url("r"), "HEAD")


async def test_a_head_that_points_nowhere_is_no_default_branch(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "1"})
    git(path, "symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(RefNotFound, match="no default branch"):
        await resolve(sources, server.url("r"), "HEAD")
    assert (await resolve(sources, server.url("r"), "main")).ref_name == "refs/heads/main"


async def test_a_sha256_repository_works_like_any_other(server: GitServer, sources: RepositorySources) -> None:
    path = make_repository(server.directory / "r", {"a": "1"}, object_format="sha256")
    resolved = await resolve(sources, server.url("r"), "main")
    assert len(resolved.ref) == 64
    snapshot = await sources.fetch(resolved)
    assert (await GitTree.load(snapshot.cache, snapshot.commit)).read("a") == b"1"
    older = git(path, "rev-parse", "main")
    commit(path, {"a": "2"})
    await sources.tools.cache.forget(resolved.repository.id)
    assert (await sources.fetch(await resolve(sources, server.url("r"), older))).commit == older


async def test_a_repository_that_is_not_there_or_private_is_not_found(
    server: GitServer, sources: RepositorySources
) -> None:
    with pytest.raises(RepositoryNotFound) as missing:
        await resolve(sources, server.url("nothing"), "main")
    make_repository(server.directory / "r", {"a": "1"})
    server.password = "user:s3cret"
    with pytest.raises(RepositoryNotFound) as private:
        await resolve(sources, server.url("r"), "main")
    assert missing.value.message == private.value.message
    assert_for_people(missing.value)


async def test_credentials_in_an_address_are_refused_and_never_shown(
    server: GitServer, sources: RepositorySources
) -> None:
    url = server.url("r").replace("://", "://user:s3cret@")
    with pytest.raises(AddressRefused) as caught:
        sources.parse("git", git_spec(url, "main"))
    assert_for_people(caught.value)


async def test_an_unlistening_port_is_unavailable(server: GitServer, sources: RepositorySources) -> None:
    with GitServer(server.directory) as gone:
        url, host = gone.url("r"), gone.host
    closed = RepositorySources(
        type(sources.tools.config)(sources.tools.config.cache_directory, allow_hosts=frozenset({host}))
    )
    with pytest.raises(LauncherError) as caught:
        await resolve(closed, url, "main")
    assert caught.value.code == "source_unavailable"
    assert_for_people(caught.value)
