"""All words lie in one file for each language, and nobody asks for one that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from markupsafe import Markup

import launcher
from launcher.errors import LauncherError
from launcher.models import HomeKind, Person
from launcher.policy.dask import DaskPolicy
from launcher.translations import Translation, english, keys
from launcher.web.pages import public_errors
from launcher.web.rendering import page_data
from launcher.web.words import Languages, Words

PACKAGE = Path(launcher.__file__).parent
FRONTEND = PACKAGE.parent / "frontend" / "src"
ENGLISH = Languages().english
KEYS = keys(english())
ASKED = re.compile(r"""\bt\(\s*["'`]([\w.]+)["'`]\s*[,)]""")
COMPOSED = re.compile(r"""["'`](\w+\.(?:\w+_)?)(?=["'`{$])""")
"""The beginning of keys whose end depends on something: ``"launch.step_" ~ name``."""
TEMPLATES = sorted((PACKAGE / "web" / "templates").glob("*.html"))
LITERAL = {"Python", "from dask_gateway import Gateway\ncluster = Gateway().new_cluster()\ncluster.scale(2)"}
"""What templates say in every language: a name, and code."""


def sources() -> dict[str, str]:
    files = [*(PACKAGE / "web").rglob("*.py"), PACKAGE / "policy" / "dask.py", *TEMPLATES]
    files += [*FRONTEND.rglob("*.ts"), *FRONTEND.rglob("*.tsx")]
    return {path.name: path.read_text() for path in files}


@pytest.mark.parametrize(("name", "text"), sources().items(), ids=lambda value: value if len(value) < 60 else "text")
def test_every_word_that_is_asked_for_is_there(name, text):
    assert {key for key in ASKED.findall(text) if "." in key} - KEYS == set()


def test_every_word_is_used():
    everything = "\n".join(sources().values())
    begun = set(COMPOSED.findall(everything))
    mentioned = set(re.findall(r"""["'`](\w+\.\w+)["'`]""", everything))
    composed = {key for key in KEYS if any(key.startswith(start) for start in begun)}
    assert KEYS - mentioned - composed == set()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_no_words_of_their_own(template):
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|<style>.*?</style>", "", template.read_text(), flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", "", text, flags=re.DOTALL)
    said = {piece.strip(" \n·,—") for piece in re.split(r"<[^>]*>", text)}
    said |= set(re.findall(r'\b(?:aria-label|title|alt)="([^"]*)"', text))
    assert {words for words in said if re.search(r"[A-Za-z]{2}", words)} - LITERAL == set()


def test_what_errors_mean_is_among_the_words():
    codes = {error.code for error in public_errors(LauncherError)}
    assert {key.partition(".")[2] for key in KEYS if key.startswith("codes.")} == codes
    assert ENGLISH.meaning("ref_not_found").startswith("The repository has no such branch")
    assert ENGLISH.meaning("nonsense") == ""


def test_reasons_against_dask_are_among_the_words():
    some = DaskPolicy(scope="access:services!service=x", groups=("dask",))
    everybody = DaskPolicy(scope="access:services!service=x")
    refusals = [
        some.refusal(Person("alice"), HomeKind.PERSONAL),
        everybody.refusal(Person("alice"), HomeKind.PERSONAL),
        everybody.refusal(Person("alice", scopes=frozenset({"access:services"})), HomeKind.PROJECT),
    ]
    assert [ENGLISH.t(refusal.key, **refusal.values) for refusal in refusals] == refusals


def test_a_count_chooses_the_plural_and_numbers_are_written_as_the_language_does():
    polish = Words("pl", {"x": {"days": {"one": "{count} dzień", "few": "{count} dni", "other": "{count} dnia"}}})
    assert [polish.t("x.days", count=count) for count in (1, 3, 1.5)] == ["1 dzień", "3 dni", "1,5 dnia"]
    assert ENGLISH.t("error.waiting", count=1) == "Waiting helps: try again in one second."
    assert ENGLISH.t("error.waiting", count=1200).endswith("1,200 seconds.")


def test_a_language_knows_its_direction():
    assert (ENGLISH.language, ENGLISH.direction) == ("en", "ltr")
    assert Words("ar", {}).direction == "rtl"


def test_a_word_nobody_wrote_is_an_error():
    with pytest.raises(KeyError):
        ENGLISH.t("launch.nope")


def test_what_is_filled_into_a_page_stays_text():
    assert ENGLISH.markup("launch.title", repository="<b>") == "Launch &lt;b&gt;"
    assert ENGLISH.markup("launch.title", repository=Markup("a/<wbr>b")) == "Launch a/<wbr>b"
    evil = Words("de", {"x": {"y": "<img src=x> {name}"}})
    assert evil.markup("x.y", name="<b>") == "&lt;img src=x&gt; &lt;b&gt;", "words are text too"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("fr, de;q=0.3, pt-br;q=0.8", "pt-BR"),
        ("pt", "en"),
        ("de;q=0, *", "en"),
        ("DE ; q=1.0", "de"),
        ("de;q=nonsense, \ud7ff, ;;;, -, " + "x" * 9000, "en"),
    ],
)
def test_the_browser_says_which_language(header, language):
    languages = Languages([Translation("de", {}), Translation("pt-BR", {})])
    assert languages.best(header).language == language


def test_what_is_not_translated_is_english():
    languages = Languages([Translation("de", {"mine": {"stop": "Beenden"}})])
    german = languages.best("de")
    assert (german.t("mine.stop"), german.t("mine.open")) == ("Beenden", "Open")
    assert languages.english.t("mine.stop") == "Stop"


def test_data_for_scripts_cannot_end_its_element():
    element = page_data("x", {"a": "</script><!--", "b": "it's"})
    assert element.count("<") == 2
    body = element.partition(">")[2].rpartition("<")[0]
    assert json.loads(body) == {"a": "</script><!--", "b": "it's"}
