from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher.hub.inside.kernel_layer import make_layer
from tests.unit.inside.running import SCRIPTS, Session, hub
from tests.unit.inside.upstream import IDENTITY, Upstream

Start = Callable[..., Session]


@pytest.fixture(scope="module")
def server_environment() -> Path:
    root = Path(__file__).parents[3]
    places = [root / ".tools" / "server-environment", root / ".cache" / "server-environment"]
    places.insert(0, Path(os.environ.get("LAUNCHER_TEST_SERVER_ENVIRONMENT", places[0])))
    found = [place for place in places if (place / "bin" / "python").exists()]
    if not found:
        pytest.skip("no server environment: scripts/setup makes one, or set LAUNCHER_TEST_SERVER_ENVIRONMENT")
    return found[0]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def start(server_environment: Path, home: Path, tmp_path: Path) -> Iterator[Start]:
    sessions: list[Session] = []
    with hub() as api:

        def begin(python: Path = server_environment / "bin/python", **description: Any) -> Session:
            log = tmp_path / f"log-{len(sessions)}"
            sessions.append(Session(python, api, {"home": str(home), **description}, log))
            return sessions[-1]

        yield begin
        for session in sessions:
            session.close()
            sys.stdout.write(session.log.read_text())


def content_of(upstream: Upstream, commit: str) -> dict[str, str]:
    return {
        "repository": str(upstream.cache),
        "commit": commit,
        "branch": "refs/heads/main",
        "identity": IDENTITY,
        "url": "https://example.org/class/notes",
        "name": "notes",
    }


REPORT = """
import json, os, sys
from ipykernel.connect import get_connection_info
transport = json.loads(get_connection_info())["transport"]
seen = {"transport": transport, "prefix": sys.prefix, "cwd": os.getcwd(), "path": sys.path}
print(json.dumps({**seen, "environ": dict(os.environ)}))
"""


def test_a_session_serves_the_files_and_its_kernel_lives_in_the_layer(
    start: Start, upstream: Upstream, home: Path, server_environment: Path
) -> None:
    commit = upstream.commit({"index.ipynb": "{}", "start": '#!/bin/bash\nexport FROM_START=yes\nexec "$@"\n'})
    session = start(
        content=content_of(upstream, commit),
        environment=str(server_environment),
        environment_id="abc",
        start="start",
    )
    said = session.ears.until("ready")
    assert said[-1] == {"ready": True}
    assert {"progress": "Put the repository's files in notes."} in said
    assert [entry["name"] for entry in session.call("api/contents/")["content"]] == ["index.ipynb", "start"]
    seen = json.loads(session.execute(REPORT))
    layer = home / ".local/share/launcher/layers/abc"
    assert seen["prefix"] == str(layer)
    assert seen["transport"] == "ipc"
    assert seen["cwd"] == str(home / "notes")
    assert str(SCRIPTS) not in seen["path"]
    variables = seen["environ"]
    assert variables["FROM_START"] == "yes"
    assert variables["PATH"].split(":")[:2] == [str(layer / "bin"), str(server_environment / "bin")]
    assert variables["VIRTUAL_ENV"] == str(layer)
    assert variables["HOME"] == str(home)
    assert variables["PYTHONNOUSERSITE"] == "1"
    assert "PYTHONPATH" not in variables
    assert "JUPYTER_CONFIG_PATH" not in variables
    assert not any("voice" in value for value in variables.values())
    server = psutil.Process(session.process.pid)
    kernels = server.children(recursive=True)
    assert any("ipykernel_launcher" in process.cmdline() for process in kernels)
    assert session.stop() == 0
    assert psutil.wait_procs(kernels, timeout=20)[1] == []


