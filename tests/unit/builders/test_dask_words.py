"""What is said about versions of Dask that do not fit: from uv's words, whatever a repository puts into its files."""

from __future__ import annotations

import time

import pytest

from launcher.builders.uv.dask import DaskPackages, advice
from launcher.builders.uv.lock import Lock
from launcher.environments import environment_key, with_dask
from launcher.models import Recipe, RecipeKind

ON = DaskPackages(("dask", "distributed", "Dask_Gateway>=2023", "bokeh"))
UV_WORDS = """  \u00d7 No solution found when resolving dependencies:
  ╰─▶ Because distributed>=2026.8.0 depends on dask>=2026.8.0 and you require
      dask==2024.8.0, we can conclude that your requirements and
      distributed>=2026.8.0 are incompatible.
      And because you require distributed==2026.8.0, we can conclude that your
      requirements are unsatisfiable.
"""
EXTRAS = """Because dask[complete]<=2024.8.0 depends on distributed==2024.8.0 and you require dask[complete]==2024.8.0,
we can conclude that you require distributed==2024.8.0. And because you require distributed>=2026 and numpy, we can
conclude that your requirements are unsatisfiable."""


def lock(*lines: str) -> Lock:
    return Lock.parse("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (UV_WORDS, "dask==2024.8.0, distributed==2026.8.0"),
        (EXTRAS, "dask[complete]==2024.8.0, distributed>=2026, numpy"),
    ],
)
def test_a_conflict_names_what_was_required_and_not_what_was_concluded(words, named):
    told = ON.conflict(words, "hint")
    assert told is not None
    assert told.message == f"These requirements do not fit together with Dask: {named}."
    assert told.hint == "hint"


@pytest.mark.parametrize(
    "words",
    [
        "",
        "Because alpha depends on beta and you require beta<1, your requirements are unsatisfiable.",
        "Because dask-labextension depends on jupyterlab>=4 and you require jupyterlab<4, ... unsatisfiable",
        "Because my-dask==1 depends on dask-expr==2 and you require dask-expr<1, ... unsatisfiable",
        "Because there is no version of distributed==2023.1.0 and you require distributed==2023.1.0: unsatisfiable",
    ],
)
def test_other_trouble_is_left_to_others(words):
    assert ON.conflict(words, "") is None


def test_without_dask_nothing_is_added_proved_or_explained():
    off = DaskPackages()
    everything = lock("dask==1", "distributed==1", "dask-gateway==1")
    assert off.chosen(with_dask(Recipe(RecipeKind.NONE))) == ()
    assert (off.completing(lock("dask==1")), off.proof(everything), off.conflict(UV_WORDS, "")) == ((), None, None)


def test_what_is_missing_is_everything_or_nothing():
    whole = ("dask==1", "distributed==1", "dask-gateway==2024.1", "bokeh==3")
    assert ON.completing(lock(*whole)) == ()
    for missing in whole:
        assert ON.completing(lock(*(one for one in whole if one != missing))) == ON.requirements
    assert ON.completing(lock("bokeh==3", "dask-labextension==7")) == ()


def test_an_environment_is_proved_when_it_has_both_sides():
    assert ON.proof(lock("distributed==1", "dask-gateway==1")) is not None
    assert ON.proof(lock("dask==1", "dask-gateway==1")) is None


def test_versions_in_sentences_come_from_the_lock():
    found = lock("distributed==2024.8.0 ; python_version > '3' --hash=sha256:00", "dask @ https://example.org/dask.whl")
    assert (found.version("distributed"), found.version("dask"), found.version("gone")) == ("2024.8.0", "?", "?")


def files(**texts: str) -> Recipe:
    return Recipe(RecipeKind.REQUIREMENTS, main="requirements_txt", files=dict.fromkeys(texts, "0" * 40))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("numpy\ndask==1\n", 2),
        ("dask[complete] >= 2\n", 1),
        ('dependencies = [\n  "distributed~=2023.1",\n]\n', 2),
        ('[packages]\ndask-gateway = "*"\n', 2),
        ("distributed @ https://example.org/x.whl\n", 1),
    ],
)
def test_advice_names_the_line_that_pins(text, line):
    recipe = files(requirements_txt=text)
    assert f"Change requirements_txt line {line}." in advice(recipe, lambda _: text)


@pytest.mark.parametrize(
    "text", [None, "", "dask\n", "# dask==1\n", "dask-labextension==7\n", "my.dask==1\nxdask==2\n"]
)
def test_advice_without_such_a_line_leads_to_the_log(text):
    assert "log" in advice(files(requirements_txt=text or ""), lambda _: text)


def test_who_chose_dask_is_told_that_the_choice_may_be_the_trouble():
    assert "Without Dask" in advice(with_dask(files(requirements_txt="click<8\n")), lambda _: "click<8\n")


def test_hostile_text_is_read_in_no_time():
    began = time.monotonic()
    for bait in ("dask[" * 20_000, "dask " * 20_000, "you require a and " * 6_000, "a" * 100_000, "dask<1," * 15_000):
        ON.conflict(f"Because dask depends on x {bait} unsatisfiable", "")
        advice(files(requirements_txt=bait), lambda _, bait=bait: bait)
    assert time.monotonic() - began < 5


def test_a_choice_is_part_of_the_key_and_of_nothing_else():
    recipe = files(requirements_txt="dask")
    assert environment_key(with_dask(recipe), "f") != environment_key(recipe, "f")
    assert environment_key(with_dask(with_dask(recipe)), "f") == environment_key(with_dask(recipe), "f")
    assert with_dask(recipe).files == recipe.files
