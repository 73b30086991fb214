"""Which version of each file wins, and what the person must be told: decided from git objects, nothing is written.

The rules are nbgitpuller's: what a person changed stays, what upstream changed arrives, and where both changed the
same lines the person's stay and upstream's whole version is handed over to lie beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Dict, NamedTuple, Optional, Tuple

from .git import Git, decode

TEXT_LIMIT = 50_000_000  # bytes; larger files are not merged line by line


class Entry(NamedTuple):
    """A file in a tree: git's mode (``100644``) and object id."""

    mode: str
    blob: str


class _Versions(NamedTuple):
    """One file on both sides of a merge and before."""

    base: Entry | None
    ours: Entry
    theirs: Entry


Change = Tuple[Optional[Entry], Optional[Entry]]  # before, after; None where there is no such file
Changes = Dict[str, Change]


@dataclass
class Outcome:
    """What has to happen to the local files.

    changes: path -> the entry it becomes, None to delete. beside: path -> upstream's version to write next to it.
    kept: files that upstream deleted and the person has changed. restored: files the person had deleted.
    """

    changes: dict[str, Entry | None] = field(default_factory=dict)
    beside: dict[str, Entry] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)


def changes_between(git: Git, before: str, after: str) -> Changes:
    """What differs between two trees, without guessing renames."""
    words = decode(git.run("diff-tree", "-r", "-z", "--no-renames", before, after)).split("\0")
    found: Changes = {}
    for raw, path in ((words[at], words[at + 1]) for at in range(0, len(words) - 1, 2)):
        old_mode, new_mode, old, new, _ = raw[1:].split(" ")
        found[path] = (
            None if int(old_mode, 8) == 0 else Entry(old_mode, old),
            None if int(new_mode, 8) == 0 else Entry(new_mode, new),
        )
    return found


def files_of(git: Git, tree: str) -> dict[str, Entry]:
    """Every file of a tree."""
    found = {}
    for line in decode(git.run("ls-tree", "-r", "-z", "--full-tree", tree)).split("\0"):
        if line:
            head, path = line.split("\t", 1)
            mode, _, blob = head.split(" ")
            found[path] = Entry(mode, blob)
    return found


def merge(git: Git, local: Changes, upstream: Changes, scratch: Path) -> Outcome:
    """Bring ``upstream`` into a tree that has ``local``; both are changes since the same base."""
    outcome = Outcome()
    for path, (base, theirs) in upstream.items():
        if path not in local:
            outcome.changes[path] = theirs
            continue
        ours = local[path][1]
        if ours == theirs or ours is None:
            continue  # the same on both sides, or deleted by a commit of the person
        if theirs is None:
            outcome.kept.append(path)
            continue
        merged, clean = _merge_file(git, path, _Versions(base, ours, theirs), scratch)
        if merged != ours:
            outcome.changes[path] = merged
        if not clean:
            outcome.beside[path] = theirs
    return outcome


def yield_to_local(outcome: Outcome, present: set[str], suffix: str) -> None:
    """Move aside what upstream adds where a local file is in the place of a directory, or the other way round.

    ``present`` are the tracked local paths before ``outcome``. A file ``data`` of the person keeps its name and
    upstream's ``data/x`` becomes ``data<suffix>/x`` beside it.
    """
    gone = {path for path, entry in outcome.changes.items() if entry is None}
    stays = present - gone
    directories = {str(parent) for path in stays for parent in PurePosixPath(path).parents}
    for path, entry in list(outcome.changes.items()):
        if entry is None or path in present:
            continue
        blocked = next((str(p) for p in PurePosixPath(path).parents if str(p) in stays), None)
        if blocked is not None:
            outcome.beside[f"{blocked}{suffix}{path[len(blocked) :]}"] = entry
        elif path in directories:
            outcome.beside[path] = entry
        else:
            continue
        del outcome.changes[path]


def _merge_file(git: Git, path: str, versions: _Versions, scratch: Path) -> tuple[Entry, bool]:
    """One file changed on both sides: what it becomes, and whether nothing of upstream's got lost."""
    base, ours, theirs = versions
    if base is None or not all(entry.mode.startswith("100") for entry in (base, ours, theirs)):
        return ours, ours.blob == theirs.blob  # added twice, or a symlink: nothing to merge line by line
    mode = theirs.mode if ours.mode == base.mode else ours.mode
    if ours.blob in (base.blob, theirs.blob):
        return Entry(mode, theirs.blob), True
    if theirs.blob == base.blob:
        return Entry(mode, ours.blob), True
    lines, clean = _merge_lines(git, path, versions, scratch)
    return (ours, False) if lines is None else (Entry(mode, lines), clean)


def _merge_lines(git: Git, path: str, versions: _Versions, scratch: Path) -> tuple[str | None, bool]:
    """The blob of a line-by-line merge (None when there is no acceptable one), and whether it had no conflict."""
    names = []
    for name, entry in versions._asdict().items():
        if int(git.line("cat-file", "-s", entry.blob)) > TEXT_LIMIT:
            return None, False
        (scratch / name).write_bytes(git.run("cat-file", "blob", entry.blob))
        names.append(str(scratch / name))
    base, ours, theirs = names
    done = git.attempt("merge-file", "-p", "-q", ours, base, theirs)
    clean = done.returncode == 0
    if not clean:
        done = git.attempt("merge-file", "-p", "-q", "--ours", ours, base, theirs)
    if done.returncode != 0 or not _acceptable(path, done.stdout, Path(ours)):
        return None, False  # binary, or lines that do not add up to a notebook
    return decode(git.run("hash-object", "-w", "--stdin", stdin=done.stdout)).strip(), clean


def _acceptable(path: str, lines: bytes, ours: Path) -> bool:
    """Whether merged lines may be written: a notebook must still be a notebook."""
    if not path.endswith(".ipynb"):
        return True
    try:
        merged = json.loads(lines, object_pairs_hook=_without_duplicates)
        before = json.loads(ours.read_bytes())
    except ValueError:  # includes UnicodeDecodeError and JSONDecodeError
        return False
    except RecursionError:  # nested deeper than any notebook
        return False
    return isinstance(merged, dict) and _has_sound_cells(merged) >= _has_sound_cells(before)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what two versions of one line leave behind: the same key twice in one object."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _has_sound_cells(notebook: object) -> bool:
    """Whether there is a list of cells and no two of them have one id."""
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        return False
    seen: set[str] = set()
    for cell in cells:
        name = cell.get("id") if isinstance(cell, dict) else None
        if name in seen:
            return False
        if isinstance(name, str):
            seen.add(name)
    return True
