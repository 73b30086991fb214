"""All words of the pages, one JSON file for each language, for the server's templates and for the pages' scripts.

A file is groups of keys: ``{"launch": {"button": "Launch"}}`` is the word ``launch.button``. ``{name}`` in a text is
filled in. A key whose text depends on a number has the plural forms of CLDR instead of a text, and is asked for with
``count``: ``{"one": "{count} minute", "other": "{count} minutes"}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from babel import Locale
from babel.numbers import format_decimal

Entry = str | dict[str, str]
_NAME = re.compile(r"\{(\w+)\}")


class Words:
    """The words of one language."""

    def __init__(self, language: str, groups: Mapping[str, Mapping[str, Entry]]) -> None:
        self.locale = Locale.parse(language)
        self._groups = groups

    @property
    def language(self) -> str:
        """The language's tag, for ``<html lang>``."""
        return str(self.locale).replace("_", "-")

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``, for ``<html dir>``."""
        return str(self.locale.text_direction)

    def t(self, key: str, **values: Any) -> str:
        """The text of a key with its ``{names}`` filled in. KeyError for a key nobody wrote."""
        return self.filled(self.entry(key, values.get("count", 0)), values)

    def entry(self, key: str, count: float = 0) -> str:
        """The text of a key as it was written, in its plural form for ``count``. KeyError for a key nobody wrote."""
        group, _, name = key.partition(".")
        entry = self._groups[group][name]
        if isinstance(entry, dict):
            return entry.get(self.locale.plural_form(count), entry["other"])
        return entry

    def filled(self, text: str, values: Mapping[str, Any]) -> str:
        """A text with its ``{names}`` filled in: numbers as the language writes them, the rest as it is."""

        def value_of(match: re.Match[str]) -> str:
            value = values.get(match[1], match[0])
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return format_decimal(value, locale=self.locale) if is_number else str(value)

        return _NAME.sub(value_of, text)

    def groups(self, names: Iterable[str]) -> dict[str, Mapping[str, Entry]]:
        """Whole groups, for the scripts of a page."""
        return {name: self._groups[name] for name in names}


@cache
def words_of(language: str = "en") -> Words:
    """The words of a language we have. FileNotFoundError for another."""
    text = (files("launcher.web") / "words" / f"{language}.json").read_text(encoding="utf-8")
    return Words(language, json.loads(text))
