"""Whether a clone may be changed now, and holding it while it is."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from .git import Git

LOCK_MARK = b"launcher\n"
STALE = 600  # seconds after which nobody holds a lock file of git any more
_UNDER_WAY = (
    ("MERGE_HEAD", "merge"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
)


class LeftAlone(Exception):
    """The copy stays as it is; the text says why, in words for the person."""


class Damaged(Exception):
    """The clone cannot be read by git any more."""


def branch_to_update(git: Git) -> str:
    """The full ref of the branch the launcher keeps, when the person is on it and nothing is under way.

    Raises LeftAlone when it is not so, Damaged when HEAD cannot be read.
    """
    for name, word in _UNDER_WAY:
        if os.path.lexists(git.git_directory / name):
            raise LeftAlone(f"a {word} is in progress there; finish or abort it first")
    ours = git.maybe("config", "--local", "--get", "launcher.branch")
    head = git.maybe("symbolic-ref", "--quiet", "HEAD")
    if head is None:
        if git.commit_of("HEAD") is None:
            raise Damaged
        raise LeftAlone("it is not on a branch (detached HEAD); switch back to your branch first")
    if ours is None or head != f"refs/heads/{ours}":
        raise LeftAlone(f"it is on another branch ({head[len('refs/heads/') :]})")
    if git.commit_of(head) is None:
        raise Damaged
    return head


def remove_old_locks(git: Git, branch: str) -> None:
    """Remove lock files of git that died, so that one crash does not end updates for ever.

    Raises LeftAlone when a lock may still be held.
    """
    for name in ("index", "HEAD", branch, "packed-refs", "config", "shallow"):
        lock = git.git_directory / f"{name}.lock"
        if not lock.is_file() or lock.is_symlink():
            continue
        ours = name == "index" and lock.stat().st_size == len(LOCK_MARK) and lock.read_bytes() == LOCK_MARK
        if not ours and time.time() - lock.stat().st_mtime < STALE:
            raise LeftAlone("another git command is running there, or was stopped a moment ago")
        lock.unlink()


class IndexLock:
    """Git's own lock on the index, held for the whole sync, so that no other git command can change it.

    Entering raises LeftAlone when somebody else holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            raise LeftAlone("another git command is running there") from None
        try:
            os.write(handle, LOCK_MARK)
        except OSError:  # a full disk: an empty lock would look like somebody else's
            self.path.unlink()
            raise
        finally:
            os.close(handle)

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)
