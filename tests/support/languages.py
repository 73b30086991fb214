"""A language nobody speaks: all words of the pages in letters of another script, from right to left.

Whatever a page in it shows in Latin letters is not among the words, or data.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from html.parser import HTMLParser

from launcher.translations import NAME, Entry, Translation, english
from launcher.web.words import Languages, Words

TAG = "he"
_LETTERS = str.maketrans(
    {letter: chr(0x5D0 + number) for number, letter in enumerate(string.ascii_lowercase)}
    | {letter: chr(0x5D0 + number) for number, letter in enumerate(string.ascii_uppercase)}
)
_NOT_SHOWN = {"script", "style", "code", "pre", "textarea"}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_READ = {"aria-label", "title", "alt", "label", "aria-description", "aria-roledescription"}
_EVERYWHERE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC|\b[kMGT]i?B\b|\bPython \d[\d.]*"
"""Moments, units, and a name: the same in every language."""


def languages() -> Languages:
    """English and the made-up language."""
    return Languages([Translation(TAG, {group: _all(words) for group, words in english().items()})])


def made_up() -> Words:
    """The words of the made-up language."""
    return languages().best(TAG)


def _all(words: dict[str, Entry]) -> dict[str, Entry]:
    return {
        name: _text(entry) if isinstance(entry, str) else {form: _text(text) for form, text in entry.items()}
        for name, entry in words.items()
    }


def _text(text: str) -> str:
    """A text in other letters, with what is filled in left as it is."""
    return "".join(
        piece if number % 2 else piece.translate(_LETTERS)
        for number, piece in enumerate(re.split(rf"({NAME.pattern.replace('(', '(?:')})", text))
    )


def untranslated(page: str, data: Iterable[str] = ()) -> list[str]:
    """What a page says in Latin letters and is neither ``data`` nor marked as English, and what says no language."""
    reader = _Reader()
    reader.feed(page)
    known = re.compile("|".join([_EVERYWHERE, *map(re.escape, sorted(data, key=len, reverse=True))]))
    found = [text for text in reader.said if re.search(r"[A-Za-z]", known.sub("", text))]
    return found if reader.language == (TAG, "rtl") else [f"the page says it is {reader.language}", *found]


class _Reader(HTMLParser):
    """Collects what people see and what is read to them."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.language: tuple[str | None, str | None] = (None, None)
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "html":
            self.language = (attributes.get("lang"), attributes.get("dir"))
        hidden = tag in _NOT_SHOWN or attributes.get("lang") == "en" or attributes.get("role") == "log"
        if not hidden and not self._is_hidden():
            self.said += [value for name, value in attrs if name in _READ and value]
        if tag not in _VOID:
            self._open.append((tag, hidden))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass  # an element whose end may be left out

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._is_hidden():
            self.said.append(data.strip())

    def _is_hidden(self) -> bool:
        return any(hidden for _, hidden in self._open)
