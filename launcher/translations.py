"""The words of the pages as they lie on the disk: the launcher's own English, and an operator's translations.

A file is groups of keys: ``{"launch": {"button": "Launch"}}`` is the word ``launch.button``. ``{name}`` in a text is
filled in. A key whose text depends on a number has the plural forms of CLDR instead of a text, and is asked for with
``count``: ``{"one": "{count} minute", "other": "{count} minutes"}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from babel import Locale, UnknownLocaleError

from launcher.errors import ConfigurationInvalid
from launcher.findings import Finding

Entry = str | Mapping[str, str]
Groups = Mapping[str, Mapping[str, Entry]]
NAME = re.compile(r"\{(\w+)\}")
"""What is filled into a text."""
_NAMED_IN_A_FINDING = 5


@cache
def english() -> Groups:
    """All words there are, in the launcher's own language."""
    groups: Groups = json.loads((files("launcher.web") / "words" / "en.json").read_text(encoding="utf-8"))
    return groups


def keys(groups: Groups) -> set[str]:
    """Every word of some groups: ``launch.button``."""
    return {f"{group}.{name}" for group, words in groups.items() for name in words}


@dataclass(frozen=True)
class Translation:
    """An operator's words for one language. ``language``: its tag, ``pt-BR``."""

    language: str
    groups: Groups

    @property
    def missing(self) -> list[str]:
        """The words that stay English."""
        return sorted(keys(english()) - keys(self.groups))

    @property
    def complete(self) -> Groups:
        """All words there are: English where nobody translated one."""
        return {group: {**words, **self.groups.get(group, {})} for group, words in english().items()}


def read_translations(directory: str) -> tuple[Translation, ...]:
    """Every ``<language>.json`` of a directory, none for "". Raises ConfigurationInvalid naming what is wrong where."""
    if not directory:
        return ()
    if not Path(directory).is_dir():
        raise ConfigurationInvalid(
            f"translations_directory: {directory!r} is not a directory.", hint="Make it, or name another one."
        )
    return tuple(_read(path) for path in sorted(Path(directory).glob("*.json")))


def translation_findings(directory: str) -> Iterator[Finding]:
    """How complete each translation is; nothing is wrong with one that is not."""
    for translation in read_translations(directory):
        missing, everything = translation.missing, len(keys(english()))
        what = f"translation {translation.language}: {everything - len(missing)} of {everything} words"
        if missing:
            more = ", …" if len(missing) > _NAMED_IN_A_FINDING else ""
            what += f"; in English: {', '.join(missing[:_NAMED_IN_A_FINDING])}{more}"
        yield Finding(good=True, what=what)


def _read(path: Path) -> Translation:
    try:
        locale = Locale.parse(path.stem, sep="-")
    except (ValueError, UnknownLocaleError) as error:
        hint = "A file is named after the tag of its language, such as de.json or pt-BR.json."
        raise ConfigurationInvalid(f"{path}: {path.stem!r} is no language.", hint=hint) from error
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        hint = "Save it as UTF-8; a JSON file has no comments and no comma before a closing bracket."
        raise ConfigurationInvalid(f"{path} cannot be read as JSON: {error}.", hint=hint) from error
    if not isinstance(groups, dict) or not all(isinstance(words, dict) for words in groups.values()):
        raise ConfigurationInvalid(
            f"{path} does not hold groups of words.", hint='It looks so: {"mine": {"stop": "…"}}.'
        )
    for group, words in groups.items():
        for name, entry in words.items():
            if problem := _problem(english().get(group, {}).get(name), entry, locale):
                hint = "The how-to guide “Pages in other languages” says what a file holds."
                raise ConfigurationInvalid(f"{path}: {group}.{name} {problem}", hint=hint)
    return Translation(path.stem, groups)


def _problem(original: Entry | None, entry: Any, locale: Locale) -> str:
    """What is wrong with a translated word, "" when nothing is."""
    if original is None:
        return "is none of the launcher's words; take it out."
    if isinstance(original, str):
        if not isinstance(entry, str) or not entry.strip():
            return "must be a text."
        return _wrong_names(entry, needed=_names(original), allowed=_names(original))
    if not isinstance(entry, dict) or not all(isinstance(text, str) and text.strip() for text in entry.values()):
        return "depends on a number: it must be texts for plural forms."
    forms = {*locale.plural_form.tags, "other"}
    if "other" not in entry or entry.keys() - forms:
        return f"must have the plural form 'other' and none but the language's: {', '.join(sorted(forms))}."
    allowed = {name for text in original.values() for name in _names(text)}
    problems = (
        _wrong_names(text, needed=_names(original["other"]) if form == "other" else set(), allowed=allowed)
        for form, text in entry.items()
    )
    return next(filter(None, problems), "")


def _wrong_names(text: str, *, needed: set[str], allowed: set[str]) -> str:
    names = _names(text)
    if unknown := names - allowed:
        return f"has {{{min(unknown)}}}, which nothing fills in."
    if lost := needed - names:
        return f"lacks {{{min(lost)}}}."
    return ""


def _names(text: str) -> set[str]:
    return set(NAME.findall(text))
