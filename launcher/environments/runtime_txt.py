"""runtime.txt: the language and version a repository asks for, as the Binder specification reads it."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from launcher.environments.repository_files import shown
from launcher.errors import RecipeInvalid

_FORM = re.compile(r"(?P<name>[a-z]+)(-(?P<version>[0-9]+(\.[0-9]+){0,2}))?(-(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}))?")


@dataclass(frozen=True)
class Runtime:
    """``name`` is ``python`` or ``r``; ``version`` and ``date`` as written, at least one of them present."""

    name: str
    version: str | None
    date: dt.date | None


def parse_runtime(text: str, path: str) -> Runtime:
    """The one line of a runtime.txt: ``python-3.11``, ``r-4.4-2025-01-31`` or ``r-2025-01-31``.

    A date behind a Python version is accepted and means nothing, as on mybinder.org.

    Raises RecipeInvalid for anything else, naming the accepted forms.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None or match["name"] not in {"python", "r"} or not (match["version"] or match["date"]):
        raise _invalid(path)
    try:
        date = dt.date.fromisoformat(match["date"]) if match["date"] else None
    except ValueError as error:
        raise _invalid(path) from error
    return Runtime(match["name"], match["version"], date)


def _invalid(path: str) -> RecipeInvalid:
    return RecipeInvalid(
        f"{shown(path)} does not name a runtime.",
        hint="It holds one line such as python-3.11 or r-4.4-2025-01-31.",
    )
