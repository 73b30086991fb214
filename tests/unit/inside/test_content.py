from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from launcher.hub.inside.problem import Problem
from tests.unit.inside.upstream import IDENTITY, Student, Upstream, everything, git

LINES = "".join(f"line {number}\n" for number in range(20))


def notebook(*cells: tuple[str, str]) -> str:
    body = {
        "cells": [
            {"cell_type": "code", "id": name, "metadata": {}, "outputs": [], "execution_count": None, "source": [text]}
            for name, text in cells
        ],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(body, indent=1) + "\n"


def test_a_first_click_makes_a_small_clone_that_knows_where_it_came_from(student: Student, upstream: Upstream) -> None:
    upstream.commit({"a.txt": "old\n"})
    commit = upstream.commit({"a.txt": "one\n", "deep/b.txt": "two\n"})
    directory, messages = student.click(commit)
    assert directory == student.home / "notes"
    assert everything(directory) == {"a.txt": b"one\n", "deep/b.txt": b"two\n"}
    assert messages == ["Put the repository's files in notes."]
    assert git(directory, "rev-parse", "HEAD") == commit
    assert git(directory, "rev-list", "--count", "HEAD") == "1"
    assert git(directory, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert git(directory, "config", "remote.origin.url") == "https://example.org/class/notes"
    assert git(directory, "config", "launcher.repository") == IDENTITY
    assert git(directory, "rev-parse", "main@{upstream}") == commit
    assert git(directory, "status", "--porcelain") == ""
    assert "user" not in (directory / ".git" / "config").read_text()
    assert "worktree" not in (directory / ".git" / "config").read_text()
    assert [path.name for path in student.home.iterdir() if path.name != ".local"] == ["notes"]


@pytest.mark.parametrize("name", ["numpy", "bin", "R", "node_modules"])
def test_beside_a_persons_own_files_a_repository_has_no_name_that_programs_look_for(
    student: Student, upstream: Upstream, name: str
) -> None:
    commit = upstream.commit({"__init__.py": "a stranger's"})
    directory, _ = student.click(commit, beside=True, name=name)
    assert re.fullmatch(f"{name}-[0-9a-f]{{8}}", directory.name)
    assert student.click(commit, beside=True, name=name) == (directory, [])
    assert not (student.home / name).exists()


@pytest.mark.parametrize("name", ["notes", "my-course"])
def test_files_that_are_in_the_home_already_stay_where_they_are(
    student: Student, upstream: Upstream, name: str
) -> None:
    commit = upstream.commit({"a.txt": "one\n"})
    launched, _ = student.click(commit, name=name)
    assert launched == student.home / name
    assert student.click(commit, beside=True, name=name) == (launched, [])


def test_git_pull_by_hand_works_and_a_later_click_goes_on_from_there(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": LINES}))
    git(directory, "config", "remote.origin.url", str(upstream.cache))
    upstream.commit({"a.txt": LINES.replace("line 3", "pulled 3")})
    git(directory, "pull", "-q")
    assert "pulled 3" in (directory / "a.txt").read_text()
    student.click(upstream.commit({"a.txt": LINES.replace("line 3", "third 3")}))
    assert everything(directory) == {"a.txt": LINES.replace("line 3", "third 3").encode()}


def test_without_edits_the_copy_simply_becomes_the_new_commit(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n", "gone.txt": "x\n", "d/e.txt": "x\n"}))
    commit = upstream.commit({"a.txt": "two\n", "gone.txt": None, "d/e.txt": None, "new/c.txt": "c\n"})
    student.click(commit)
    assert everything(directory) == {"a.txt": b"two\n", "new/c.txt": b"c\n"}
    assert not (directory / "d").exists()
    assert git(directory, "rev-parse", "HEAD") == commit
    assert git(directory, "status", "--porcelain") == ""


def test_a_second_click_on_the_same_commit_changes_nothing(student: Student, upstream: Upstream) -> None:
    commit = upstream.commit({"a.txt": "one\n"})
    directory, _ = student.click(commit)
    (directory / "a.txt").write_text("mine\n")
    (directory / "own.txt").write_text("own\n")
    before, head = everything(directory), git(directory, "rev-parse", "HEAD")
    assert student.click(commit) == (directory, [])
    assert everything(directory) == before
    assert git(directory, "rev-parse", "HEAD") == head


def test_edits_and_upstream_changes_of_other_lines_are_both_there(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": LINES}))
    (directory / "a.txt").write_text(LINES.replace("line 2\n", "mine 2\n"))
    commit = upstream.commit({"a.txt": LINES.replace("line 17\n", "theirs 17\n")})
    student.click(commit)
    merged = LINES.replace("line 2\n", "mine 2\n").replace("line 17\n", "theirs 17\n")
    assert everything(directory) == {"a.txt": merged.encode()}
    assert git(directory, "merge-base", "--is-ancestor", commit, "HEAD") == ""
    assert git(directory, "log", "-1", "--format=%an <%ae>") == "launcher <launcher@localhost>"
    assert git(directory, "status", "--porcelain") == ""


def test_on_a_conflict_my_lines_stay_and_upstreams_version_lies_beside(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"d/a.txt": LINES}))
    (directory / "d/a.txt").write_text(LINES.replace("line 2\n", "mine 2\n"))
    theirs = LINES.replace("line 2\n", "theirs 2\n").replace("line 17\n", "theirs 17\n")
    commit = upstream.commit({"d/a.txt": theirs})
    _, messages = student.click(commit)
    mine = LINES.replace("line 2\n", "mine 2\n").replace("line 17\n", "theirs 17\n")
    assert everything(directory) == {
        "d/a.txt": mine.encode(),
        f"d/a__upstream_{commit[:7]}.txt": theirs.encode(),
    }
    assert any(f"a__upstream_{commit[:7]}.txt" in message for message in messages)
    assert student.click(commit) == (directory, [])


def test_a_merged_notebook_is_still_a_notebook(student: Student, upstream: Upstream) -> None:
    cells = [(name, f"print('{name}')") for name in "abcdefgh"]
    directory, _ = student.click(upstream.commit({"n.ipynb": notebook(*cells)}))
    mine = [*cells[:1], ("mine", "my own"), *cells[1:]]
    theirs = [*cells[:6], ("theirs", "their own"), *cells[6:]]
    (directory / "n.ipynb").write_text(notebook(*mine))
    student.click(upstream.commit({"n.ipynb": notebook(*theirs)}))
    merged = json.loads((directory / "n.ipynb").read_text())
    assert [cell["id"] for cell in merged["cells"]] == ["a", "mine", "b", "c", "d", "e", "f", "theirs", "g", "h"]


def test_a_notebook_that_would_break_stays_whole_mine(student: Student, upstream: Upstream) -> None:
    plain = notebook(("a", "1"), ("b", "2"))
    directory, _ = student.click(upstream.commit({"n.ipynb": plain}))
    mine = plain.replace('"nbformat_minor": 5', '"nbformat_minor": 5,\n "mine": 1')
    (directory / "n.ipynb").write_text(mine)
    theirs = json.dumps(json.loads(plain)) + "\n"  # the same notebook on one line: no line merge can be right
    commit = upstream.commit({"n.ipynb": theirs})
    student.click(commit)
    assert (directory / "n.ipynb").read_text() == mine
    assert (directory / f"n__upstream_{commit[:7]}.ipynb").read_text() == theirs


def test_lines_that_merge_cleanly_into_broken_json_are_not_written(student: Student, upstream: Upstream) -> None:
    base = '{\n "cells": [\n  {"id": "a"}\n ],\n' + "\n" * 6 + ' "metadata": {}\n}\n'
    directory, _ = student.click(upstream.commit({"n.ipynb": base}))
    mine = base.replace('{\n "cells"', '{\n "extra": 1,\n "cells"')
    (directory / "n.ipynb").write_text(mine)
    theirs = base.replace('"metadata": {}', '"metadata": {},\n "extra": 2')
    commit = upstream.commit({"n.ipynb": theirs})
    student.click(commit)
    assert (directory / "n.ipynb").read_text() == mine
    assert (directory / f"n__upstream_{commit[:7]}.ipynb").read_text() == theirs


def test_binary_files_changed_on_both_sides_are_both_kept(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"p.png": b"\x00base\x00"}))
    (directory / "p.png").write_bytes(b"\x00mine\x00")
    commit = upstream.commit({"p.png": b"\x00theirs\x00"})
    student.click(commit)
    assert everything(directory) == {"p.png": b"\x00mine\x00", f"p__upstream_{commit[:7]}.png": b"\x00theirs\x00"}


def test_what_i_deleted_comes_back_as_upstreams_version(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n", "d/b.txt": "b\n", "c.txt": "c\n"}))
    (directory / "a.txt").unlink()
    (directory / "d/b.txt").unlink()
    (directory / "d").rmdir()
    second = upstream.commit({"a.txt": "two\n"})
    student.click(second)
    assert everything(directory) == {"a.txt": b"two\n", "d/b.txt": b"b\n", "c.txt": b"c\n"}
    assert git(directory, "rev-parse", "HEAD") == second
    (directory / "c.txt").unlink()
    _, messages = student.click(second)
    assert (directory / "c.txt").read_text() == "c\n"
    assert messages == ["Restored what was deleted: c.txt."]


def test_deleting_a_file_i_had_edited_is_how_to_get_a_fresh_one(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n", "b.txt": "b\n"}))
    (directory / "a.txt").write_text("mine\n")
    student.click(upstream.commit({"b.txt": "bb\n"}))
    assert (directory / "a.txt").read_text() == "mine\n"
    (directory / "a.txt").unlink()
    student.click(upstream.commit({"b.txt": "bbb\n"}))
    assert everything(directory) == {"a.txt": b"one\n", "b.txt": b"bbb\n"}


def test_a_deletion_i_committed_stays(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n", "b.txt": "b\n"}))
    git(directory, "rm", "-q", "a.txt")
    git(directory, "commit", "-q", "-m", "not needed")
    student.click(upstream.commit({"a.txt": "two\n", "b.txt": "bb\n"}))
    assert everything(directory) == {"b.txt": b"bb\n"}


def test_my_untracked_file_makes_room_for_one_that_upstream_adds(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    (directory / "new.tar.gz").write_text("mine\n")
    (directory / "same.txt").write_text("same\n")
    (directory / "folder").mkdir()
    (directory / "folder" / "deep").write_text("mine too\n")
    (directory / "file").write_text("a file\n")
    commit = upstream.commit({"new.tar.gz": "theirs\n", "same.txt": "same\n", "folder": "a file\n", "file/x": "x\n"})
    _, messages = student.click(commit)
    found = everything(directory)
    renamed = {name.split("__")[0]: text for name, text in found.items() if "__" in name}
    assert renamed == {"new.tar": b"mine\n", "folder": b"mine too\n", "file": b"a file\n"}
    assert found["new.tar.gz"] == b"theirs\n"
    assert found["file/x"] == b"x\n"
    assert found["folder"] == b"a file\n"
    assert any("new.tar__" in message for message in messages)


def test_a_file_i_changed_and_upstream_deleted_stays(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n", "b.txt": "b\n"}))
    (directory / "a.txt").write_text("mine\n")
    commit = upstream.commit({"a.txt": None})
    _, messages = student.click(commit)
    assert everything(directory) == {"a.txt": b"mine\n", "b.txt": b"b\n"}
    assert "Kept, although the repository has deleted them: a.txt." in messages


def test_a_tracked_file_in_the_place_of_a_new_directory_keeps_its_name(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"data": "one\n", "tree/x": "x\n"}))
    (directory / "data").write_text("mine\n")
    (directory / "tree/x").write_text("mine\n")
    commit = upstream.commit({"data": None, "tree/x": None})
    commit = upstream.commit({"data/x": "theirs\n", "tree": "theirs\n"})
    student.click(commit)
    word = f"__upstream_{commit[:7]}"
    assert everything(directory) == {
        "data": b"mine\n",
        f"data{word}/x": b"theirs\n",
        "tree/x": b"mine\n",
        f"tree{word}": b"theirs\n",
    }


def test_local_commits_stay_in_the_history(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": LINES}))
    (directory / "own.txt").write_text("own\n")
    git(directory, "add", "own.txt")
    git(directory, "commit", "-q", "-m", "my own work")
    mine = git(directory, "rev-parse", "HEAD")
    (directory / "staged.txt").write_text("staged\n")
    git(directory, "add", "staged.txt")
    (directory / "staged.txt").write_text("and changed again\n")
    commit = upstream.commit({"a.txt": LINES + "more\n"})
    student.click(commit)
    assert everything(directory) == {
        "a.txt": (LINES + "more\n").encode(),
        "own.txt": b"own\n",
        "staged.txt": b"and changed again\n",
    }
    assert git(directory, "merge-base", "--is-ancestor", mine, "HEAD") == ""
    assert git(directory, "merge-base", "--is-ancestor", commit, "HEAD") == ""
    assert git(directory, "show", "HEAD~2:staged.txt") == "staged"  # what only the index had is in a commit too
    assert git(directory, "symbolic-ref", "HEAD") == "refs/heads/main"


def test_rewritten_history_needs_no_common_ancestor(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": LINES, "b.txt": "b\n"}))
    (directory / "a.txt").write_text(LINES.replace("line 2\n", "mine 2\n"))
    upstream.rewrite()
    commit = upstream.commit({"a.txt": LINES.replace("line 17\n", "theirs 17\n"), "b.txt": "bb\n"})
    student.click(commit)
    merged = LINES.replace("line 2\n", "mine 2\n").replace("line 17\n", "theirs 17\n")
    assert everything(directory) == {"a.txt": merged.encode(), "b.txt": b"bb\n"}
    upstream.rewrite()
    student.click(upstream.commit({"b.txt": "third\n"}))
    assert everything(directory) == {"a.txt": merged.encode(), "b.txt": b"third\n"}


def test_a_shallow_cache_is_enough(student: Student, upstream: Upstream, tmp_path: Path) -> None:
    upstream.commit({"a.txt": "zero\n"})
    for text in ("one\n", "two\n"):
        commit = upstream.commit({"a.txt": text})
        shallow = tmp_path / f"shallow-{commit[:7]}.git"
        git(tmp_path, "clone", "-q", "--bare", "--depth=1", f"file://{upstream.cache}", str(shallow))
        directory, _ = student.click(commit, repository=shallow)
        assert everything(directory) == {"a.txt": text.encode()}


def test_history_that_the_person_fetched_is_not_cut_off(student: Student, upstream: Upstream) -> None:
    upstream.commit({"a.txt": "zero\n"})
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    git(directory, "config", "remote.origin.url", str(upstream.cache))
    git(directory, "fetch", "-q", "--unshallow")
    student.click(upstream.commit({"a.txt": "two\n"}))
    assert git(directory, "rev-list", "--count", "HEAD") == "3"


def test_an_old_link_goes_back_without_touching_my_edits(student: Student, upstream: Upstream) -> None:
    first = upstream.commit({"a.txt": LINES, "b.txt": "b\n"})
    second = upstream.commit({"a.txt": LINES.replace("line 17\n", "theirs 17\n"), "b.txt": "b\n", "c.txt": "c\n"})
    directory, _ = student.click(second)
    student.click(first, branch=None)
    assert everything(directory) == {"a.txt": LINES.encode(), "b.txt": b"b\n"}
    assert git(directory, "rev-parse", "HEAD") == first
    (directory / "a.txt").write_text(LINES.replace("line 2\n", "mine 2\n"))
    student.click(second)
    student.click(first, branch=None)
    student.click(second)
    merged = LINES.replace("line 2\n", "mine 2\n").replace("line 17\n", "theirs 17\n")
    assert everything(directory) == {"a.txt": merged.encode(), "b.txt": b"b\n", "c.txt": b"c\n"}


def test_another_branch_of_the_same_repository_becomes_the_branch(student: Student, upstream: Upstream) -> None:
    main = upstream.commit({"a.txt": LINES})
    directory, _ = student.click(main)
    (directory / "a.txt").write_text(LINES.replace("line 2\n", "mine 2\n"))
    develop = upstream.commit({"d.txt": "d\n"}, branch="dev/next")
    student.click(develop, branch="refs/heads/dev/next")
    assert git(directory, "symbolic-ref", "--short", "HEAD") == "dev/next"
    assert git(directory, "rev-parse", "dev/next@{upstream}") == develop
    assert everything(directory) == {"a.txt": LINES.replace("line 2\n", "mine 2\n").encode(), "d.txt": b"d\n"}
    student.click(main)
    assert git(directory, "symbolic-ref", "--short", "HEAD") == "main"
    assert everything(directory) == {"a.txt": LINES.replace("line 2\n", "mine 2\n").encode()}


def test_a_branch_of_my_own_with_that_name_is_not_moved(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    git(directory, "checkout", "-q", "-b", "dev")
    (directory / "own.txt").write_text("own\n")
    git(directory, "add", "own.txt")
    git(directory, "commit", "-q", "-m", "mine")
    mine = git(directory, "rev-parse", "dev")
    git(directory, "checkout", "-q", "main")
    commit = upstream.commit({"a.txt": "two\n"}, branch="dev")
    student.click(commit, branch="dev")
    assert git(directory, "rev-parse", "dev") == mine
    assert (directory / "a.txt").read_text() == "two\n"


@pytest.mark.parametrize("state", ["branch", "detached", "merge", "index.lock", "conflict"])
def test_a_copy_in_the_middle_of_something_is_left_exactly_as_it_is(
    student: Student, upstream: Upstream, state: str
) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    if state == "branch":
        git(directory, "checkout", "-q", "-b", "mine")
    elif state == "detached":
        git(directory, "checkout", "-q", "--detach")
    elif state == "index.lock":
        (directory / ".git" / "index.lock").touch()
    else:
        git(directory, "checkout", "-q", "-b", "other")
        (directory / "a.txt").write_text("other\n")
        git(directory, "commit", "-q", "-a", "-m", "other")
        git(directory, "checkout", "-q", "main")
        (directory / "a.txt").write_text("main\n")
        git(directory, "commit", "-q", "-a", "-m", "main")
        with pytest.raises(AssertionError):
            git(directory, "merge", "other")
        if state == "conflict":
            (directory / ".git" / "MERGE_HEAD").unlink()
    (directory / "own.txt").write_text("own\n")
    before, refs = everything(directory), git(directory, "for-each-ref")
    _, messages = student.click(upstream.commit({"a.txt": "two\n"}))
    assert everything(directory) == before
    assert git(directory, "for-each-ref").replace("refs/launcher/incoming", "").startswith(refs[:40])
    assert messages
    assert messages[0].startswith("Your copy in notes was left as it is: ")


def test_locks_of_dead_commands_do_not_stop_updates_for_ever(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    for lock in ("index.lock", "HEAD.lock", "refs/heads/main.lock"):
        (directory / ".git" / lock).touch()
        os.utime(directory / ".git" / lock, (1, 1))
    student.click(upstream.commit({"a.txt": "two\n"}))
    assert everything(directory) == {"a.txt": b"two\n"}
    (directory / ".git" / "index.lock").write_bytes(b"launcher\n")  # a sync that was killed a moment ago
    student.click(upstream.commit({"a.txt": "three\n"}))
    assert everything(directory) == {"a.txt": b"three\n"}


@pytest.mark.parametrize("damage", ["HEAD", "objects", "refs", "index", "blob"])
def test_a_damaged_clone_is_moved_aside_whole(student: Student, upstream: Upstream, damage: str) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": LINES}))
    (directory / "a.txt").write_text("mine\n")
    metadata = directory / ".git"
    if damage == "HEAD":
        (metadata / "HEAD").write_text("nonsense")
    elif damage == "index":
        (metadata / "index").write_bytes(b"nonsense")
    elif damage == "refs":
        (metadata / "refs" / "heads" / "main").write_text("nonsense")
    else:
        for pack in metadata.glob("objects/**/*"):
            if pack.is_file():
                pack.chmod(0o600)
                pack.write_bytes(pack.read_bytes()[:20] if damage == "blob" else b"")
    _, messages = student.click(upstream.commit({"a.txt": "two\n"}))
    [backup] = student.home.glob("notes_backup_*")
    assert everything(backup) == {"a.txt": b"mine\n"}
    assert everything(directory) == {"a.txt": b"two\n"}
    assert backup.name in messages[0]


def test_a_lost_index_is_not_a_wish_to_delete_everything(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n", "b.txt": "b\n"}))
    (directory / ".git" / "index").unlink()
    (directory / "b.txt").write_text("mine\n")
    student.click(upstream.commit({"a.txt": "two\n"}))
    assert everything(directory) == {"a.txt": b"two\n", "b.txt": b"mine\n"}


@pytest.mark.parametrize("occupant", ["directory", "file", "clone", "git file", "dangling link"])
def test_what_has_the_name_already_is_never_touched(student: Student, upstream: Upstream, occupant: str) -> None:
    place = student.home / "notes"
    if occupant == "file":
        place.write_text("mine\n")
    elif occupant == "dangling link":
        place.symlink_to("nowhere")
    else:
        place.mkdir()
        (place / "own.txt").write_text("mine\n")
        if occupant == "clone":
            git(place, "init", "-q")
            git(place, "config", "remote.origin.url", "https://example.org/class/notes")
        elif occupant == "git file":
            (place / ".git").write_text("gitdir: /nowhere\n")
    before = everything(student.home)
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    assert directory.name.startswith("notes-")
    assert len(directory.name) == len("notes-") + 8
    after = everything(student.home)
    assert {name: after[name] for name in before} == before
    assert student.click(upstream.commit({"a.txt": "two\n"}))[0] == directory
    assert (directory / "a.txt").read_text() == "two\n"


def test_two_repositories_of_one_name_never_mix(student: Student, upstream: Upstream, tmp_path: Path) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    other = Upstream(tmp_path / "other")
    commit = other.commit({"b.txt": "other\n"})
    second, _ = student.click(commit, repository=other.cache, identity="gh:example.org/else/notes")
    assert second != directory
    assert everything(directory) == {"a.txt": b"one\n"}
    assert everything(second) == {"b.txt": b"other\n"}


def test_an_empty_directory_of_that_name_is_used(student: Student, upstream: Upstream) -> None:
    (student.home / "notes").mkdir()
    assert student.click(upstream.commit({"a.txt": "one\n"}))[0] == student.home / "notes"


def test_symlinks_arrive_as_links(student: Student, upstream: Upstream) -> None:
    (upstream.work / "link").symlink_to("/etc/hostname")
    directory, _ = student.click(upstream.commit({"a.txt": "a\n"}))
    assert (directory / "link").readlink() == Path("/etc/hostname")
    (upstream.work / "link").unlink()
    (upstream.work / "link").symlink_to("/etc/passwd")
    student.click(upstream.commit({"a.txt": "aa\n"}))
    assert (directory / "link").readlink() == Path("/etc/passwd")


def test_a_directory_that_i_moved_to_a_bigger_disk_is_not_written_through(
    student: Student, upstream: Upstream, tmp_path: Path
) -> None:
    directory, _ = student.click(upstream.commit({"data/x": "x\n"}))
    big = tmp_path / "big"
    (directory / "data").rename(big)
    (directory / "data").symlink_to(big)
    (big / "x").write_text("mine\n")
    student.click(upstream.commit({"data/x": "xx\n"}))
    assert (directory / "data").readlink() == big
    student.click(upstream.commit({"data/y": "y\n"}))
    [kept] = directory.glob("data__*")
    assert kept.readlink() == big
    assert everything(big) == {"x": b"mine\n"}
    assert (directory / "data" / "y").read_text() == "y\n"


def test_line_ending_rules_are_not_edits(student: Student, upstream: Upstream) -> None:
    (upstream.work / "a.txt").write_bytes(b"one\r\ntwo\r\n")
    git(upstream.work, "add", "a.txt")
    git(upstream.work, "commit", "-q", "-m", "before the rules")
    (upstream.work / ".gitattributes").write_text("*.txt text\n")
    git(upstream.work, "add", ".gitattributes")
    git(upstream.work, "commit", "-q", "-m", "rules")
    directory, _ = student.click(upstream.publish())
    os.utime(directory / "a.txt", (1, 1))
    (upstream.work / "a.txt").write_bytes(b"one\ntwo\nthree\n")
    git(upstream.work, "add", "--renormalize", ".")
    git(upstream.work, "commit", "-q", "-m", "renormalized")
    commit = upstream.publish()
    student.click(commit)
    assert everything(directory)["a.txt"] == b"one\ntwo\nthree\n"
    assert git(directory, "rev-parse", "HEAD") == commit


def test_hooks_and_settings_of_the_clone_do_not_run_or_steer(
    student: Student, upstream: Upstream, tmp_path: Path
) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    hooks = directory / ".git" / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change", "pre-commit"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    git(directory, "config", "core.hooksPath", str(hooks))
    git(directory, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
    git(directory, "config", "core.worktree", str(tmp_path))
    git(directory, "config", "commit.gpgSign", "true")
    (directory / "a.txt").write_text("mine\n")
    student.click(upstream.commit({"b.txt": "b\n"}))
    assert everything(directory) == {"a.txt": b"mine\n", "b.txt": b"b\n"}
    assert not (tmp_path / "ran").exists()


def test_a_home_that_is_a_repository_itself_is_not_mistaken_for_the_clone(student: Student, upstream: Upstream) -> None:
    git(student.home, "init", "-q")
    git(student.home, "config", "launcher.repository", IDENTITY)
    (student.home / "notes").mkdir()
    (student.home / "notes" / "own.txt").write_text("mine\n")
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    assert directory != student.home / "notes"
    assert git(student.home, "for-each-ref") == ""


def test_a_tree_with_a_git_directory_in_it_is_refused_and_leaves_nothing(student: Student, upstream: Upstream) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}))
    blob = git(upstream.cache, "hash-object", "-w", "--stdin", stdin="#!/bin/sh\n")
    inner = git(upstream.cache, "mktree", stdin=f"100755 blob {blob}\tconfig\n")
    tree = git(upstream.cache, "mktree", stdin=f"040000 tree {inner}\t.git\n")
    commit = git(upstream.cache, "commit-tree", tree, "-m", "evil")
    before, settings = everything(directory), (directory / ".git" / "config").read_bytes()
    _, messages = student.click(commit)
    assert "left as it is" in messages[0]
    assert everything(directory) == before
    assert (directory / ".git" / "config").read_bytes() == settings
    with pytest.raises(Problem) as refused:
        student.click(commit, identity="gh:example.org/evil/notes", name="evil")
    assert refused.value.code == "content_failed"
    assert not list(student.home.glob(".evil*"))
    assert not (student.home / "evil").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../notes"},
        {"name": "-x"},
        {"name": ".git"},
        {"name": "a.git"},
        {"commit": "HEAD"},
        {"commit": "--output=x"},
        {"url": "https://example.org/\n[core]\n"},
        {"identity": "a\nb"},
        {"identity": ""},
    ],
)
def test_values_that_cannot_be_right_are_refused(student: Student, upstream: Upstream, changes: dict[str, str]) -> None:
    commit = changes.pop("commit", upstream.commit({"a.txt": "one\n"}))
    with pytest.raises(Problem):
        student.click(commit, **changes)
    assert list(student.home.iterdir()) == []


def test_awkward_names_of_branches_files_and_urls_survive(student: Student, upstream: Upstream) -> None:
    names = {'qu"ote.txt': "q\n", "back\\slash": "b\n", "new\nline": "n\n", "ümläut é": "u\n", "-dash": "d\n"}
    branch, url = 'a"b', 'https://example.org/a"b\\c#;'
    commit = upstream.commit(dict(names), branch=branch)
    directory, _ = student.click(commit, branch=branch, url=url)
    assert git(directory, "config", "remote.origin.url") == url
    (directory / "-dash").write_text("mine\n")
    (directory / "new\nline").write_text("mine\n")
    student.click(upstream.commit({"ümläut é": "uu\n", "new\nline": "theirs\n"}, branch=branch), branch=branch)
    found = everything(directory)
    assert found["ümläut é"] == b"uu\n"
    assert found["-dash"] == b"mine\n"
    assert found["new\nline"] == b"mine\n"


@pytest.mark.parametrize("branch", ["a b", "-x", "a..b", "x.lock", "refs/tags/v1", "@{u}"])
def test_a_branch_name_git_refuses_is_no_branch(student: Student, upstream: Upstream, branch: str) -> None:
    directory, _ = student.click(upstream.commit({"a.txt": "one\n"}), branch=branch)
    assert git(directory, "symbolic-ref", "HEAD") == "refs/heads/launcher"
    _, messages = student.click(upstream.commit({"a.txt": "two\n"}), branch=branch)
    assert everything(directory) == {"a.txt": b"two\n"}
    assert "left as it is" not in str(messages)


def test_a_copy_made_from_a_tag_becomes_a_branch_when_a_link_names_one(student: Student, upstream: Upstream) -> None:
    commit = upstream.commit({"a.txt": "one\n"})
    directory, _ = student.click(commit, branch=None)
    (directory / "own.txt").write_text("own\n")
    student.click(commit)
    student.click(upstream.commit({"a.txt": "two\n"}))
    assert git(directory, "symbolic-ref", "--short", "HEAD") == "main"
    assert everything(directory) == {"a.txt": b"two\n", "own.txt": b"own\n"}
