"""Recipe files that nobody writes by accident: refused quickly, in words, whatever they hold."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.environments import detect, environment_key
from launcher.errors import LauncherError, RecipeInvalid, SourceTooLarge
from tests.unit.environments.trees import MemoryTree

PROJECT = '[project]\nname = "p"\nversion = "1"\n'
NAMES = [
    "requirements.txt", "pyproject.toml", "uv.lock", "pylock.toml", "Pipfile", "Pipfile.lock", "runtime.txt",
    "environment.yml",
]  # fmt: skip


def entries(name: str, data: str | bytes) -> dict[str, str | bytes]:
    return {"pyproject.toml": PROJECT, name: data} if name == "uv.lock" else {name: data}


def error_of(tree: MemoryTree) -> LauncherError | None:
    """What reading the recipe raised that is meant for people; anything else fails the test."""
    try:
        detect(tree)
    except LauncherError as error:
        return error
    return None


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_not_text_is_refused_by_name(name):
    with pytest.raises(RecipeInvalid, match="is not UTF-8 text") as caught:
        detect(MemoryTree(entries(name, b"numpy\n\xff\xfe\xe9")))
    assert name in caught.value.message


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_50_megabytes_is_refused_by_name(name):
    with pytest.raises(SourceTooLarge) as caught:
        detect(MemoryTree(entries(name, b"#" * 50_000_000)))
    assert name in caught.value.message


@pytest.mark.parametrize("text", ["numpy\n", "-r dev.txt\n"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_saved_by_windows_editors_are_read(text, encoding):
    tree = MemoryTree({"requirements.txt": text.replace("\n", "\r\n").encode(encoding), "dev.txt": "x"})
    assert ("dev.txt" in detect(tree).files) is text.startswith("-r")


BOMBS = {
    "arrays": "a = " + "[" * 100_000,
    "tables": "a = " + "{a=" * 100_000,
    "key": ".".join("a" * 100_000) + " = 1",
    "header": "[" + ".".join("a" * 100_000) + "]",
    "quoted key": ".".join(['"a"'] * 100_000) + " = 1",
    "hidden key": "x = [ '''\n' ''', {" + " . ".join("a" * 3_000) + " = 1, c = ' '} ]",
    "long parts": ".".join(["a" * 150] * 5_000) + " = 1",
    "number": "a = " + "9" * 900_000,
    "line": "a = '" + "." * 900_000 + "'",
    "unclosed": '"' + '\\"' * 400_000,
}


@pytest.mark.parametrize("name", ["pyproject.toml", "uv.lock", "pylock.toml", "Pipfile"])
@pytest.mark.parametrize("bomb", list(BOMBS))
def test_a_toml_bomb_is_refused_quickly(name, bomb):
    started = time.process_time()
    with pytest.raises(RecipeInvalid, match="is not valid TOML"):
        detect(MemoryTree(entries(name, BOMBS[bomb])))
    assert time.process_time() - started < 2


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "null", "42", "NaN", '{"_meta": 1}', "{", ""])
def test_a_pipfile_lock_that_is_no_lock_is_refused(text):
    with pytest.raises(RecipeInvalid, match=r"Pipfile\.lock"):
        detect(MemoryTree({"Pipfile.lock": text}))


@pytest.mark.parametrize(
    "text",
    [
        "project = 1", "[[project]]", "build-system = []", "dependency-groups = 'x'", "tool = 1",
        PROJECT + "[tool]\nuv = 1", PROJECT + "[tool.uv]\nworkspace = 1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("beside", [{}, {"uv.lock": "version = 1\n"}, {"requirements.txt": "-e ."}])
def test_tables_of_the_wrong_shape_end_in_words_or_are_not_needed(text, beside):
    error = error_of(MemoryTree({"pyproject.toml": text, **beside}))
    assert error is None or "pyproject.toml" in error.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", ""), ("uv.lock", "version = 'x'"), ("uv.lock", "version = 1\npackage = 3"),
        ("uv.lock", "version = 1\npackage = [1]"), ("uv.lock", "version = 1\nrequires-python = 'x'"),
        ("pylock.toml", ""), ("pylock.toml", "lock-version = '2.0'"),
        ("pylock.toml", "lock-version = '1.0'\npackages=1"),
    ],
)  # fmt: skip
def test_a_lock_that_is_no_lock_is_refused_by_name(name, text):
    with pytest.raises(RecipeInvalid) as caught:
        detect(MemoryTree(entries(name, text)))
    assert name in caught.value.message


@pytest.mark.parametrize("name", ["a\nb.txt", "\x1b]0;x\x07.txt", "a\u202eb.txt", "é.txt", "x" * 4000, "\udcff.txt"])
def test_strange_names_in_messages_are_printable_and_short(name):
    tree = MemoryTree({"Pipfile": "[packages]\nx = {path = " + ascii_toml(name) + "}\n"})
    error = error_of(tree)
    assert error is not None
    assert error.message.isprintable()
    assert len(error.message) < 300


def ascii_toml(text: str) -> str:
    return (
        '"' + "".join(f"\\U{ord(letter):08x}" if not 0xD800 <= ord(letter) < 0xE000 else "?" for letter in text) + '"'
    )


def test_strange_names_of_reached_files_are_keyed():
    names = ["wheels/a\nb.whl", "wheels/\udcff.whl", "wheels/--index-url.whl", "wheels/\u202e.whl"]
    tree = MemoryTree({"requirements.txt": "-f wheels", **dict.fromkeys(names, "x")})
    assert set(names) < set(detect(tree).files)
    assert environment_key(detect(tree), "x")


lines = st.text(alphabet="-rec ./\\\"'#[]@;:=~${}\n\tanumpy.txt\x00\x0c\u2028é", max_size=60)


@given(st.sampled_from(NAMES), lines | st.text(max_size=60) | st.binary(max_size=60))
def test_whatever_a_recipe_file_holds_the_answer_is_a_recipe_or_an_error_for_people(name, data):
    tree = MemoryTree(
        {**entries(name, data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")), "a.txt": "x"}
    )
    if error := error_of(tree):
        assert error.message.isprintable()
        assert error.hint
        return
    recipe = detect(tree)
    assert set(recipe.files) <= set(tree.files())
    assert environment_key(recipe, "x") == environment_key(detect(tree), "x")
