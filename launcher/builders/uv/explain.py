"""Turns the last words of uv, git and pip into one sentence for a person."""

from __future__ import annotations

import re
from collections.abc import Callable

_NAME = r"([A-Za-z0-9][A-Za-z0-9._-]{0,100})"
_CLAUSE = r"[<>=!~][^\s,`']{1,60}"
_REQUIREMENT = rf"([A-Za-z0-9][A-Za-z0-9._-]{{0,100}}(?:\[[^\]]{{0,80}}\])?{_CLAUSE}(?:,{_CLAUSE})*)"

# First match wins. What is quoted comes from the repository's own files and from package names only.
_KNOWN: tuple[tuple[str, str], ...] = (
    (rf"Because {_NAME} was not found in the (?:package registry|provided)", r"No package named \1 on the index."),
    (rf"there (?:is|are) no versions? of {_REQUIREMENT}", r"There is no version \1 on the index."),
    (rf"only .{{1,400}}? (?:is|are) available and you require {_REQUIREMENT}", r"There is no version \1 on the index."),
    ("your requirements are unsatisfiable", "The requirements contradict each other."),
    (rf"Hash mismatch for `?{_NAME}", r"What the index serves for \1 does not have the hash that was promised."),
    (rf"Failed to build `?{_NAME}", r"The package \1 could not be built from source."),
    (rf"Failed to (?:download|fetch)[^`]{{0,40}}`{_NAME}", r"The package \1 could not be downloaded."),
    (r"Git operation failed|failed to (?:clone|fetch)(?: into|:)", "A git requirement could not be fetched."),
    (r"lockfile at `uv\.lock` needs to be updated", "uv.lock is out of date; run `uv lock` and commit it."),
    (r"does not satisfy Python ?([<>=!~0-9.,*]{1,40})", r"A package needs Python \1."),
    (r"requires Python ?([<>=!~0-9.,*]{1,40})", r"A package needs Python \1."),
    (r"No space left on device", "The disk is full."),
    (r"HTTP status server error|Request failed after|error sending request", "The package index did not answer."),
    (r"403 Forbidden|Not reachable from a build|tunnel error: unsuccessful", "A host is not reachable from a build."),
)  # fmt: skip
_POSITION = re.compile(r"Couldn't parse requirement in `(?:[^`]*/)?([^`/]{1,100})` at position (\d+)")


def explain(tail: str, read: Callable[[str], str | None]) -> str:
    """The reason that can be recognised in the last lines of a step, or "".

    ``read(name)`` is the text of the recipe file of that base name, to turn a position into a line.
    """
    text = re.sub(r"[\s\u2500-\u257f\u25b6\u00d7]+", " ", tail)  # uv draws trees around its sentences
    position = _POSITION.search(text)
    if position:
        before = (read(position[1]) or "").encode()[: int(position[2])].decode(errors="replace")
        return f"{position[1]} line {before.count(chr(10)) + 1} is not a requirement."
    for pattern, sentence in _KNOWN:
        found = re.search(pattern, text)
        if found:
            return found.expand(sentence)
    return ""
