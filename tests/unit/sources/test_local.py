"""A directory of this machine as a repository, edits and all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from launcher.errors import LauncherError, RepositoryNotFound, SourceInvalid, SourceTooLarge
from launcher.sources import GitTree, RepositorySources
from launcher.sources.commits import commit_words
from tests.support.git_server import git
from tests.support.sources import assert_for_people

MakeSources = Callable[..., RepositorySources]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "my course"
    path.mkdir()
    return path.resolve()


@pytest.fixture
def sources(make_sources: MakeSources, directory: Path) -> RepositorySources:
    return make_sources(local_directories=(directory,))


def spec_of(directory: Path, ref: str = "/worktree") -> str:
    return quote(str(directory), safe="") + ref


async def content(sources: RepositorySources, directory: Path, ref: str = "/worktree") -> dict[str, bytes]:
    snapshot = await sources.fetch(await sources.resolve(sources.parse("local", spec_of(directory, ref))))
    tree = await GitTree.load(snapshot.cache, snapshot.commit)
    return {path: tree.read(path) for path in tree.files()}


async def test_a_plain_directory_is_its_files(sources: RepositorySources, directory: Path) -> None:
    (directory / "a.txt").write_bytes(b"windows\r\n")
    (directory / "sub").mkdir()
    (directory / "sub" / 'odd "name"\n\\.txt').write_text("x")
    (directory / "empty").write_text("")
    assert await content(sources, directory) == {
        "a.txt": b"windows\r\n",
        "empty": b"",
        'sub/odd "name"\n\\.txt': b"x",
    }


@pytest.mark.parametrize("ref", ["", "/", "/worktree", "/main", "/anything/else"])
async def test_the_ref_is_for_the_eye_only(sources: RepositorySources, directory: Path, ref: str) -> None:
    (directory / "a").write_text("1")
    assert await content(sources, directory, ref) == {"a": b"1"}


async def test_the_same_files_are_the_same_commit_and_an_edit_is_another(
    sources: RepositorySources, directory: Path
) -> None:
    spec = sources.parse("local", spec_of(directory))
    (directory / "a").write_text("1")
    first = await sources.resolve(spec)
    os.utime(directory / "a", (1, 1))
    assert (await sources.resolve(spec)).ref == first.ref
    (directory / "a").write_text("2")
    second = await sources.resolve(spec)
    assert second.ref != first.ref
    snapshot = await sources.fetch(first)
    assert (await GitTree.load(snapshot.cache, snapshot.commit)).read("a") == b"1"


async def test_a_working_tree_has_its_edits_and_not_what_it_ignores(
    sources: RepositorySources, directory: Path
) -> None:
    git(directory, "init", "--quiet")
    for name, text in {
        "kept": "1",
        "edited": "1",
        "gone": "1",
        "tracked.log": "1",
        ".gitignore": "*.log\nbuild/\n",
    }.items():
        (directory / name).write_text(text)
    git(directory, "add", "--force", ".")
    git(directory, "commit", "--quiet", "--message", "begin")
    (directory / "edited").write_text("2")
    (directory / "gone").unlink()
    (directory / "new").write_text("3")
    (directory / "other.log").write_text("noise")
    (directory / "build").mkdir()
    (directory / "build" / "x").write_text("noise")
    found = await content(sources, directory)
    assert sorted(found) == [".gitignore", "edited", "kept", "new", "tracked.log"]
    assert found["edited"] == b"2"


async def test_nothing_in_a_working_tree_is_run(sources: RepositorySources, directory: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (directory / "a").write_text("1")
    git(directory, "init", "--quiet")
    (directory / ".gitattributes").write_text("* filter=evil\n")
    for name in ("core.fsmonitor", "filter.evil.clean", "filter.evil.process", "core.sshCommand", "diff.external"):
        git(directory, "config", name, f"touch '{canary}'; false")
    assert sorted(await content(sources, directory)) == [".gitattributes", "a"]
    assert not canary.exists()


async def test_links_and_special_files_are_not_followed(
    sources: RepositorySources, directory: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    (directory / "a").write_text("1")
    (directory / "a").chmod(0o755)
    (directory / "link").symlink_to(tmp_path / "secret" / "file")
    (directory / "folder").symlink_to(tmp_path / "secret")
    os.mkfifo(directory / "pipe")
    (directory / ".git").mkdir()
    (directory / "sub").mkdir()
    (directory / "sub" / ".GIT").write_text("gitdir: /etc")
    snapshot = await sources.fetch(await sources.resolve(sources.parse("local", spec_of(directory))))
    tree = await GitTree.load(snapshot.cache, snapshot.commit)
    assert tree.modes() == {"a": "100755", "link": "120000", "folder": "120000"}


async def test_a_folder_that_became_a_link_is_not_read_through(
    sources: RepositorySources, directory: Path, tmp_path: Path
) -> None:
    git(directory, "init", "--quiet")
    (directory / "sub").mkdir()
    (directory / "sub" / "file").write_text("mine")
    git(directory, "add", ".")
    (directory / "sub" / "file").unlink()
    (directory / "sub").rmdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_text("secret")
    (directory / "sub").symlink_to(tmp_path / "secret")
    (directory / "a").write_text("1")
    assert await content(sources, directory) == {"a": b"1"}


@pytest.mark.parametrize("path", ["/etc", "/", "relative", "", "%2e%2e", "/nonexistent"])
def test_only_listed_directories_are_offered(sources: RepositorySources, directory: Path, path: str) -> None:
    for raw in (quote(path, safe=""), quote(f"{directory}/../other", safe=""), quote(f"{directory}/sub", safe="")):
        with pytest.raises(LauncherError) as caught:
            sources.parse("local", f"{raw}/worktree")
        assert caught.value.code in {"repository_not_found", "spec_invalid"}
        assert_for_people(caught.value)


def test_without_directories_there_is_no_local_provider(make_sources: MakeSources) -> None:
    assert "local" not in {entry["id"] for entry in make_sources().describe()}


async def test_a_directory_that_is_gone_or_too_large_says_so(
    make_sources: MakeSources, directory: Path, tmp_path: Path
) -> None:
    (directory / "a").write_bytes(b"x" * 5000)
    small = make_sources(local_directories=(directory,), max_content_bytes=1000)
    with pytest.raises(SourceTooLarge) as caught:
        await content(small, directory)
    assert_for_people(caught.value)
    none = make_sources(local_directories=(directory,), max_files=0)
    with pytest.raises(SourceTooLarge):
        await content(none, directory)
    os.rename(directory, tmp_path / "elsewhere")  # noqa: PTH104 - the test is async
    with pytest.raises(RepositoryNotFound):
        await content(small, directory)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_an_unreadable_file_says_so(sources: RepositorySources, directory: Path) -> None:
    (directory / "a").write_text("1")
    (directory / "a").chmod(0)
    with pytest.raises(SourceInvalid):
        await content(sources, directory)


async def test_nobody_is_told_a_date_at_which_the_files_were_committed(
    sources: RepositorySources, directory: Path
) -> None:
    (directory / "a").write_text("1")
    snapshot = await sources.fetch(await sources.resolve(sources.parse("local", spec_of(directory))))
    assert await commit_words(snapshot) is None


async def test_a_directory_is_shown_by_its_name(sources: RepositorySources, directory: Path) -> None:
    (directory / "a").write_text("1")
    resolved = await sources.resolve(sources.parse("local", spec_of(directory, "")))
    assert resolved.repository.name == "my-course"
    assert resolved.repository.display_name == "my course"
    assert resolved.persistent_spec == f"local/{quote(str(directory), safe='')}/worktree"
