"""What a session can do to its run directory, with a real sandbox: its clusters get parts of it by their paths."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher.builders.process.sandbox import check_sandbox
from launcher.errors import SandboxUnavailable
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME
from launcher.hub.session import INSIDE_NAME, session_sandbox
from tests.support.clusters import settings_of
from tests.support.running import SERVER_ENVIRONMENTS

REPLACE_EVERYTHING = """
cd /run
for path in launcher session launcher/* session/* session/variables/*; do
    mv "$path" "$path.old" 2>/dev/null || rm -rf "$path" 2>/dev/null
    ln -s / "$path" 2>/dev/null
done
mkdir -p launcher/variables 2>/dev/null
echo "$(ls -d /run/launcher*/.. | wc -l)"
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    try:
        check_sandbox()
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    run = tmp_path / "run"
    for name in (INSIDE_NAME, "tmp", VARIABLES_NAME):
        (run / name).mkdir(parents=True)
    (run / ALIVE_NAME).touch()
    return run


def in_session(tmp_path: Path, run: Path, script: str) -> str:
    (tmp_path / "home").mkdir(exist_ok=True)
    settings = settings_of(tmp_path / "state", SERVER_ENVIRONMENTS["hub6"])
    sandbox = session_sandbox(settings, None, home=tmp_path / "home", run=run)
    done = subprocess.run(
        sandbox.argv(["/bin/sh", "-c", script]),
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_session_cannot_put_links_where_its_clusters_look(tmp_path: Path, run: Path) -> None:
    assert in_session(tmp_path, run, REPLACE_EVERYTHING)
    assert not (run / VARIABLES_NAME).is_symlink()
    assert (run / VARIABLES_NAME).is_dir()
    assert not (run / ALIVE_NAME).is_symlink()
    assert (run / ALIVE_NAME).is_file()
    assert {path.name for path in run.iterdir()} == {INSIDE_NAME, "tmp", VARIABLES_NAME, ALIVE_NAME}


def test_a_session_leaves_its_variables_and_sees_nothing_else_of_its_run_directory(tmp_path: Path, run: Path) -> None:
    (run / INSIDE_NAME / "session.json").write_text("{}")
    script = "echo text > /run/session/variables/environment.json; ls /run/launcher /run/session"
    assert in_session(tmp_path, run, script).split() == [
        "/run/launcher:",
        "session.json",
        "/run/session:",
        "alive",
        "variables",
    ]
    assert (run / VARIABLES_NAME / "environment.json").read_text() == "text\n"
