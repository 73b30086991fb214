"""Bringing a person's existing copy of a repository to another commit of it.

The copy remembers in ``refs/launcher/upstream`` which upstream commit it was brought to last. A sync is a three-way
merge of trees: that commit is the base, the person's files are one side, the wanted commit is the other. No common
ancestor is needed, so shallow snapshots and rewritten history are ordinary cases, and so is an *older* commit (an old
link that names its commit): the files upstream changed in between go back, and what the person changed stays, exactly
as when going forward. Somebody who has changed nothing simply gets the commit the link names.

The person's own commits stay in the history of their branch; unsaved edits become a commit of their own before
anything is merged. Untracked files are never committed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from . import merge
from .clone_state import Damaged, IndexLock, LeftAlone, branch_to_update, remove_old_locks
from .git import Git, GitError, decode, encode, means_no_space
from .worktree import NotWritable, Writer, add_to_index, remove_tree

if TYPE_CHECKING:
    from .wanted import Content

UPSTREAM = "refs/launcher/upstream"  # the upstream commit the files were last brought to
SYNCED = "refs/launcher/synced"  # what HEAD was right after that
INCOMING = "refs/launcher/incoming"  # keeps a fetched commit alive until it is merged
Say = Callable[[str], None]


def bring_up_to_date(git: Git, content: Content, say: Say) -> None:
    """Merge ``content.commit`` into the clone.

    Raises LeftAlone when that would be wrong or is impossible now, Damaged when the clone is broken. In both cases
    every file of the person is as it was, or committed in their clone.
    """
    try:
        branch = branch_to_update(git)
        _fetch(git, content)
        remove_old_locks(git, branch)
        with IndexLock(git.git_directory / "index.lock"):
            _Sync(git, content, branch, say).run()
    except NotWritable as error:
        raise LeftAlone("some of its directories are read-only") from error
    except (GitError, OSError) as error:
        print(f"content: {error}", file=sys.stderr)  # noqa: T201 - the server's log
        raise _reason_of(git, error) from error


def fetch(git: Git, content: Content, ref: str) -> None:
    """Get the wanted commit's objects. What is there is not fetched, so that no known history is cut off."""
    arguments = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
    complete = git.commit_of("HEAD") is not None and not (git.git_directory / "shallow").exists()
    arguments.append("--update-shallow" if complete else "--depth=1")
    git.run(*arguments, "--", str(content.repository), f"+{content.commit}:{ref}")


def tracked_branch(git: Git, content: Content) -> str | None:
    """The branch to be on, or None when the commit came from none or from one git would not accept here."""
    name = content.branch
    usable = name is not None and not name.startswith("-") and git.succeeds("check-ref-format", f"refs/heads/{name}")
    return name if usable else None


def _fetch(git: Git, content: Content) -> None:
    if git.commit_of(content.commit) is None:
        fetch(git, content, INCOMING)


