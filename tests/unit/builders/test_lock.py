"""Reading locks, and making requirements of what uv does not read."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from launcher.builders.uv import convert
from launcher.builders.uv.explain import explain
from launcher.builders.uv.lock import Lock, promised_hashes
from launcher.errors import LauncherError, RecipeInvalid

TEXT = """
--index-url https://index.example/simple
six==1.16.0 \\
    --hash=sha256:bb \\
    --hash=sha256:aa
    # via nothing
-e .
Foo_Bar[x]==2 ; python_version > '3' --hash=sha256:cc  # why
delta @ git+https://example.org/delta@0123456789
./wheels/x.whl
"""
MACHINE = convert.marker_environment(Version("3.11.7"))


def test_a_lock_knows_its_packages() -> None:
    lock = Lock.parse(TEXT)
    assert lock.names == {"", "six", "foo-bar", "delta"}
    assert [one.line for one in lock.local] == ["-e .", "./wheels/x.whl"]
    assert [one.name for one in lock.version_control] == ["delta"]
    assert lock.hashed.splitlines()[0] == "--index-url https://index.example/simple"
    assert "six==1.16.0 --hash=sha256:aa --hash=sha256:bb" in lock.hashed
    assert "delta" not in lock.hashed


def test_equal_sets_have_one_digest_whatever_their_order_and_index() -> None:
    one = Lock.parse("a==1 --hash=sha256:x --hash=sha256:y\nb==1 --hash=sha256:z\n")
    other = Lock.parse(
        "--index-url https://x\nb==1 --hash=sha256:z\n# note\na==1 \\\n --hash=sha256:y --hash=sha256:x\n"
    )
    assert one.digest == other.digest
    assert one.digest != Lock.parse("a==1 --hash=sha256:x\nb==1 --hash=sha256:z\n").digest


@pytest.mark.parametrize("name", ["jupyter-server", "Jupyter_Server", "notebook", "jupyterlab"])
def test_a_server_is_recognised_by_any_spelling(name: str) -> None:
    assert Lock.parse(f"{name}==2 --hash=sha256:x\n").brings_server
    assert not Lock.parse("ipywidgets==8 --hash=sha256:x\n").brings_server


def test_promised_hashes_replace_those_of_the_index() -> None:
    promised = promised_hashes("Six==1 \\\n  --hash=sha256:mine\nother\n")
    lock = Lock.parse("six==1 --hash=sha256:a --hash=sha256:b\nother==1 --hash=sha256:c\n").with_hashes(promised)
    assert lock.text == "other==1 --hash=sha256:c\nsix==1 --hash=sha256:mine\n"


@given(st.text(max_size=200))
def test_any_text_is_a_lock_or_a_clear_error(text: str) -> None:
    try:
        Lock.parse(text)
    except LauncherError as error:
        assert error.message  # noqa: PT017 - either outcome is right


def test_a_pipfile_with_everything_pipenv_knows() -> None:
    text = """
[[source]]
url = "https://pypi.org/simple"
[[source]]
url = "https://index.example/simple"
[packages]
plain = "*"
pinned = "==1.0"
extra = {version = ">=2", extras = ["x", "y"], markers = "python_version > '3'"}
vcs = {git = "https://example.org/vcs.git", ref = "main"}
here = {path = ".", editable = true}
[dev-packages]
tool = "~=3.0"
"""
    assert convert.pipfile("Pipfile", text).splitlines() == [
        "--extra-index-url https://index.example/simple",
        "plain",
        "pinned==1.0",
        'extra[x,y]>=2; python_version > "3"',
        "vcs @ git+https://example.org/vcs.git@main",
        "-e ./.",
        "tool~=3.0",
    ]


@pytest.mark.parametrize(
    "body",
    [
        "{", "[]", "null", '{"default": []}', '{"default": {"a": 1}}', '{"default": {"a\\n--index-url x": "*"}}',
        '{"default": {"a": {"version": "==1\\n-r /etc/passwd"}}}', '{"default": {"-r x": "*"}}',
        '{"_meta": {"sources": [{"url": "file:///etc"}]}}', '{"_meta": {"sources": [{"url": "https://x\\n-r y"}]}}',
        '{"_meta": 1}', '{"default": {"a": {"hashes": 5}}}', '{"default": {"a": {"hashes": ["x --y", "b\\n-r z"]}}}',
        '{"default": {"a": {"path": "x\\n-r y"}}}', '{"default": {"a": {"extras": 3}}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_pipfile_lock_that_is_none_is_refused(body: str) -> None:
    with pytest.raises(RecipeInvalid, match=r"Pipfile\.lock"):
        convert.pipfile_lock("Pipfile.lock", body)


def test_a_pylock_with_every_kind_of_source() -> None:
    text = """
