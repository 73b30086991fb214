"""Writing a decision of `merge` into the files of a clone, so that nothing of the person's can get lost on the way.

Everything is first written beside the clone's own data (a full disk ends it there), then renamed into place.
Renames need no space and are never half done; killed in between, the next run finds finished files only.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .git import Git, encode

if TYPE_CHECKING:
    from .merge import Entry, Outcome

SUBMODULE = "160000"


class NotWritable(Exception):
    """A directory that would have to change is read-only. Nothing was changed."""


def timestamp() -> str:
    """Now, as it is put into names: ``20260131235959``."""
    return time.strftime("%Y%m%d%H%M%S")


def beside(path: str, word: str) -> str:
    """The name next to ``path`` that says what it is: ``a/b.csv`` -> ``a/b__<word>.csv``."""
    pure = PurePosixPath(path)
    name = f"{pure.stem}__{word}{pure.suffix}"
    return str(pure.with_name(name))


def free_name(root: Path, path: str) -> str:
    """``path``, or with ``_2``, ``_3`` … before its ending when something has that name already."""
    candidate, number, pure = path, 1, PurePosixPath(path)
    while os.path.lexists(root / candidate):
        number += 1
        candidate = str(pure.with_name(f"{pure.stem}_{number}{pure.suffix}"))
    return candidate


class Writer:
    """Puts one outcome in place in one clone."""

    def __init__(self, git: Git, work: Path, present: set[str]) -> None:
        """``work`` is an empty directory inside ``.git``; ``present`` the tracked paths before the change."""
        self.git = git
        self.root = git.directory
        self.work = work
        self.present = present
        self.renamed: list[str] = []  # untracked files of the person that had to make room, by their new names
        self.versions: list[str] = []  # where upstream's versions of conflicting files are

    def stage(self, outcome: Outcome, index: Path, word: str) -> None:
        """Write every file that will be needed, without touching the person's. GitError when that fails."""
        wanted = [p for p, entry in outcome.changes.items() if entry is not None and entry.mode != SUBMODULE]
        self._checkout(wanted, index, self.work / "changes")
        versions = {p: entry for p, entry in outcome.beside.items() if entry.mode != SUBMODULE}
        index_beside = self.work / "beside.index"
        add_to_index(self.git, index_beside, dict(versions))
        self._checkout(list(versions), index_beside, self.work / "beside")
        self.outcome, self.word = outcome, word
        self._versions = list(versions)

    def check(self) -> None:
        """Raise NotWritable when a directory that has to change cannot be changed."""
        for path in [*self.outcome.changes, *self._versions]:
            parent = self.root / path
            while True:
                parent = parent.parent
                if parent.is_dir():
                    break
            if not os.access(parent, os.W_OK | os.X_OK):
                raise NotWritable(str(parent))

    def apply(self) -> None:
        """Put the staged files in place. OSError may leave some in place and some not; each of them is whole."""
        for path, entry in self.outcome.changes.items():
            if entry is None:
                self._delete(path)
        for path, entry in self.outcome.changes.items():
            if entry is not None:
                self._make_room(path, self.work / "changes" / path)
                self._put(path, entry)
        for path in self._versions:
            self._put_beside(path)

    def _checkout(self, paths: list[str], index: Path, into: Path) -> None:
        into.mkdir()
        names = b"".join(encode(path) + b"\0" for path in paths)
        if names:
            # quiet is not an option here: checkout-index without -q fails for every file it could not write
            self.git.run("checkout-index", "-z", "--stdin", "-f", f"--prefix={into}/", stdin=names, index=index)

    def _delete(self, path: str) -> None:
        target = self.root / path
        if not self._reaches(path):
            return
        if target.is_dir() and not target.is_symlink():
            _remove_empty(target)  # a submodule; its files are the person's
        elif os.path.lexists(target):
            target.unlink()
        parent = target.parent
        while parent != self.root and _remove_empty(parent):
            parent = parent.parent

    def _reaches(self, path: str) -> bool:
        """Whether no parent of the path is a symlink: beyond one, files are not this repository's."""
        return not any((self.root / p).is_symlink() for p in PurePosixPath(path).parents if str(p) != ".")

    def _make_room(self, path: str, staged: Path) -> None:
        """Rename what stands where an upstream file goes and is not tracked, unless it is that very file."""
        for parent in reversed([p for p in PurePosixPath(path).parents if str(p) != "."]):
            here = self.root / parent
            if os.path.lexists(here) and (here.is_symlink() or not here.is_dir()):
                self._rename_aside(str(parent))
        target = self.root / path
        if not os.path.lexists(target):
            return
        if target.is_dir() and not target.is_symlink():
            if not _remove_empty(target) and not self._is_submodule(path):
                self._rename_aside(path)
        elif path not in self.present and not _same_file(target, staged):
            self._rename_aside(path)

    def _is_submodule(self, path: str) -> bool:
        entry = self.outcome.changes[path]
        return entry is not None and entry.mode == SUBMODULE

    def _rename_aside(self, path: str) -> None:
        name = free_name(self.root, beside(path, timestamp()))
        (self.root / path).rename(self.root / name)
        self.renamed.append(name)

    def _put(self, path: str, entry: Entry) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.mode == SUBMODULE:
            target.mkdir(exist_ok=True)
        else:
            (self.work / "changes" / path).replace(target)

    def _put_beside(self, path: str) -> None:
        staged = self.work / "beside" / path
        name = path if self.word in path else beside(path, self.word)
        target = self.root / name
        if _same_file(target, staged) or not self._reaches(name):
            return
        name = free_name(self.root, name)
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.rename(target)
        self.versions.append(name)


def add_to_index(git: Git, index: Path, changes: dict[str, Entry | None] | dict[str, Entry]) -> None:
    """Apply changes to an index file; GitError when a path is not one git allows in a work tree."""
    lines = []
    for path, entry in sorted(changes.items(), key=lambda change: change[1] is not None):  # deletions make room first
        head = f"{entry.mode} {entry.blob}" if entry is not None else "0 " + "0" * 40
        lines.append(encode(f"{head}\t{path}\0"))
    git.run("update-index", "--add", "--replace", "-z", "--index-info", stdin=b"".join(lines), index=index)


def _same_file(one: Path, other: Path) -> bool:
    """Whether both are regular files with the same bytes."""
    try:
        regular = stat.S_ISREG(one.lstat().st_mode) and stat.S_ISREG(other.lstat().st_mode)
        return regular and filecmp.cmp(one, other, shallow=False)
    except OSError:  # missing, or not to be read: then it is not known to be the same
        return False


def _remove_empty(directory: Path) -> bool:
    """Remove a directory when nothing is in it; whether it is gone."""
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def remove_tree(directory: Path) -> None:
    """Delete a directory of our own, read-only parts included; missing is fine."""
    if directory.is_dir() and not directory.is_symlink():
        for folder, _, _ in os.walk(directory):
            Path(folder).chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)
