"""The server environment of this machine: made by `launcher.server_recipe`, left alone as long as it is current."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

from launcher.errors import ConfigurationInvalid
from launcher.server_recipe import commands, files, stamp

STAMP = "launcher-server-environment.txt"


def is_current(directory: Path) -> bool:
    """Whether the directory holds a server environment made by this version for this hub."""
    made = directory / STAMP
    return made.is_file() and made.read_text() == _stamp() and (directory / "bin" / "python").exists()


def _stamp() -> str:
    return f"{sys.version}\n{stamp()}"


def make_server_environment(directory: Path) -> None:
    """Make the environment, or leave it when it is current. Raises ConfigurationInvalid when it cannot be made."""
    directory = directory.expanduser().absolute()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two starts at once: the second one waits and finds it made
        if not is_current(directory):
            _make(directory)


def _make(directory: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    for command in commands(find_uv_bin(), sys.executable, str(directory)):
        done = subprocess.run(command, check=False, env=environment, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise ConfigurationInvalid(
                "The server environment could not be made; what uv said is above.",
                hint="Check that this machine reaches a Python package index, then start again.",
            )
    for name, text in files().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / STAMP).write_text(_stamp())
