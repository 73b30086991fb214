"""The pages themselves: they build, their links lead somewhere, their commands exist, and they say nothing private."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import DOCS, PAGES, REPOSITORY, TOP, code_blocks, name_of, tracked_files

FILLER = re.compile(r"\b(simply|just|easily|obviously|of course|powerful|seamless\w*|leverag\w+)\b", re.IGNORECASE)
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf]")


def test_the_documentation_builds_without_a_warning(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-n",
        "-W",
        "-q",
        "-d",
        str(tmp_path / "trees"),
        str(DOCS),
        str(tmp_path / "html"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "html" / "tutorial" / "first-click.html").exists()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_relative_link_leads_to_a_file(path):
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", [path for path in PAGES if DOCS in path.parents], ids=name_of)
def test_a_page_of_the_documentation_links_to_no_file_outside_of_it(path):
    targets = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).resolve().is_relative_to(DOCS)] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_links_only_to_labels_that_exist(path):
    labels = set()
    for page in (*PAGES, *(DOCS / "reference" / "generated").glob("*.md")):
        labels |= set(re.findall(r"^\(([\w-]+)\)=", page.read_text(), re.MULTILINE))
    wanted = set(re.findall(r"\]\(#([\w-]+)\)", path.read_text()))
    assert wanted - labels == set()


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_names_only_scripts_that_exist_and_can_be_run(path):
    scripts = set(re.findall(r"(?<![\w./])scripts/([\w-]+)(?![\w.])", path.read_text()))
    assert {name for name in scripts if not os.access(REPOSITORY / "scripts" / name, os.X_OK)} == set()


def test_the_readme_begins_with_the_two_commands():
    first, second = code_blocks(TOP[0].read_text(), "sh")[:2]
    assert (first, second) == ("scripts/up\n", "scripts/test\n")


def test_the_architecture_page_names_only_modules_that_exist():
    text = TOP[1].read_text()
    package = REPOSITORY / "launcher"
    named = re.findall(r"`([a-z_/]+(?:\.py|/))`", text)
    on_disk = {"environments/", "builds/", "cache/", "repositories/", "logs/", "secrets/", "projects/", "homes/"}
    inside = package / "hub" / "inside"
    missing = {name for name in named if not any((root / name).exists() for root in (package, inside, REPOSITORY))}
    assert missing - on_disk == set()


def test_the_architecture_fits_on_one_page():
    assert len(TOP[1].read_text().splitlines()) <= 120


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_python_examples_can_be_read(path):
    for block in code_blocks(path.read_text(), "python"):
        compile(block, name_of(path), "exec")


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_the_language_is_plain(path):
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
    assert FILLER.findall(text) == []
    assert EMOJI.findall(text) == []


SHARED_PLACES = {"/", "/home", "/opt", "/root", "/srv", "/tmp", "/usr/src", "/var/tmp"}


def private_words() -> set[str]:
    """What only this machine and workplace know: found out here, because writing it down would be telling it."""
    beside = REPOSITORY.parent.iterdir() if str(REPOSITORY.parent) not in SHARED_PLACES else ()
    words = {f"{path}/" for path in (REPOSITORY, *beside) if len(path.parts) > 2 and path.is_dir()}
    home = str(Path.home())
    words |= {f"{home}/"} if home.startswith("/home/") else set()
    name = socket.gethostname()
    words |= {name} if len(name) > 4 and name not in {"localhost", "binder", "debian", "ubuntu"} else set()
    indexes = (
        os.environ.get(name, "")
        for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL", "npm_config_registry")
    )
    hosts = {urlsplit(url).hostname or "" for url in indexes}
    return words | {
        host for host in hosts if host and host not in {"pypi.org", "registry.npmjs.org", "127.0.0.1", "localhost"}
    }


def test_no_file_names_a_place_of_the_machine_it_was_written_on():
    words = [word.encode() for word in private_words()]
    pattern = re.compile(rb"/home/(?!jovyan|\{|\*|ana\b)[a-z][a-z0-9_-]*/|/Users/[a-z]+/")
    told = {
        f"{path.relative_to(REPOSITORY)}: {found.group()!r}"
        if (found := pattern.search(data))
        else f"{path.name}: private"
        for path in tracked_files()
        if path.is_file() and path.suffix not in {".png", ".whl"}
        for data in [path.read_bytes()]
        if pattern.search(data) or any(word in data for word in words)
    }
    assert told == set()
