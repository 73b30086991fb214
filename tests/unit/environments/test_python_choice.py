"""Which Python a recipe asks for."""

from __future__ import annotations

import pytest

from launcher.environments import detect
from launcher.errors import RecipeInvalid
from tests.unit.environments.trees import MemoryTree


def project(requires: str) -> str:
    return f'[project]\nname = "p"\nversion = "1"\nrequires-python = "{requires}"\n'


def python_of(entries: dict[str, str | bytes]) -> str | None:
    return detect(MemoryTree(entries)).python


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("python-3.11", "3.11"),
        ("python-3.11\n", "3.11"),
        ("\ufeffpython-3.12\r\n", "3.12"),
        ("python-3.11.4", "3.11.4"),
        ("python-2.7", "2.7"),
        ("python-3", None),
        ("python-3.11-2024-01-31", "3.11"),
        ("python-2024-01-31", None),
    ],
)
def test_runtime_txt_names_a_python(text, python):
    assert python_of({"runtime.txt": text, "requirements.txt": ""}) == python


@pytest.mark.parametrize(
    "text",
    [
        "", "python", "python-", "3.11", "python3.11", "python-3.11-", "python-3.x", "Python-3.11", "python -3.11",
        "julia-1.9", "node-20", "python-3.11\npython-3.12", "python-3.11.4.1", "python-3.11-2024-13-45", "r", "r-",
        "python-\uff13.11", "python-3.11\x00", "-", "r-4.4-20250131", "--help", "python-3.11 # x",
    ],
)  # fmt: skip
def test_nonsense_in_runtime_txt_is_refused_with_the_accepted_forms(text):
    with pytest.raises(RecipeInvalid) as caught:
        python_of({"binder/runtime.txt": text})
    assert "binder/runtime.txt" in caught.value.message
    assert "python-3.11" in caught.value.hint


@pytest.mark.parametrize(
    ("entries", "python"),
    [
        ({"pyproject.toml": project(">=3.10")}, ">=3.10"),
        ({"pyproject.toml": project(">=3.10"), "requirements.txt": ""}, ">=3.10"),
        ({"pyproject.toml": project("<4, >=3.10")}, "<4,>=3.10"),
        ({"pyproject.toml": project(">=3.10"), "runtime.txt": "python-3.12"}, "3.12"),
        ({"pyproject.toml": project(">=3.11.3"), "runtime.txt": "python-3.11"}, "3.11"),
        ({"pyproject.toml": project(">=3.12"), "runtime.txt": "python-3"}, ">=3.12"),
        ({"pyproject.toml": project(">=3.12"), "binder/requirements.txt": ""}, None),
        ({"Pipfile": '[requires]\npython_version = "3.9"\n'}, "3.9"),
        ({"Pipfile": '[requires]\npython_full_version = "3.9.7"\n'}, "3.9"),
        ({"Pipfile.lock": '{"_meta": {"requires": {"python_version": "3.10"}}}', "Pipfile": ""}, "3.10"),
        ({"Pipfile": "", "runtime.txt": "python-3.12"}, "3.12"),
        ({".python-version": "3.12", "requirements.txt": ""}, None),
        ({"environment.yml": "", "runtime.txt": "python-3.12"}, None),
    ],
)
def test_the_python_comes_from_the_files_that_have_a_say(entries, python):
    assert python_of(entries) == python


LOCK = 'version = 1\nrequires-python = ">=3.10"\n'


@pytest.mark.parametrize(
    ("pin", "python"),
    [("3.12\n", "3.12"), ("# x\ncpython-3.12.1", "3.12.1"), ("my-env", ">=3.10"), ("", ">=3.10"), ("3", ">=3.10")],
)
def test_a_python_version_file_counts_beside_a_uv_lock(pin, python):
    assert python_of({"uv.lock": LOCK, "pyproject.toml": project(">=3.10"), ".python-version": pin}) == python


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ({"pyproject.toml": project(">=3.12"), "runtime.txt": "python-3.11"}, ("runtime.txt", "pyproject.toml")),
        (
            {"uv.lock": LOCK, "pyproject.toml": project(">=3.10"), ".python-version": "3.9"},
            (".python-version", "uv.lock"),
        ),
        (
            {"pylock.toml": 'lock-version = "1.0"\nrequires-python = ">=3.13"\n', "runtime.txt": "python-3.11"},
            ("runtime.txt", "pylock.toml"),
        ),
    ],
)
def test_a_contradiction_names_both_files(entries, names):
    with pytest.raises(RecipeInvalid) as caught:
        python_of(entries)
    assert all(name in caught.value.message for name in names)


@pytest.mark.parametrize("requires", ["three", ">=3.x", "3.11"])
def test_a_requires_python_that_is_no_specifier_is_refused(requires):
    with pytest.raises(RecipeInvalid, match=r"pyproject\.toml"):
        python_of({"pyproject.toml": project(requires)})
