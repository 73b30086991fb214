"""Which Python a recipe asks for, when several files have a say."""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from launcher.environments.repository_files import shown
from launcher.errors import RecipeInvalid

_PIN = re.compile(r"(?:python|cpython)?[-@]?([0-9]{1,3}(?:\.[0-9]{1,4}){0,2})")
_LAST_MICRO = 60  # no Python had as many bug-fix releases
_LAST_MINOR = 60


def specifier(value: object, path: str) -> str | None:
    """A ``requires-python`` value in one spelling, None when it allows everything; RecipeInvalid when it is none."""
    if value is None or value == "":
        return None
    try:
        return str(SpecifierSet(str(value) if isinstance(value, str) else "?")) or None
    except InvalidSpecifier as error:
        raise RecipeInvalid(
            f"{shown(path)} asks for a Python version in a way that cannot be read.",
            hint='Write requires-python as in ">=3.11".',
        ) from error


def pinned_version(text: str) -> str | None:
    """The version in a ``.python-version`` file; None when it names something else, such as a pyenv environment."""
    for line in text.splitlines():
        if word := line.split("#", 1)[0].strip():
            match = _PIN.fullmatch(word)
            return match[1] if match else None
    return None


def choose(exact: tuple[str, str] | None, allowed: tuple[str, str] | None) -> str | None:
    """The Python of a recipe from an exact wish and an allowed range, each with the path of its file.

    Only a major version (``3``) is no wish. Raises RecipeInvalid naming both files when no release is in both.
    """
    if exact is not None and "." not in exact[0] and exact[0] == "3":
        exact = None
    if exact is None:
        return allowed[0] if allowed else None
    if allowed is not None and not _compatible(exact[0], SpecifierSet(allowed[0])):
        raise RecipeInvalid(
            f"{shown(exact[1])} asks for Python {exact[0]}, which {shown(allowed[1])} does not allow.",
            hint=f"Change one of the two files; {shown(allowed[1])} allows {allowed[0]}.",
        )
    return exact[0]


def _compatible(exact: str, allowed: SpecifierSet) -> bool:
    """Whether any release that ``exact`` may mean is allowed: ``3.11`` means every ``3.11.x``."""
    parts = exact.split(".")
    candidates = [exact]
    if len(parts) == 1:
        candidates = [f"{exact}.{minor}.{_LAST_MICRO}" for minor in range(_LAST_MINOR)]
    elif len(parts) == 2:  # noqa: PLR2004 - major.minor
        candidates = [f"{exact}.{micro}" for micro in range(_LAST_MICRO)]
    return any(allowed.contains(candidate, prereleases=True) for candidate in candidates)
