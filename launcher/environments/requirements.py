"""What requirements.txt and the files it includes can reach.

The reader follows pip's reference for the format and knows where uv differs. It is our own, because the parsers on
PyPI either open included files from the disk they run on or are no longer kept; every requirement in it is parsed by
`packaging`. It only has to name files: builders show a build nothing else, so a line understood differently by the
installer fails the build and can never make a stale environment.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement

from launcher.environments.reach import Reach, leaves, missing
from launcher.environments.repository_files import TEXT_LIMIT_BYTES, inside, shown
from launcher.errors import RecipeInvalid, SourceTooLarge

_MOST_INCLUDED = 100
_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION = re.compile(r"(?P<name>--[a-z][a-z0-9-]*|-[a-zA-Z])(?P<value>.*)", re.DOTALL)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://|[^\s])")
_OPTIONS_BEHIND = re.compile(r"\s--?[a-zA-Z].*$", re.DOTALL)
_ARCHIVES = (".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_INCLUDES = {"-r": "-r", "--requirement": "-r", "-c": "-c", "--constraint": "-c"}
_EDITABLE = frozenset({"-e", "--editable"})
_LINKS = frozenset({"-f", "--find-links"})
_INDEXES = frozenset({"-i", "--index-url", "--pypi-url", "--extra-index-url"})
_HARMLESS = frozenset({
    "--no-index", "--no-binary", "--only-binary", "--prefer-binary", "--require-hashes", "--pre", "--all-releases",
    "--only-final", "--trusted-host", "--use-feature", "--use-wheel", "--no-use-wheel", "--always-unzip", "-Z",
    "--hash", "--config-settings", "--config-setting", "-C", "--global-option", "--install-option", "--use-pep517",
    "--no-build-isolation", "--allow-external", "--allow-all-external", "--allow-unverified",
})  # fmt: skip


def follow_requirements(path: str, reach: Reach) -> None:
    """Add to ``reach`` what the requirements file at ``path`` and everything it includes can reach.

    Raises RecipeInvalid naming the file (and the line) that cannot be read, is missing or leaves the repository,
    SourceTooLarge for files of absurd size or number.
    """
    waiting, seen = [path], {path}
    while waiting:
        current = waiting.pop()
        reach.add_file(current)
        for number, line in logical_lines(reach.repository.text(current, limit=TEXT_LIMIT_BYTES)):
            where = f"Line {number} of {shown(current)}"
            for included in _read_line(line, current, where, reach):
                if included not in seen:
                    seen.add(included)
                    waiting.append(included)
        if len(seen) > _MOST_INCLUDED:
            raise SourceTooLarge(
                f"{shown(path)} includes more than {_MOST_INCLUDED} other files.",
                hint="Put the requirements into fewer files.",
            )


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first physical line: continued lines joined, comments gone."""
    parts: list[str] = []
    start = 1
    for number, raw in enumerate([*text.splitlines(), ""], start=1):
        comment = raw.lstrip().startswith("#")
        parts.append(_COMMENT.sub("", raw) if comment else raw.removesuffix("\\"))
        if raw.endswith("\\") and not comment:
            continue
        line = _COMMENT.sub("", "".join(parts)).strip()
        if line:
            yield start, line
        parts, start = [], number + 1


def _read_line(line: str, current: str, where: str, reach: Reach) -> Iterator[str]:
    """Add one logical line to ``reach``; yields the paths of files it includes."""
    if not line.startswith("-"):
        add_requirement(line, where, reach)
        return
    for name, value in options_of(line, where):
        if name in _INCLUDES:
            yield from _included(value, current, where, reach)
        elif name in _EDITABLE:
            _add_editable(value, where, reach)
        elif name in _LINKS:
            reach.add_links(value, named_in=where, base=posixpath.dirname(current))
        elif name in _INDEXES:
            reach.anything = reach.anything or not _URL.match(value) or value.lower().startswith("file:")
        elif name not in _HARMLESS:
            raise RecipeInvalid(f"{where} has the unknown option {shown(name)}.", hint=_FORMAT_HINT)


_FORMAT_HINT = "A requirements file holds one requirement or option on each line, as pip reads them."


def options_of(line: str, where: str) -> Iterator[tuple[str, str]]:
    """Options and their values, whether written ``-r x``, ``-rx``, ``-r=x``, ``--requirement x`` or with ``=``."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise RecipeInvalid(f"{where} has a quote without its partner.", hint=_FORMAT_HINT) from error
    while words:
        match = _OPTION.fullmatch(words.pop(0))
        if match is None:
            continue  # a further value, as in ``--no-binary a b``
        value = match["value"].removeprefix("=")
        if not match["value"]:
            values = []
            while words and not words[0].startswith("-"):
                values.append(words.pop(0))
            value = " ".join(values)
        yield match["name"], value


def _included(value: str, current: str, where: str, reach: Reach) -> Iterator[str]:
    """The path of an included file that is in the repository; nothing for a remote or undecidable one."""
    if "${" in value:
        reach.anything = True
        return
    if _URL.match(value) and not value.lower().startswith("file:"):
        return
    place = None if value.lower().startswith("file:") else inside(value, base=posixpath.dirname(current))
    if place is None:
        raise leaves(where)
    if not reach.repository.has(place):
        raise missing(value, where)
    yield place


def _add_editable(value: str, where: str, reach: Reach) -> None:
    """``-e``: always a place, never a name. Markers and extras may follow the place."""
    place = value.split(";", 1)[0].strip()
    if not place:
        raise RecipeInvalid(f"{where} has -e without a place.", hint=_FORMAT_HINT)
    name, separator, url = place.partition(" @ ")
    reach.add_url(url.strip() if separator and "/" not in name else place, named_in=where, editable=True)


def add_requirement(line: str, where: str, reach: Reach, *, base: str = "") -> None:
    """One requirement: a name with versions, ``name @ place``, a URL, or the path of an archive or project.

    Raises RecipeInvalid when it is none of them.
    """
    text = _OPTIONS_BEHIND.sub("", line).strip()
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        place = text.split(" ;", 1)[0].split(";", 1)[0].strip()
        if _URL.match(place) or "/" in place or place.startswith((".", "${")) or _archive(place):
            reach.add_url(place, named_in=where, base=base)
            return
        raise RecipeInvalid(f"{where} is not a requirement.", hint=_FORMAT_HINT) from None
    if requirement.url is not None:
        reach.add_url(requirement.url, named_in=where, base=base)
    elif _archive(requirement.name):
        reach.add_path(text, named_in=where, base=base)


def _archive(name: str) -> bool:
    return name.lower().endswith(_ARCHIVES)
