"""Entries of a list that operators write as dicts: what those of machine sizes and of environments have in common.

Everything raises ConfigurationInvalid, with a sentence that names the entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from launcher.errors import ConfigurationInvalid

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def read_name(setting: str, number: int, entry: Mapping[str, Any], *, keys: Sequence[str], hint: str) -> str:
    """The ``name`` of the entry of that number, which may have these keys and no others.

    hint: how an entry looks, for one without a name.
    """
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationInvalid(
            f"{setting}, entry {number}: it needs a name of lower-case letters, digits and hyphens, not {name!r}.",
            hint=hint,
        )
    unknown = sorted(set(map(str, entry)) - set(keys))
    if unknown:
        raise ConfigurationInvalid(f"{setting}, {name!r}: there is no {unknown[0]!r}; there are {', '.join(keys)}.")
    return name


def read_text(where: str, entry: Mapping[str, Any], key: str) -> str:
    """A text of an entry, which ``where`` names; "" where it is left out."""
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise ConfigurationInvalid(f"{where}: {key} must be text, not {value!r}.")
    return value.strip()


def require_different(setting: str, names: Sequence[str]) -> None:
    """Refuse a name that two entries have."""
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationInvalid(f"{setting}: there are two called {name!r}.")