lock-version = "1.0"
[[packages]]
name = "a"
version = "1"
sdist = {url = "https://x/a.tar.gz", hashes = {sha256 = "s"}}
wheels = [{url = "https://x/a.whl", hashes = {sha256 = "w"}}]
[[packages]]
name = "b"
vcs = {type = "git", url = "https://example.org/b", commit-id = "abc"}
[[packages]]
name = "c"
archive = {url = "https://example.org/c.zip", hashes = {sha256 = "z"}}
[[packages]]
name = "d"
directory = {path = "d", editable = true}
[[packages]]
name = "never"
version = "1"
marker = "sys_platform == 'plan9'"
"""
    assert convert.pylock("pylock.toml", text, MACHINE).splitlines() == [
        "a==1 --hash=sha256:w --hash=sha256:s",
        "b @ git+https://example.org/b@abc",
        "c @ https://example.org/c.zip --hash=sha256:z",
        "-e ./d",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", 'lock-version = "2.0"', 'lock-version = "1.0"\npackages = 3', 'lock-version = "1.0"\n[[packages]]\n',
        'lock-version = "1.0"\n[[packages]]\nname = "a"\nmarker = "nonsense"',
        'lock-version = "1.0"\n[[packages]]\nname = "a\\n-r x"\nversion = "1"',
        'lock-version = "1.0"\n[[packages]]\nname = "a"\nversion = "1"\nwheels = 7',
        'lock-version = "1.0"\n[[packages]]\nname = "a"\nvcs = {}',
        'lock-version = "1.0"\n[[packages]]\nname = "a"\ndirectory = {path = "x\\n-r y"}',
        'lock-version = "1.0"\n[[packages]]\nname = "a"\nversion = "1"\nwheels = [{hashes = {sha256 = "a\\n-r b"}}]',
    ],
)  # fmt: skip
def test_a_pylock_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RecipeInvalid, match=r"pylock\.toml"):
        convert.pylock("pylock.toml", text, MACHINE)


def test_paths_are_anchored_where_the_file_was() -> None:
    text = "-e .\n./x\n../y\nname==1\n-e ../z/.\n.hidden==1\n"
    assert convert.anchored(text, PurePosixPath("/srv/repository/binder")).splitlines() == [
        "-e /srv/repository/binder",
        "/srv/repository/binder/x",
        "/srv/repository/y",
        "name==1",
        "-e /srv/repository/z",
        ".hidden==1",
    ]


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (
            "No solution found\n  ╰─▶ Because foo was not found\n      in the package registry and",
            "No package named foo",
        ),
        ("Because there is no version of foo==9.9 and you require", "no version foo==9.9"),
        ("error: Failed to build `foo==1.0`", "foo could not be built"),
        ("fatal: write error: No space left on device", "disk is full"),
        ("the current Python version (3.11.7) does not satisfy Python>=3.13, we", "needs Python >=3.13"),
        ("anything else at /root/secret", ""),
    ],
)
def test_known_failures_become_sentences(tail: str, words: str) -> None:
    sentence = explain(tail, lambda name: None)
    assert words in sentence
    assert bool(sentence) == bool(words)
    assert "/" not in sentence


def test_a_position_becomes_a_line() -> None:
    tail = "error: Couldn't parse requirement in `binder/requirements.txt` at position 9"
    assert explain(tail, lambda name: "six\nidna\nbad bad\n") == "requirements.txt line 3 is not a requirement."


def test_json_that_nests_without_end_is_refused() -> None:
    with pytest.raises(RecipeInvalid):
        convert.pipfile_lock("Pipfile.lock", json.dumps({"default": {}})[:-1] + ',"x":' + "[" * 50_000)
