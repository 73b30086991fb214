"""All words lie in one file for each language, and nobody asks for one that is not there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from markupsafe import Markup

import launcher
from launcher.web.pages import page_data, t
from launcher.web.words import Words, words_of

PACKAGE = Path(launcher.__file__).parent
FRONTEND = PACKAGE.parent / "frontend" / "src"
KEYS = {
    f"{group}.{name}"
    for group, words in words_of().groups(json.loads((PACKAGE / "web" / "words" / "en.json").read_text())).items()
    for name in words
}
ASKED = re.compile(r"""\bt\(\s*["'`]([\w.]+)["'`]\s*[,)]""")
COMPOSED = re.compile(r"""["'`](\w+\.(?:\w+_)?)(?=["'`{$])""")
"""The beginning of keys whose end depends on something: ``"launch.step_" ~ name``."""


def sources() -> dict[str, str]:
    files = [*(PACKAGE / "web").rglob("*.py"), *(PACKAGE / "web" / "templates").glob("*.html")]
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


def test_a_count_chooses_the_plural_and_numbers_are_written_as_the_language_does():
    polish = Words("pl", {"x": {"days": {"one": "{count} dzień", "few": "{count} dni", "other": "{count} dnia"}}})
    assert [polish.t("x.days", count=count) for count in (1, 3, 1.5)] == ["1 dzień", "3 dni", "1,5 dnia"]
    assert words_of().t("error.waiting", count=1) == "Waiting helps: try again in one second."
    assert words_of().t("error.waiting", count=1200).endswith("1,200 seconds.")


def test_a_language_knows_its_direction():
    assert (words_of().language, words_of().direction) == ("en", "ltr")
    assert Words("ar", {}).direction == "rtl"


def test_a_word_nobody_wrote_is_an_error():
    with pytest.raises(KeyError):
        words_of().t("launch.nope")


def test_what_is_filled_into_a_page_stays_text():
    assert t("launch.title", repository="<b>") == "Launch &lt;b&gt;"
    assert t("launch.title", repository=Markup("a/<wbr>b")) == "Launch a/<wbr>b"


def test_data_for_scripts_cannot_end_its_element():
    element = page_data("x", {"a": "</script><!--", "b": "it's"})
    assert element.count("<") == 2
    body = element.partition(">")[2].rpartition("<")[0]
    assert json.loads(body) == {"a": "</script><!--", "b": "it's"}
