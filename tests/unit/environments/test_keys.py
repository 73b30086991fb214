"""What makes two environments one."""

from __future__ import annotations

import dataclasses
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.environments import environment_key
from launcher.models import Recipe, RecipeKind

words = st.text(alphabet=st.characters(), max_size=8)  # every character, lone surrogates too
maybe = st.none() | words
pairs = st.dictionaries(words, words, max_size=4)
recipes = st.builds(
    Recipe,
    kind=st.sampled_from(RecipeKind),
    directory=st.sampled_from(["", "binder", ".binder"]),
    main=maybe,
    files=pairs,
    python=maybe,
    apt=maybe,
    post_build=maybe,
    start=maybe,
    installs_project=st.booleans(),
    editable=st.booleans(),
    tree=maybe,
    options=pairs,
)


def without_start(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, start=None)


@given(recipes, words)
def test_a_key_is_64_hex_digits_and_always_the_same(recipe, fingerprint):
    key = environment_key(recipe, fingerprint)
    assert re.fullmatch("[0-9a-f]{64}", key)
    backwards = dataclasses.replace(
        recipe,
        files=dict(reversed(recipe.files.items())),
        options=dict(reversed(recipe.options.items())),
    )
    assert environment_key(backwards, fingerprint) == key


@given(recipes, maybe)
def test_the_start_script_is_not_part_of_the_key(recipe, start):
    assert environment_key(dataclasses.replace(recipe, start=start), "x") == environment_key(recipe, "x")


@given(recipes, recipes, words, words)
def test_two_keys_are_equal_only_when_everything_is(one, other, first, second):
    same = without_start(one) == without_start(other) and first == second
    assert (environment_key(one, first) == environment_key(other, second)) is same


@given(recipes, recipes, st.sampled_from([field.name for field in dataclasses.fields(Recipe) if field.name != "start"]))
def test_changing_any_one_field_changes_the_key(recipe, other, name):
    changed = dataclasses.replace(recipe, **{name: getattr(other, name)})
    same = getattr(recipe, name) == getattr(other, name)
    assert (environment_key(changed, "x") == environment_key(recipe, "x")) is same


BASE = Recipe(RecipeKind.REQUIREMENTS, main="requirements.txt", files={"a": "1", "b": "2"}, options={"o": "v"})


@pytest.mark.parametrize(
    "other",
    [
        {"files": {"a": "2", "b": "1"}},
        {"files": {"a1": "", "b": "2"}},
        {"files": {"a": "1b2"}},
        {"files": {"a": "1", "b": "2", "o": "v"}, "options": {}},
        {"files": {"a": "1"}, "options": {"o": "v", "b": "2"}},
        {"main": "requirements.txt4:file1:a"},
        {"main": None},
        {"main": ""},
        {"apt": "x"},
        {"post_build": "x"},
        {"python": "x"},
        {"tree": "x"},
        {"directory": "binder"},
        {"options": {"ov": ""}},
        {"installs_project": True},
        {"editable": True},
        {"kind": RecipeKind.PYLOCK},
    ],
)
def test_look_alikes_have_keys_of_their_own(other):
    assert environment_key(dataclasses.replace(BASE, **other), "f") != environment_key(BASE, "f")


def test_the_builder_is_part_of_the_key():
    assert environment_key(BASE, "builder 1") != environment_key(BASE, "builder 2")


def test_a_key_is_the_hash_of_named_and_measured_fields_and_stays_that():
    """Environments on disk carry these keys: writing fields in another way makes every one of them built again."""
    written = (
        "6:format26:launcher environment key 1" "11:fingerprint1:f" "4:kind16:requirements.txt" "9:directory0:"
        "4:main16:requirements.txt" "16:installs_project5:False" "8:editable5:False"
        "4:file1:a" "4:blob1:1" "4:file1:b" "4:blob1:2" "6:option1:o" "5:value1:v"
    )  # fmt: skip
    assert environment_key(BASE, "f") == hashlib.sha256(written.encode()).hexdigest()