def test_nothing_planted_in_home_or_repository_runs_in_the_server(
    start: Start, upstream: Upstream, home: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    trap = f"open({str(canary)!r}, 'a').write(__file__ if '__file__' in globals() else 'x')\n"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for name in (
        ".jupyter/jupyter_server_config.py",
        ".jupyter/jupyter_config.py",
        ".ipython/profile_default/startup/00-trap.py",
        f".local/lib/{version}/site-packages/sitecustomize.py",
        f".local/lib/{version}/site-packages/usercustomize.py",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(trap)
    (home / f".local/lib/{version}/site-packages/trap.pth").write_text(f"import sys; {trap}")
    commit = upstream.commit(
        {
            "jupyter_server_config.py": trap,
            "jupyter_config.py": trap,
            "sitecustomize.py": trap,
            "jupyterhub.py": trap,
            "content.py": trap,
            "traitlets.py": trap,
        }
    )
    session = start(content=content_of(upstream, commit))
    session.ears.until("ready")
    assert session.execute("print(1)") == "1\n"
    assert not canary.exists(), canary.read_text()


def test_two_servers_share_no_cookie_secret_and_strangers_are_refused(start: Start, upstream: Upstream) -> None:
    commit = upstream.commit({"a.txt": "a\n"})
    session = start(content=content_of(upstream, commit))
    session.ears.until("ready")
    with pytest.raises(urllib.error.HTTPError) as refused:
        session.call("api/contents/", token="somebody-else")
    assert refused.value.code == 403
    refused.value.close()
    assert not (session.place / "serve.json").exists()
    command = " ".join(psutil.Process(session.process.pid).cmdline())
    assert "cookie_secret" not in command


SPY = """
import pathlib

def _load_jupyter_server_extension(app):
    pathlib.Path({seen!r}).write_bytes(app.cookie_secret)

def _jupyter_server_extension_points():
    return [{{"module": "spy"}}]
"""


def test_in_full_mode_the_environments_server_runs_without_its_baked_in_secrets(
    start: Start, upstream: Upstream, home: Path, tmp_path: Path, server_environment: Path
) -> None:
    environment = make_layer(server_environment, "baked", tmp_path).directory
    [packages] = environment.glob("lib/*/site-packages")
    (packages / "spy.py").write_text(SPY.format(seen=str(tmp_path / "seen")))
    etc = environment / "etc" / "jupyter"
    (etc / "jupyter_server_config.d").mkdir(parents=True)
    (etc / "jupyter_server_config.d" / "spy.json").write_text('{"ServerApp": {"jpserver_extensions": {"spy": true}}}')
    (etc / "jupyter_server_config.py").write_text(
        f"c.ServerApp.cookie_secret = b'{'baked' * 8}'\nc.ServerApp.allow_origin = '*'\nc.ServerApp.token = ''\n"
        "c.IdentityProvider.token = ''\nc.ServerApp.password = ''\nc.ServerApp.disable_check_xsrf = True\n"
    )
    secrets = set()
    for _ in range(2):
        session = start(
            python=environment / "bin" / "python",
            mode="full",
            environment=str(environment),
            environment_id="baked",
            content=content_of(upstream, upstream.commit({"a.txt": "a\n"})),
        )
        session.ears.until("ready")
        secrets.add((tmp_path / "seen").read_bytes())
        with pytest.raises(urllib.error.HTTPError) as refused:
            session.call("api/contents/", token="")
        refused.value.close()
        assert refused.value.code == 403
        assert session.stop() == 0
    assert len(secrets) == 2
    assert not any(b"baked" in secret for secret in secrets)


def test_a_regular_session_without_repository_or_environment_works(start: Start, home: Path) -> None:
    (home / "own.txt").write_text("mine\n")
    session = start(launches="/services/binder/")
    session.ears.until("ready")
    assert "own.txt" in [entry["name"] for entry in session.call("api/contents/")["content"]]
    for page in ("lab", "tree"):
        configuration = re.search(rb'id="jupyter-config-data"[^>]*>(.*?)</script>', session.read(page), re.DOTALL)[1]
        said = json.loads(configuration)
        assert said["launcherLaunches"] == "/services/binder/", "pages know where the launches are"
        (ours,) = [one for one in said["federated_extensions"] if one["name"] == "launcher-launches"]
        assert b"launcher-launches" in session.read(f"lab/extensions/{ours['name']}/{ours['load']}")
    assert json.loads(session.execute(REPORT))["prefix"] == str(home / ".local/share/launcher/layers/server")
    assert not (home / ".npm").exists()


def test_terminals_have_the_environments_programs(start: Start, upstream: Upstream, home: Path) -> None:
    commit = upstream.commit({"a.txt": "a\n"})
    session = start(content=content_of(upstream, commit))
    session.ears.until("ready")
    session.call("api/terminals", {})
    shells = [p for p in psutil.Process(session.process.pid).children() if p.name() == "bash"]
    assert shells
    assert "-l" not in shells[0].cmdline()
    assert shells[0].environ()["PATH"].startswith(str(home / ".local/share/launcher/layers/server/bin"))
    assert shells[0].cwd() == str(home / "notes")


def test_the_home_can_be_the_root_of_the_file_browser(start: Start, upstream: Upstream) -> None:
    session = start(content=content_of(upstream, upstream.commit({"a.txt": "a\n"})), root="home")
    session.ears.until("ready")
    (shown,) = [entry["name"] for entry in session.call("api/contents/")["content"]]
    assert shown.startswith("notes-")


def test_files_beside_the_persons_own_run_nothing_when_session_and_kernel_start(
    start: Start, upstream: Upstream, home: Path, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    trap = f"open({str(canary)!r}, 'a').write('x')\n"
    names = ("jupyter_server_config.py", "jupyter_config.py", "ipython_config.py", "sitecustomize.py", "traitlets.py")
    files = dict.fromkeys((*names, "__init__.py", "__main__.py"), trap)
    content = content_of(upstream, upstream.commit(files)) | {"name": "ipykernel_launcher"}  # what kernels run
    session = start(content=content, root="home")
    session.ears.until("ready")
    assert psutil.Process(session.process.pid).cwd() == str(home), "old versions of Jupyter read settings there"
    variables = json.loads(session.execute(REPORT))["environ"]
    assert not canary.exists()
    assert variables["REPO_DIR"].startswith(str(home / "ipykernel_launcher-"))
    assert "IPYTHONDIR" not in variables, "settings are the person's own, as in their session without files"


def test_a_session_whose_files_cannot_come_says_so_and_ends(start: Start, upstream: Upstream, home: Path) -> None:
    upstream.commit({"a.txt": "a\n"})
    session = start(content=content_of(upstream, "0" * 40))
    error = session.ears.until("error")[-1]["error"]
    assert error["code"] == "content_failed"
    assert error["hint"]
    assert str(home) not in json.dumps(error)
    assert session.process.wait(30) == 1


def test_without_anybody_listening_the_server_starts_all_the_same(start: Start, tmp_path: Path) -> None:
    session = start(ready_socket=None)
    deadline = 30
    while b"is running at" not in session.log.read_bytes():
        deadline -= 1
        assert deadline > 0
        with pytest.raises(subprocess.TimeoutExpired):
            session.process.wait(1)
    assert session.call("api/status")["kernels"] == 0


@pytest.mark.parametrize(
    "script", ["#!/usr/bin/env python3\nimport os, sys\nos.execvp(sys.argv[1], sys.argv[1:])\n", 'exec "$@"\n']
)
def test_start_scripts_of_any_language_and_without_exec_bit_run(start: Start, upstream: Upstream, script: str) -> None:
    commit = upstream.commit({"binder/start": script})
    session = start(content=content_of(upstream, commit), start="binder/start")
    session.ears.until("ready")


@pytest.mark.parametrize("name", ["../start", "gone"])
def test_a_start_script_that_is_not_in_the_repository_is_left_out(
    start: Start, upstream: Upstream, home: Path, name: str
) -> None:
    (home / "start").write_text("#!/bin/sh\nexit 3\n")
    session = start(content=content_of(upstream, upstream.commit({"a.txt": "a\n"})), start=name)
    assert any("start script is not there" in str(message) for message in session.ears.until("ready"))
