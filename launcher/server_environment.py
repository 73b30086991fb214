"""The server environment: the one prebuilt environment whose Jupyter server every session runs.

It is ours: JupyterLab, Notebook 7, nbgitpuller and the single-user server of the hub's own JupyterHub version. Regular
sessions have it as their kernel's environment too, which is why Dask's packages are in it.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from launcher.dask.config import LauncherDask
from launcher.errors import ConfigurationInvalid

STAMP = "launcher-server-environment.txt"
REQUIREMENTS = ("jupyterlab>=4.4", "notebook>=7.4", "nbgitpuller>=1.3", "ipykernel>=6.30", "ipywidgets>=8.1", "pip")
# Only the part of the Dask panel that runs in browsers is used. Its Python would import `distributed` into every
# session's server; so it is in a folder of its own that no Python looks into.
PANEL = "dask-labextension>=7"
PANEL_DIRECTORY = Path("share", "launcher", "dask-panel")
# jsonschema asks for it under its "format" extra, no Jupyter schema uses it, and importing it takes longer than the
# rest of a server's start together (jupyter_server issue 1559).
LEFT_OUT = ("rfc3987-syntax",)
# A new home is not the moment to be asked about newsletters, and updates are the operator's business.
LAB_SETTINGS = {"@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"}}


def requirements() -> tuple[str, ...]:
    """What goes in: the single-user server must be of the hub's version."""
    return (*REQUIREMENTS, *LauncherDask().packages, f"jupyterhub=={importlib.metadata.version('jupyterhub')}")


def is_current(directory: Path) -> bool:
    """Whether the directory holds a server environment made by this version for this hub."""
    stamp = directory / STAMP
    return stamp.is_file() and stamp.read_text() == _stamp() and (directory / "bin" / "python").exists()


def _stamp() -> str:
    return "\n".join((sys.version, *requirements(), PANEL, *LEFT_OUT, json.dumps(LAB_SETTINGS))) + "\n"


def make_server_environment(directory: Path) -> None:
    """Make the environment, or leave it when it is current. Raises ConfigurationInvalid when it cannot be made."""
    directory = directory.expanduser().absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two starts at once: the second one waits and finds it made
        if not is_current(directory):
            _make(directory)


def _make(directory: Path) -> None:
    uv = find_uv_bin()
    python = str(directory / "bin" / "python")
    install = [uv, "pip", "install", "--quiet", "--python", python]
    steps = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)],
        [*install, "--compile-bytecode", *requirements()],
        [uv, "pip", "uninstall", "--quiet", "--python", python, *LEFT_OUT],
        [*install, "--no-deps", "--target", str(directory / PANEL_DIRECTORY), PANEL],
    )
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for step in steps:
        done = subprocess.run(step, check=False, env=environment, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise ConfigurationInvalid(
                "The server environment could not be made; what uv said is above.",
                hint="Check that this machine reaches a Python package index, then start again.",
            )
    settings = directory / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(LAB_SETTINGS))
    (directory / STAMP).write_text(_stamp())
