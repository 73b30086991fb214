"""The repository's files in the home, in a directory of their own, with the person's edits.

`put_in_place` is the only door. The directory is ``~/<name>``, or ``~/<name>-<8 hex of the identity>`` when something
else has that name, or when it must not have it. Which repository a directory belongs to is written in the clone's own
configuration (``launcher.repository``); a directory that does not say so is somebody else's and is never touched.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Callable, Iterator

from .clone_state import Damaged, LeftAlone
from .git import Git, GitError, encode, means_no_space
from .problem import Problem
from .sync import SYNCED, UPSTREAM, bring_up_to_date, fetch, tracked_branch
from .wanted import Content
from .worktree import free_name, remove_tree, timestamp

LOCK_WAIT = 60  # seconds to wait for another session of the same home that is bringing files
_BRANCH_WITHOUT_NAME = "launcher"


def put_in_place(content: Content, home: Path, *, beside: bool = False) -> tuple[Path, list[str]]:
    """Bring the commit's files into the home; returns the directory and what the person should know.

    beside: programs will run in the home itself, and some find there what is called as they look for it: Python its
    packages, shells ``bin``, R its library, Node ``node_modules``. The files may be a stranger's, so their directory
    never gets a name that could be such a one: none of those has a hyphen.

    Local edits are never lost: see `sync` for the rules. A copy that cannot be updated is left as it is, a broken one
    is moved aside as a whole and made anew; the messages say so. Raises Problem (``content_failed``) when there is no
    copy and none can be made.
    """
    messages: list[str] = []
    try:
        with tempfile.TemporaryDirectory(prefix="launcher-git-") as scratch, _one_at_a_time(home):
            directory = _choose(content, home, Path(scratch), beside=beside)
            _put_in_place(content, directory, Path(scratch), messages.append)
            return directory, messages
    except (GitError, OSError) as error:
        print(f"content: {error}", file=sys.stderr)  # noqa: T201 - the server's log
        raise _no_copy(error) from error


def _put_in_place(content: Content, directory: Path, scratch: Path, say: Callable[[str], None]) -> None:
    if not _is_free(directory) and _identity_of(directory, scratch) != content.identity:
        _set_aside(directory, say)  # only under our own suffixed name: a broken copy of ours
    if not _is_free(directory):
        try:
            bring_up_to_date(Git(directory, scratch), content, say)
        except LeftAlone as reason:
            say(f"Your copy in {directory.name} was left as it is: {reason}.")
        except Damaged:
            _set_aside(directory, say)
    if _is_free(directory):
        _clone(content, directory, scratch)
        say(f"Put the repository's files in {directory.name}.")


@contextlib.contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Hold the home's content lock, so that two sessions that start at once do not mix their writing."""
    lock = home / ".local" / "share" / "launcher" / "content.lock"
    handle: IO[bytes] | None = None
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("ab")
        until = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise Problem(
                        "content_failed",
                        "Another session of yours is still bringing files into this home.",
                        "Wait a moment and start again.",
                    ) from None
                time.sleep(0.05)
    except OSError as error:  # a file system without locks, or a full one: one session at a time is the usual case
        print(f"content: no lock: {error}", file=sys.stderr)  # noqa: T201 - the server's log
    try:
        yield
    finally:
        if handle is not None:
            handle.close()


def _choose(content: Content, home: Path, scratch: Path, *, beside: bool) -> Path:
    """The directory for this repository: one that is its already, else the first name that is free."""
    digest = hashlib.sha256(encode(content.identity)).hexdigest()[:8]
    candidates = [home / content.name, home / f"{content.name}-{digest}"]
    for candidate in candidates:
        if _identity_of(candidate, scratch) == content.identity:
            return candidate
    if beside and "-" not in content.name:
        return candidates[-1]
    for candidate in candidates:
        if _is_free(candidate):
            return candidate
    return candidates[-1]


def _identity_of(directory: Path, scratch: Path) -> str | None:
    """Which repository a directory says it is a copy of; readable even when the clone is broken."""
    configuration = directory / ".git" / "config"
    if (directory / ".git").is_symlink() or not configuration.is_file():
        return None
    command = ("config", "--file", str(configuration), "--get", "launcher.repository")
    return Git(directory, scratch).maybe(*command)


def _is_free(directory: Path) -> bool:
    """Whether nothing has this name, or a real directory with nothing in it, as far as we may look."""
    if not os.path.lexists(directory):
        return True
    if directory.is_symlink() or not directory.is_dir() or not os.access(directory, os.R_OK | os.X_OK):
        return False
    return not any(directory.iterdir())


def _set_aside(directory: Path, say: Callable[[str], None]) -> None:
    """Rename a copy git cannot read any more; everything in it stays."""
    name = free_name(directory.parent, f"{directory.name}_backup_{timestamp()}")
    try:
        directory.rename(directory.parent / name)
    except OSError as error:
        raise Problem(
            "content_failed",
            f"The copy in {directory.name} is damaged and could not be moved aside.",
            "Rename or remove that directory in a session without a repository, then start again.",
        ) from error
    say(f"Your copy in {directory.name} was damaged. It is now {name}, with all its files; a new copy was made.")


def _clone(content: Content, directory: Path, scratch: Path) -> None:
    """Make a new copy beside its place and rename it, so that there is never half of one."""
    partial = directory.parent / f".{directory.name}.launcher-partial"
    try:
        remove_tree(partial)
        partial.mkdir()
        _fill(Git(partial, scratch), content)
        partial.rename(directory)
    except BaseException:
        remove_tree(partial)
        raise


def _no_copy(error: Exception) -> Problem:
    """Why there is no copy, as far as it can be told: out of space, or something else."""
    if means_no_space(error):
        return Problem(
            "content_failed",
            "The repository's files could not be put into your home: there is no space left.",
            "Start a session without a repository and free some space, then try again.",
        )
    return Problem(
        "content_failed",
        "The repository's files could not be put into your home.",
        "Try again; if it happens again, tell whoever runs this hub.",
    )


def _fill(git: Git, content: Content) -> None:
    """A shallow clone at the commit, on its branch, with the public address as origin."""
    form = "sha256" if len(content.commit) == 64 else "sha1"  # noqa: PLR2004 - hex digits of SHA-256
    git.run("init", "--quiet", "--template=", f"--object-format={form}")
    tracked = tracked_branch(git, content)
    branch = tracked or _BRANCH_WITHOUT_NAME
    lines = ["[launcher]", f"\trepository = {_quoted(content.identity)}", f"\tbranch = {_quoted(branch)}"]
    lines += ['[remote "origin"]', f"\turl = {_quoted(content.url)}", "\tfetch = +refs/heads/*:refs/remotes/origin/*"]
    if tracked is not None:
        lines += [f"[branch {_quoted(branch)}]", "\tremote = origin", f"\tmerge = {_quoted('refs/heads/' + tracked)}"]
    with (git.git_directory / "config").open("ab") as configuration:
        configuration.write(encode("\n".join(lines) + "\n"))
    fetch(git, content, UPSTREAM)
    if git.commit_of(UPSTREAM) != content.commit:
        raise GitError("what was fetched is not the wanted commit")
    git.run("checkout", "--quiet", "--no-track", "-B", branch, content.commit)
    refs = [f"create {SYNCED} {content.commit}"]
    if tracked is not None:
        refs.append(f"create refs/remotes/origin/{tracked} {content.commit}")
    git.run("update-ref", "--stdin", stdin=encode("\n".join(refs) + "\n"))


def _quoted(text: str) -> str:
    """A value of a git configuration file; the caller has made sure that there are no control characters."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