def _reason_of(git: Git, error: Exception) -> LeftAlone | Damaged:
    """Why a sync failed, found out afterwards: only then is a thorough look worth its time."""
    if means_no_space(error):
        return LeftAlone("there is no space left in your home")
    try:
        with tempfile.TemporaryFile(dir=git.git_directory) as probe:
            probe.write(b"x" * 65536)
    except OSError:
        return LeftAlone("it cannot be written")
    try:
        sound = git.succeeds("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
    except GitError:
        sound = True  # too slow to tell: then nothing is moved
    return LeftAlone("git could not update it") if sound else Damaged()


class _Sync:
    """One sync of one clone, from the person's files to the merged ones."""

    def __init__(self, git: Git, content: Content, branch: str, say: Say) -> None:
        self.git = git
        self.branch = branch
        self.say = say
        self.work = git.git_directory / "launcher"
        self.index = self.work / "index"  # the person's files
        self.merged = self.work / "merged"
        self.commit = content.commit
        self.head = git.line("rev-parse", "--verify", branch)
        self.tracked = tracked_branch(git, content)

    def run(self) -> None:
        remove_tree(self.work)
        self.work.mkdir()
        try:
            self._run()
        finally:
            remove_tree(self.work)

    def _run(self) -> None:
        staged, deleted = self._read_files()
        base = self._base()
        base_tree = self._tree(base) if base else self.git.line("hash-object", "-t", "tree", "-w", "/dev/null")
        restored = self._restored(deleted, base_tree)
        tree = self.git.line("write-tree", index=self.index)
        local = merge.changes_between(self.git, base_tree, tree)
        upstream = merge.changes_between(self.git, base_tree, self._tree(self.commit))
        outcome = merge.merge(self.git, local, upstream, self.work)
        outcome.changes.update(restored)
        outcome.restored = sorted(restored)
        present = set(merge.files_of(self.git, tree))
        word = f"upstream_{self.commit[:7]}"
        merge.yield_to_local(outcome, present, f"__{word}")
        if base == self.commit and not upstream:
            self._restore_only(outcome, present, word)
            return
        saved = self._commit_edits(staged, tree)
        self._write(outcome, present, word)
        self._finish(saved, base, edited=bool(local))
        self._report(outcome, base)

    def _read_files(self) -> tuple[str, list[str]]:
        """Record the person's tracked files in our own index: the tree they had staged, and which files are gone."""
        theirs = self.git.git_directory / "index"
        if theirs.is_file():
            shutil.copy2(theirs, self.index)
        else:
            self.git.run("read-tree", "HEAD", index=self.index)
        if self.git.run("ls-files", "-u", index=self.index):
            raise LeftAlone("it has conflicts that are not resolved yet")
        staged = self.git.line("write-tree", index=self.index)
        deleted = decode(self.git.run("ls-files", "-z", "--deleted", index=self.index)).split("\0")
        self.git.run("add", "-u", index=self.index)
        self._forget_conversions(staged)
        return staged, [path for path in deleted if path]

    def _forget_conversions(self, staged: str) -> None:
        """Undo changes that only git's line-ending rules see: the bytes are still those of the repository."""
        changed = merge.changes_between(self.git, staged, self.git.line("write-tree", index=self.index))
        known = {p: old for p, (old, new) in changed.items() if old and new and old.mode == new.mode and "\n" not in p}
        regular = {path: old for path, old in known.items() if old.mode.startswith("100")}
        names = b"".join(encode(path) + b"\n" for path in regular)
        blobs = decode(self.git.run("hash-object", "--no-filters", "--stdin-paths", stdin=names)).split()
        same = {path: old for (path, old), blob in zip(regular.items(), blobs) if old.blob == blob}
        if same:
            add_to_index(self.git, self.index, same)
        self.converted = set(same)

    def _base(self) -> str | None:
        """The upstream commit the person's files started from.

        A person who pulled by hand since the last sync started from what they pulled.
        """
        last, synced = self.git.commit_of(UPSTREAM), self.git.commit_of(SYNCED)
        name = self.branch[len("refs/heads/") :]
        pulled = self.git.commit_of(f"{name}@{{upstream}}")
        if pulled and synced and pulled != last:
            by_hand = self.git.is_ancestor(pulled, self.head) and not self.git.is_ancestor(pulled, synced)
            return pulled if by_hand else last
        return last

    def _tree(self, commit: str) -> str:
        return self.git.line("rev-parse", "--verify", f"{commit}^{{tree}}")

    def _restored(self, deleted: list[str], base_tree: str) -> dict[str, merge.Entry | None]:
        """Files that are gone without a commit saying so, and that upstream has: they come back as upstream's.

        In our index they count as never touched, so that deleting is not an edit.
        """
        if not deleted:
            return {}
        available = merge.files_of(self.git, self.commit)
        before = {**available, **merge.files_of(self.git, base_tree)}
        restored: dict[str, merge.Entry | None] = {path: available[path] for path in deleted if path in available}
        add_to_index(self.git, self.index, {path: before[path] for path in restored})
        return restored

    def _restore_only(self, outcome: merge.Outcome, present: set[str], word: str) -> None:
        """Nothing new upstream: bring deleted files back, leave index and history to the person."""
        if outcome.changes:
            self._write(outcome, present, word)
            self.say(f"Restored what was deleted: {_names(list(outcome.changes))}.")
        self._remember()

    def _write(self, outcome: merge.Outcome, present: set[str], word: str) -> None:
        shutil.copy2(self.index, self.merged)
        add_to_index(self.git, self.merged, outcome.changes)
        writer = Writer(self.git, self.work, present)
        writer.stage(outcome, self.merged, word)
        writer.check()
        changed = set(decode(self.git.run("diff-files", "-z", "--name-only", index=self.index)).split("\0"))
        if changed - self.converted - set(outcome.restored) - {""}:
            raise LeftAlone("its files are being changed right now")
        writer.apply()
        if writer.renamed:
            self.say(
                f"Files of yours had names that the repository uses now; they are called {_names(writer.renamed)}."
            )
        if writer.versions:
            self.say(f"You and the repository changed the same places; its versions are in {_names(writer.versions)}.")

    def _commit_edits(self, staged: str, tree: str) -> str:
        """Make commits of what is not committed yet, staged first; returns the tip of the person's branch."""
        tip = self.head
        for state, message in ((staged, "Staged changes"), (tree, "Local changes")):
            if state != self._tree(tip):
                words = f"{message} before an update from upstream"
                tip = self.git.line("commit-tree", state, "-p", tip, "-m", words)
        if tip != self.head:
            self.git.run("update-ref", "-m", "launcher: local changes", self.branch, tip, self.head)
            self._replace_index(self.index)
        return tip

    def _finish(self, tip: str, base: str | None, *, edited: bool) -> None:
        """Move branch, index and memory to the merged state."""
        tree = self.git.line("write-tree", index=self.merged)
        if tip == base and not edited:
            result = self.commit
        elif self.git.is_ancestor(self.commit, tip) and tree == self._tree(tip):
            result = tip
        else:
            words = f"Merge upstream {self.commit[:7]}"
            result = self.git.line("commit-tree", tree, "-p", tip, "-p", self.commit, "-m", words)
        # Fails for files that differ from the index, which is for the person to see, not an error.
        self.git.attempt("update-index", "-q", "--refresh", index=self.merged)
        self._replace_index(self.merged)
        self._move_branch(tip, result)
        self._remember()

    def _replace_index(self, index: Path) -> None:
        fresh = self.work / "new-index"
        shutil.copy2(index, fresh)
        fresh.replace(self.git.git_directory / "index")

    def _move_branch(self, tip: str, result: str) -> None:
        """Give the result to the wanted branch, or to the present one when the wanted one has other commits."""
        wanted = f"refs/heads/{self.tracked}" if self.tracked else self.branch
        existing = self.git.commit_of(wanted)
        safe = existing is None or self.git.is_ancestor(existing, result)
        update = ("update-ref", "-m", "launcher: update")
        if wanted == self.branch or not safe or not self.git.succeeds(*update, wanted, result):
            self.git.run(*update, self.branch, result, tip)
            return
        self.git.run("symbolic-ref", "-m", "launcher: update", "HEAD", wanted)
        self.branch = wanted
        name = wanted[len("refs/heads/") :]
        for key, value in (("remote", "origin"), ("merge", wanted)):
            self.git.run("config", "--local", f"branch.{name}.{key}", value)
        self.git.run("config", "--local", "launcher.branch", name)

    def _remember(self) -> None:
        lines = [f"update {UPSTREAM} {self.commit}", f"update {SYNCED} {self.branch}"]
        if self.tracked:
            lines.append(f"update refs/remotes/origin/{self.tracked} {self.commit}")
        self.git.run("update-ref", "--stdin", stdin=encode("\n".join(lines) + "\n"))
        self.git.attempt("update-ref", "-d", INCOMING)

    def _report(self, outcome: merge.Outcome, base: str | None) -> None:
        self.say(f"Updated your copy from {base[:7] if base else 'nothing'} to {self.commit[:7]}.")
        if outcome.kept:
            self.say(f"Kept, although the repository has deleted them: {_names(outcome.kept)}.")


def _names(paths: list[str]) -> str:
    """A few names for a sentence."""
    shown = [path.encode("utf-8", "replace").decode() for path in sorted(paths)[:10]]
    more = len(paths) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
