"""A build request survives its way through the database to the last field."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.builds.codec import UnreadableRequest, request_from_json, request_to_json
from launcher.models import (
    BuildId,
    BuildRequest,
    Recipe,
    RecipeKind,
    Repository,
    RepositoryId,
    Resolved,
    Snapshot,
    Spec,
)
from tests.support import examples

words = st.text(max_size=20)
maybe = st.none() | words
files = st.dictionaries(words, words, max_size=3)
specs = st.builds(Spec, words, words)
repositories = st.builds(Repository, words.map(RepositoryId), words, words, words, words)
resolved = st.builds(Resolved, specs, repositories, words, maybe, words, words)
snapshots = st.builds(Snapshot, resolved, words.map(Path), words)
# Every field by name, so that one added to Recipe makes this fail until somebody thought of it here.
recipes = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(RecipeKind),
        "directory": words,
        "main": maybe,
        "files": files,
        "python": maybe,
        "apt": maybe,
        "post_build": maybe,
        "start": maybe,
        "installs_project": st.booleans(),
        "editable": st.booleans(),
        "tree": maybe,
        "options": files,
    }
)


@given(recipe=recipes, snapshot=snapshots, anew=st.booleans())
def test_a_request_comes_back_from_json_as_it_went(recipe, snapshot, anew) -> None:
    assert {field.name for field in fields(Recipe)} == recipe.keys()
    request = BuildRequest(BuildId("b1"), examples.key(), Recipe(**recipe), snapshot, anew)
    body = json.loads(json.dumps(request_to_json(request.recipe, request.snapshot, anew=request.anew)))
    assert request_from_json(request.build_id, request.key, body) == request


@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=5,
    ),
    place=st.sampled_from(["version", "recipe", "snapshot", "kind", "files", "resolved", "cache", "new"]),
)
def test_json_of_something_else_is_unreadable_or_equal_and_nothing_in_between(body, place) -> None:
    whole = request_to_json(examples.recipe(), examples.snapshot())
    target = whole
    if place in {"kind", "files"}:
        target = whole["recipe"]
    elif place in {"resolved", "cache"}:
        target = whole["snapshot"]
    target[place] = body
    try:
        request = request_from_json(BuildId("b"), examples.key(), whole)
    except UnreadableRequest:
        return
    whole["snapshot"]["cache"] = str(Path(whole["snapshot"]["cache"]))  # "a//b" and "a/b" are one path
    assert request_to_json(request.recipe, request.snapshot) == whole


def test_a_request_without_a_field_that_has_no_default_is_unreadable() -> None:
    body = request_to_json(examples.recipe(), examples.snapshot())
    del body["snapshot"]["commit"]
    with pytest.raises(UnreadableRequest, match="without commit"):
        request_from_json(BuildId("b"), examples.key(), body)


def test_a_request_from_before_a_field_with_a_default_existed_is_read() -> None:
    body = request_to_json(examples.recipe(), examples.snapshot())
    del body["recipe"]["options"]
    assert request_from_json(BuildId("b"), examples.key(), body).recipe == examples.recipe()
