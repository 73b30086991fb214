"""Reading recipe files out of a commit: bounded, never through a link, with words for people when it fails."""

from __future__ import annotations

import codecs
import json
import posixpath
import re
import tomllib
from functools import cached_property
from typing import Any

from launcher.errors import RecipeInvalid, SourceTooLarge
from launcher.sources.base import Tree

TEXT_LIMIT_BYTES = 1_000_000
"""Nobody writes a longer requirements.txt or pyproject.toml by hand."""
LOCK_LIMIT_BYTES = 5_000_000
"""Lock files are written by tools and list every wheel with its hash."""

_SYMLINK = "120000"
_SUBMODULE = "160000"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_LIMIT = 20_000
_KEY_PART = r"""(?:[\w-]{1,100}|"[^"\n]{0,100}"|'[^'\n]{0,100}')"""
_DEEP_KEY = re.compile(rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART}){{60}}")
"""A dotted key nests with every dot, and tomllib's time and memory grow with the square of the depth."""


def shown(path: str) -> str:
    """A path of a repository as it may stand in a message: printable and of bounded length."""
    text = path if path.isprintable() else ascii(path)[1:-1]
    return text if len(text) <= 120 else f"{text[:117]}…"  # noqa: PLR2004 - the length of one line


class RepositoryFiles:
    """The files of one commit, as recipe readers want them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    @cached_property
    def blobs(self) -> dict[str, str]:
        """Path -> blob id of every regular file."""
        return self.tree.files()

    @cached_property
    def directories(self) -> frozenset[str]:
        """Every directory; the root is ``""``."""
        return frozenset(self.tree.directories()) | {""}

    @cached_property
    def links(self) -> dict[str, str]:
        """Path -> ``"symlink"`` or ``"submodule"``: what is there and not followed."""
        words = {_SYMLINK: "symlink", _SUBMODULE: "submodule"}
        return {path: words[mode] for path, mode in self.tree.modes().items() if mode in words}

    def has(self, path: str) -> bool:
        """Whether a regular file is there.

        Raises RecipeInvalid when the path is, or leads through, a symlink or submodule: taking it for absent would
        silently build another environment than the author sees.
        """
        if path in self.blobs:
            return True
        for part in _with_parents(path):
            if word := self.links.get(part):
                raise RecipeInvalid(
                    f"{shown(part)} is a {word}, which is not followed.",
                    hint="Put a regular file in its place.",
                )
        return False

    def text(self, path: str, *, limit: int = TEXT_LIMIT_BYTES) -> str:
        """A file as text: UTF-8, or UTF-16 with its mark (as PowerShell writes, and pip and uv read).

        Raises RecipeInvalid when it is neither, SourceTooLarge over ``limit`` bytes.
        """
        try:
            data = self.tree.read(path, limit=limit)
        except SourceTooLarge as error:
            raise SourceTooLarge(
                f"{shown(path)} is larger than {limit // 1_000_000} MB.",
                hint="A recipe file of this size is most likely a mistake; make it smaller.",
            ) from error
        encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            raise RecipeInvalid(f"{shown(path)} is not UTF-8 text.", hint="Save the file as UTF-8.") from error

    def toml(self, path: str, *, limit: int = TEXT_LIMIT_BYTES) -> dict[str, Any]:
        """A TOML file; RecipeInvalid when it is not TOML or nests absurdly deep."""
        text = self.text(path, limit=limit)
        if any(len(line) > _LINE_LIMIT for line in text.split("\n")) or _DEEP_KEY.search(text):
            raise _unreadable(path, "TOML")
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, "TOML") from error

    def json(self, path: str, *, limit: int = LOCK_LIMIT_BYTES) -> dict[str, Any]:
        """A JSON file with an object at its top; RecipeInvalid when it is something else."""
        try:
            body = json.loads(self.text(path, limit=limit))
        except (ValueError, RecursionError) as error:
            raise _unreadable(path, "JSON") from error
        if not isinstance(body, dict):
            raise _unreadable(path, "a JSON object")
        return body


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _unreadable(path: str, what: str) -> RecipeInvalid:
    return RecipeInvalid(f"{shown(path)} is not valid {what}.", hint="Check it with the tool that reads it.")


def inside(path: str, *, base: str = "") -> str | None:
    """The path from the repository's root, normalised, or None when it leads out of the repository.

    ``base`` is the directory a relative path starts from. The root itself is ``""``.
    """
    if path.startswith(("/", "~")) or "\0" in path or "\\" in path:
        return None
    joined = posixpath.normpath(posixpath.join(base, path))
    if joined == ".." or joined.startswith("../"):
        return None
    return "" if joined == "." else joined
