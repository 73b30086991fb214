"""What the server environment is made of, wherever it is made: on this machine or in the base image.

It is the one prebuilt environment whose Jupyter server every session runs: JupyterLab, Notebook 7, nbgitpuller and the
single-user server of the hub's own JupyterHub version. Regular sessions have it as their kernel's environment too,
which is why Dask's packages are in it.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import PurePosixPath

from launcher.dask.config import LauncherDask

REQUIREMENTS = ("jupyterlab>=4.4", "notebook>=7.4", "nbgitpuller>=1.3", "ipykernel>=6.30", "ipywidgets>=8.1", "pip")
# Only the part of the Dask panel that runs in browsers is used. Its Python would import `distributed` into every
# session's server; so it is in a folder of its own that no Python looks into.
PANEL = "dask-labextension>=7"
PANEL_DIRECTORY = PurePosixPath("share", "launcher", "dask-panel")
# jsonschema asks for it under its "format" extra, no Jupyter schema uses it, and importing it takes longer than the
# rest of a server's start together (jupyter_server issue 1559).
LEFT_OUT = ("rfc3987-syntax",)
# A new home is not the moment to be asked about newsletters, and updates are the operator's business.
LAB_SETTINGS = {"@jupyterlab/apputils-extension:notification": {"checkForUpdates": False, "fetchNews": "false"}}


def requirements() -> tuple[str, ...]:
    """What goes in: the single-user server must be of the hub's version."""
    return (*REQUIREMENTS, *LauncherDask().packages, f"jupyterhub=={importlib.metadata.version('jupyterhub')}")


def stamp() -> str:
    """Changes whenever an environment made by this version for this hub would."""
    return "\n".join((*requirements(), PANEL, *LEFT_OUT, json.dumps(LAB_SETTINGS))) + "\n"


def commands(uv: str, interpreter: str, directory: str) -> tuple[list[str], ...]:
    """The commands that make it in ``directory``, one after the other, on the given interpreter."""
    python = f"{directory}/bin/python"
    install = [uv, "pip", "install", "--quiet", "--python", python]
    return (
        [uv, "venv", "--quiet", "--clear", "--python", interpreter, directory],
        [*install, "--compile-bytecode", *requirements()],
        [uv, "pip", "uninstall", "--quiet", "--python", python, *LEFT_OUT],
        [*install, "--no-deps", "--target", f"{directory}/{PANEL_DIRECTORY}", PANEL],
    )


def files() -> dict[str, str]:
    """Files that are written into it then: path -> text."""
    return {"share/jupyter/lab/settings/overrides.json": json.dumps(LAB_SETTINGS)}
