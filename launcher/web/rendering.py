"""Templates in a language: one Jinja environment for each, so that every template and macro speaks it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, PackageLoader, select_autoescape
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from launcher.models import NO_RECIPE
from launcher.web.amounts import Amounts
from launcher.web.words import Words

_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MOST_LANGUAGES = 64


def plain_text(text: str) -> str:
    """A build's words without terminal control sequences."""
    return _TERMINAL.sub("", text)


def breakable(text: str) -> Markup:
    """A name that may break after its slashes on a narrow screen."""
    return Markup("/<wbr>").join(text.split("/"))


def readable_spec(text: str) -> str:
    """A spec for people: without percent-encoding, and without characters that would not show."""
    return "".join(character for character in unquote(text) if character.isprintable())


def page_data(name: str, value: Any) -> Markup:
    """Data for the page's scripts, in an element that no browser runs."""
    element = Markup('<script type="application/json" id="data-{}">{}</script>')
    return element.format(name, htmlsafe_json_dumps(value))


def render(words: Words, template: str, **variables: Any) -> str:
    """A template with its variables, in the language of the words."""
    return _templates(words).get_template(template).render(**variables)


@lru_cache(_MOST_LANGUAGES)
def _templates(words: Words) -> Environment:
    environment = Environment(
        loader=PackageLoader("launcher.web"),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "t": words.markup,
        "amounts": Amounts(words),
        "language": words.language,
        "direction": words.direction,
        "is_english": words.is_english,
        "meaning": words.meaning,
        "page_data": page_data,
        "words_for": lambda *groups: words.groups(groups if words.is_english else (*groups, "codes")),
    }
    environment.filters |= {
        "plain_text": plain_text,
        "breakable": breakable,
        "readable_spec": readable_spec,
        "recipe": lambda summary: summary.replace(NO_RECIPE, words.t("launch.no_recipe")),
    }
    return environment
