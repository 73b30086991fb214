"""What a session leaves for its clusters, and who holds a lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.hub.inside.lock import is_held
from tests.support.fixtures import require
from tests.support.running import SERVER_ENVIRONMENTS
from tests.unit.inside.running import Session, hub
from tests.unit.inside.upstream import IDENTITY, Upstream


@pytest.fixture
def session(tmp_path: Path, upstream: Upstream) -> Iterator[Session]:
    require("hub6")
    script = '#!/bin/sh\nexport FROM_START=yes HOME=/elsewhere\nexec "$@"\n'
    commit = upstream.commit({"start": script})
    content = {"repository": str(upstream.cache), "commit": commit, "branch": "refs/heads/main"}
    content |= {"identity": IDENTITY, "url": "https://example.org/class/notes", "name": "notes"}
    (tmp_path / "variables").mkdir()
    with hub() as api:
        session = Session(
            SERVER_ENVIRONMENTS["hub6"] / "bin" / "python",
            api,
            {
                "home": str(tmp_path / "home"),
                "content": content,
                "start": "start",
                "variables": str(tmp_path / "variables" / "environment.json"),
            },
            tmp_path / "log",
        )
        yield session
        session.close()
        sys.stdout.write(session.log.read_text())


def test_a_session_leaves_what_kernels_see_and_nothing_of_its_server(session: Session, tmp_path: Path) -> None:
    session.ears.until("ready")
    text = (tmp_path / "variables" / "environment.json").read_text()
    variables = json.loads(text)
    assert variables["FROM_START"] == "yes"
    assert variables["REPO_DIR"] == str(tmp_path / "home" / "notes")
    assert variables["JUPYTERHUB_USER"] == "me"
    assert variables["LANG"] == "C.UTF-8"
    assert "server-token" not in text
    assert not {"HOME", "PATH", "PYTHONPATH", "VIRTUAL_ENV"} & variables.keys()
    of_server = ("JUPYTERHUB_", "JUPYTER_", "JUPYTERLAB_", "JPY_", "XDG_")
    assert [name for name in variables if name.startswith(of_server)] == ["JUPYTERHUB_USER"]


def test_a_lock_is_held_as_long_as_its_holder_lives(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    assert not is_held(path)
    path.touch()
    assert not is_held(path)
    program = (
        "import fcntl, sys; file = open(sys.argv[1]); fcntl.lockf(file, fcntl.LOCK_SH)\n"
        "print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        assert is_held(path)
        holder.kill()
        holder.wait()
        assert not is_held(path)


def test_what_a_session_puts_in_the_place_of_its_lock_holds_nothing_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    assert not any(is_held(tmp_path / name) for name in ("pipe", "link", "directory"))
