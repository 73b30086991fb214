"""B1: a repository that nobody has seen, until a kernel of its environment answers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from uv import find_uv_bin

from benchmarks.clicks import click_launcher
from benchmarks.observe import Hub, Watch, kernel_answers, wait_for_200
from benchmarks.rounds import Contestant, interleave
from benchmarks.stage import AS_ROOT, NOTEBOOK, PEOPLE, SCIENCE, WATCHER_NAMES, Stage
from benchmarks.tables import Measurement
from tests.support.hub import free_port
from tests.support.running import ROOT, running_launcher

_TOKEN = "benchmark"  # the peers' servers listen on loopback for a second
_SERVER = ROOT / ".tools" / "server-environment"


def unseen_repository(stage: Stage, repeats: int) -> Measurement:
    """The launcher with an empty state, and by hand: with uv, with pip, and with uv beside a server that is there.

    Caches of wheels are empty for everybody; everybody downloads from the same index on loopback.
    """
    result = Measurement("B1", "unseen repository (numpy, pandas, matplotlib): click until a kernel answers 1+1")
    _, spec = stage.repository("b1", {"requirements.txt": SCIENCE, "index.ipynb": NOTEBOOK % 0})
    contestants: dict[str, Contestant] = {
        "launcher": lambda _: _launcher(stage, spec),
        "uv venv + uv pip + jupyter server": lambda _: _by_hand(stage, _with_uv),
        "python -m venv + pip + jupyter server": lambda _: _by_hand(stage, _with_pip),
        "uv, kernel only, server prebuilt": lambda _: _by_hand(stage, _kernel_only),
    }
    interleave(result, contestants, repeats)
    result.notes += [
        "The launcher's hub runs and its server environment is prebuilt, as in an operator's installation.",
        "The first two by hand install JupyterLab too; the last uses the prebuilt server: the floor for tools.",
        "repo2docker is in B9, beside the container runtime.",
    ]
    return result


def _launcher(stage: Stage, spec: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="benchmark-cold-") as name:
        config = Path(name) / "people.py"
        config.write_text(PEOPLE)
        arguments = [*stage.launcher_arguments, "--config", str(config)]
        with running_launcher(Path(name) / "state", *arguments, environment=stage.variables) as up:
            hub = Hub(up.url + "/", up.token)
            person = hub.person(WATCHER_NAMES[0])
            hub.service("").raise_for_status()
            watch = Watch()
            url = click_launcher(hub, person, spec, watch)
            kernel_answers(url, person.token)
            watch.stamp("kernel answers")
            hub.stop_everything()
    return {"session answers": watch.stamps["answers"], "kernel answers": watch.stamps["kernel answers"]}


Install = Callable[[Path, dict[str, str]], Path]
"""Makes an environment for the clone in ``work``, gives the Python that has the server."""


def _by_hand(stage: Stage, install: Install) -> dict[str, float]:
    """Clone, install, start a server, ask its kernel."""
    directory = Path(tempfile.mkdtemp(prefix="benchmark-hand-"))
    variables = {**os.environ, **stage.variables}
    variables |= {"UV_CACHE_DIR": str(directory / "uv"), "PIP_CACHE_DIR": str(directory / "pip")}
    variables |= {"JUPYTER_DATA_DIR": str(directory / "data"), "JUPYTER_RUNTIME_DIR": str(directory / "runtime")}
    try:
        watch = Watch()
        clone = ["git", "clone", "--quiet", stage.git.url("b1"), str(directory / "work")]
        subprocess.run(clone, env=variables, check=True)
        python = install(directory, variables)
        watch.stamp("installed")
        with _server(python, directory, variables) as url:
            watch.stamp("session answers")
            kernel_answers(url, _TOKEN)
            watch.stamp("kernel answers")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return watch.stamps


def _with_uv(directory: Path, variables: dict[str, str]) -> Path:
    return _uv(directory, variables, "jupyterlab")


def _uv(directory: Path, variables: dict[str, str], *packages: str) -> Path:
    uv, python = find_uv_bin(), directory / "venv" / "bin" / "python"
    make = [uv, "venv", "--quiet", "--python", sys.executable, str(directory / "venv")]
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "-r", "requirements.txt", *packages]
    for command in (make, install):
        subprocess.run(command, cwd=directory / "work", env=variables, check=True)
    return python


def _with_pip(directory: Path, variables: dict[str, str]) -> Path:
    python = directory / "venv" / "bin" / "python"
    make = [sys.executable, "-m", "venv", str(directory / "venv")]
    install = [str(python), "-m", "pip", "install", "--quiet", "-r", "requirements.txt", "jupyterlab"]
    for command in (make, install):
        subprocess.run(command, cwd=directory / "work", env=variables, check=True)
    return python


def _kernel_only(directory: Path, variables: dict[str, str]) -> Path:
    """Only the kernel's environment is made; the server is the launcher's prebuilt one."""
    python = _uv(directory, variables, "ipykernel")
    specification = directory / "data" / "kernels" / "python3"
    specification.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    text = json.dumps({"argv": command, "display_name": "Python 3", "language": "python"})
    (specification / "kernel.json").write_text(text)
    return _SERVER / "bin" / "python"


@contextlib.contextmanager
def _server(python: Path, directory: Path, variables: dict[str, str]) -> Iterator[str]:
    """A bare ``jupyter server`` that answers with HTTP 200."""
    port = free_port()
    command = [str(python), "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ip=127.0.0.1", *AS_ROOT]
    command += [f"--IdentityProvider.token={_TOKEN}", "--ServerApp.port_retries=0"]
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory / "work", env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for_200(f"{url}api/status", {"Authorization": f"token {_TOKEN}"})
        yield url
    finally:
        process.terminate()
        process.wait(30)
