"""A directory filled with files whose names and numbers a stranger chose: archives and downloads of a record.

Nothing is ever written through a name as it came. A name is cut into components, each is checked, directories are made
one by one, files are created exclusively and no link is ever made: so nothing can land outside, replace something that
is there, or reach through a link.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher.errors import SourceInvalid, SourceTooLarge

if TYPE_CHECKING:
    from pathlib import Path

_MEBIBYTE = 1024 * 1024
_COMPONENT_BYTES = 255  # what Linux file systems allow
_SHOWN = 80


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive, or the files of a record together, may cost.

    ``entries`` counts files and directories, ``ratio`` is unpacked over packed bytes and counts from ``ratio_from``
    unpacked bytes on, because small files of one repeated byte are ordinary. ``seconds`` (wall clock and CPU) and
    ``memory_bytes`` bound the process that unpacks.
    """

    total_bytes: int = 2048 * _MEBIBYTE
    entries: int = 50_000
    ratio: int = 200
    ratio_from: int = 64 * _MEBIBYTE
    path_bytes: int = 1_024
    depth: int = 64
    seconds: float = 300.0
    memory_bytes: int = 1024 * _MEBIBYTE


def shown(name: str) -> str:
    """A stranger's name, short and without anything that could steer a terminal or a page."""
    text = ascii(name[:_SHOWN])
    return text if len(name) <= _SHOWN else f"{text[:-1]}…'"


def path_components(name: str, limits: ArchiveLimits) -> tuple[str, ...]:
    """The components of a relative path; empty for the directory itself.

    Bytes that are not UTF-8 become U+FFFD. Raises SourceInvalid for absolute names, ``..``, control characters, and
    names longer or deeper than a file system or ``limits`` take.
    """
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if text.startswith("/"):
        raise SourceInvalid(f"The file name {shown(name)} is absolute.", hint=_HINT)
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise SourceInvalid(f"The file name {shown(name)} has control characters.", hint=_HINT)
    components = tuple(part for part in text.split("/") if part not in ("", "."))
    if ".." in components:
        raise SourceInvalid(f"The file name {shown(name)} leaves its folder.", hint=_HINT)
    too_long = len(text.encode()) > limits.path_bytes or any(
        len(part.encode()) > _COMPONENT_BYTES for part in components
    )
    if too_long or len(components) > limits.depth:
        raise SourceInvalid(f"The file name {shown(name)} is too long or too deep.", hint=_HINT)
    return components


_HINT = "Ask the author to publish the files again with plain relative names."


def _is_git_directory(component: str) -> bool:
    """Whether some file system could take the component for ``.git``, which no commit may hold."""
    visible = "".join(character for character in component if unicodedata.category(character) != "Cf")
    return visible.casefold().partition(":")[0].rstrip(" .") in {".git", "git~1"}


class UntrustedTree:
    """The directory itself: names go in, checked places come out, and everything is counted.

    ``root`` must be a directory of ours that nobody else writes to.
    """

    def __init__(self, root: Path, limits: ArchiveLimits) -> None:
        self.root = root
        self.limits = limits
        self.total_bytes = 0
        self._entries = 0
        self._directories: set[tuple[str, ...]] = {()}
        self._files: set[tuple[str, ...]] = set()  # placed, but perhaps not written yet
        self._left_out: set[tuple[str, ...]] = set()

    def place(self, name: str) -> Path | None:
        """Where the file of this name goes: its directories are there, it is not. None when it is left out (``.git``).

        Raises SourceInvalid when the name is unsafe or taken, SourceTooLarge after too many entries.
        """
        components = self._checked(name)
        if components is None:
            return None
        if not components:
            raise SourceInvalid("A file has no name.", hint=_HINT)
        self._count_entry()
        self._make_directories(components[:-1])
        path = self.root.joinpath(*components)
        if components in self._files or os.path.lexists(path):
            raise SourceInvalid(f"The file name {shown(name)} appears twice.", hint=_HINT)
        self._files.add(components)
        return path

    def make_directory(self, name: str) -> None:
        """Make a directory and those above it; being there already is fine. Raises as `place`."""
        components = self._checked(name)
        if components is not None:
            self._count_entry()
            self._make_directories(components)

    def leave_out(self, name: str) -> None:
        """Note a link that is not made. A file that would have gone through it, or replaced it, is refused later."""
        self._count_entry()
        components = self._checked(name)
        if components:
            self._left_out.add(components)

    def existing_file(self, name: str) -> Path | None:
        """The regular file that was placed under this name before, if there is one."""
        path = self.root.joinpath(*path_components(name, self.limits))
        return path if path.is_file() else None

    def count_bytes(self, amount: int) -> None:
        """Add bytes about to be written. Raises SourceTooLarge when the files together get too big."""
        self.total_bytes += amount
        if self.total_bytes > self.limits.total_bytes:
            raise SourceTooLarge(
                f"The files are larger than {self.limits.total_bytes // _MEBIBYTE} MiB together.",
                hint="Keep large data outside the record and load it in the notebook.",
            )

    def check_entries(self, number: int) -> None:
        """Raises SourceTooLarge when so many files and directories are too many."""
        if number > self.limits.entries:
            raise SourceTooLarge(
                f"There are more than {self.limits.entries} files and directories.",
                hint="Ask the author to publish fewer files, or to pack data into one.",
            )

    def _checked(self, name: str) -> tuple[str, ...] | None:
        components = path_components(name, self.limits)
        if any(_is_git_directory(component) for component in components):
            return None
        if self._left_out and any(components[: end + 1] in self._left_out for end in range(len(components))):
            raise SourceInvalid(f"The file name {shown(name)} leads through a link.", hint=_HINT)
        return components

    def _count_entry(self) -> None:
        self._entries += 1
        self.check_entries(self._entries)

    def _make_directories(self, components: tuple[str, ...]) -> None:
        for end in range(1, len(components) + 1):
            part = components[:end]
            if part in self._directories:
                continue
            self._count_entry()
            path = self.root.joinpath(*part)
            if part in self._files or os.path.lexists(path):
                raise SourceInvalid(f"{shown('/'.join(part))} is a file and a directory.", hint=_HINT)
            path.mkdir()
            self._directories.add(part)


def content_root(directory: Path) -> Path:
    """The directory itself, or the single directory that is all it holds.

    Archives made by GitHub and by most people wrap everything in one directory. ``binder`` and ``.binder`` are never
    taken for such a wrapping: they are the recipe.
    """
    entries = list(directory.iterdir())
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name not in {"binder", ".binder"}:
        return entries[0]
    return directory
