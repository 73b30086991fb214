"""``.dockerignore``: which files stay out of a build's context.

Part by part and without one expression for a whole path, because strangers write these patterns: some that docker's own
client takes keep it busy for years.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Sequence
from functools import partial

from launcher.errors import RecipeInvalid

_MOST_LINES = 1000
_Pattern = tuple[re.Pattern[str] | None, ...]
"""What the parts of a path have to be; None stands for any number of them."""


class Ignored:
    """The patterns of a file's lines; the last one that matches decides. Raises RecipeInvalid for too many."""

    def __init__(self, lines: Sequence[str]) -> None:
        if len(lines) > _MOST_LINES:
            raise RecipeInvalid(f".dockerignore has more than {_MOST_LINES} lines.")
        wanted = [(line.removeprefix("!").strip(), line.startswith("!")) for line in lines]
        self._patterns = [(_pattern(text), taken_back) for text, taken_back in wanted if text]

    def __contains__(self, path: str) -> bool:
        """Whether a file or directory stays out, by itself or with a directory above it."""
        parts = path.split("/")
        out = False
        for pattern, taken_back in self._patterns:
            if out is taken_back and _leads_to(pattern, parts):
                out = not taken_back
        return out


def _pattern(text: str) -> _Pattern:
    parts = posixpath.normpath(text).strip("/").split("/")
    return tuple(None if part == "**" else _part(part) for part in parts)


def _part(text: str) -> re.Pattern[str]:
    try:
        return re.compile(fnmatch.translate(text.replace("[^", "[!")))
    except re.error as error:
        raise RecipeInvalid(f".dockerignore: {text[:80]!r} is not a pattern.") from error


def _leads_to(pattern: _Pattern, parts: Sequence[str]) -> bool:
    """Whether the pattern matches the path or a directory above it."""
    onward = partial(_onward, pattern)
    places = onward({0})  # in the pattern, where what was read of the path may have led
    for part in parts:
        read = set()
        for place in places - {len(pattern)}:
            expected = pattern[place]
            if expected is None:
                read.add(place)
            elif expected.match(part):
                read.add(place + 1)
        places = onward(read)
        if len(pattern) in places:
            return True
    return False


def _onward(pattern: _Pattern, places: set[int]) -> set[int]:
    """These places, and those behind what may stand for nothing."""
    found = set()
    for place in places:
        found.add(place)
        while place < len(pattern) and pattern[place] is None:
            place += 1  # noqa: PLW2901
            found.add(place)
    return found
