"""The words of the pages in every language there is, and which of them a browser asks for.

`launcher.translations` says where they come from. A language belongs to a request: nothing here is global.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from babel import Locale
from babel.numbers import format_decimal
from markupsafe import Markup, escape

from launcher.translations import NAME, Entry, Groups, Translation, english

_WANTED = re.compile(r"\s*([A-Za-z0-9-]{1,35})\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?")
_MOST_WANTED = 20


class Words:
    """The words of one language. ``language``: its tag, for ``<html lang>``."""

    def __init__(self, language: str, groups: Groups) -> None:
        self.language = language
        self.locale = Locale.parse(language, sep="-")
        self._groups = groups

    @property
    def direction(self) -> str:
        """``ltr`` or ``rtl``, for ``<html dir>``."""
        return str(self.locale.text_direction)

    @property
    def is_english(self) -> bool:
        """Whether sentences that nobody translates are in this language: the words of errors and of the Hub."""
        return str(self.locale.language) == "en"

    def t(self, key: str, **values: Any) -> str:
        """The text of a key with its ``{names}`` filled in. KeyError for a key nobody wrote."""
        return self._filled(self._entry(key, values.get("count", 0)), values)

    def markup(self, key: str, **values: Any) -> Markup:
        """The same for a page; what is filled in is text unless it is markup already."""
        safe = {name: value if isinstance(value, int | float) else escape(value) for name, value in values.items()}
        return Markup(self._filled(escape(self._entry(key, values.get("count", 0))), safe))  # noqa: S704 - all of it is escaped

    def meaning(self, code: str) -> str:
        """What the code of a failure means, which is all that other languages say of it; "" for an unknown one."""
        return self.t(f"codes.{code}") if code in self._groups["codes"] else ""

    def groups(self, names: Iterable[str]) -> dict[str, Mapping[str, Entry]]:
        """Whole groups, for the scripts of a page."""
        return {name: self._groups[name] for name in names}

    def _entry(self, key: str, count: float = 0) -> str:
        """The text of a key as it was written, in its plural form for ``count``."""
        group, _, name = key.partition(".")
        entry = self._groups[group][name]
        if isinstance(entry, str):
            return entry
        return entry.get(self.locale.plural_form(count), entry["other"])

    def _filled(self, text: str, values: Mapping[str, Any]) -> str:
        """A text with its ``{names}`` filled in: numbers as the language writes them, the rest as it is."""

        def value_of(match: re.Match[str]) -> str:
            value = values.get(match[1], match[0])
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return format_decimal(value, locale=self.locale) if is_number else str(value)

        return NAME.sub(value_of, text)


class Languages:
    """English, and every language that the operator has a file for."""

    def __init__(self, translations: Iterable[Translation] = ()) -> None:
        self.english = Words("en", english())
        words = [self.english, *(Words(one.language, one.complete) for one in translations)]
        self._words = {one.language.lower(): one for one in words}

    def best(self, accept_language: str) -> Words:
        """The language that an ``Accept-Language`` header likes most among those there are, else English.

        ``de-AT`` is content with ``de``: the lookup of RFC 4647, section 3.4.
        """
        for tag in _wanted(accept_language):
            parts = tag.lower().split("-")
            for length in range(len(parts), 0, -1):
                if found := self._words.get("-".join(parts[:length])):
                    return found
        return self._words["en"]


def _wanted(accept_language: str) -> Iterator[str]:
    """The tags of an ``Accept-Language`` header, the most wanted first; nonsense is left out."""
    parts = (_WANTED.fullmatch(part) for part in accept_language.split(",")[:_MOST_WANTED])
    wanted = [(float(match[2] or 1), match[1]) for match in parts if match]
    return (tag for quality, tag in sorted(wanted, key=lambda one: -one[0]) if quality > 0)
