"""Which Pythons are on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from uv import find_uv_bin

from launcher.builders.uv.pythons import QUESTION, Interpreter, answered


def inspect(executable: Path) -> Interpreter | None:
    """Ask an interpreter who it is; None when it does not answer, is too old or is not CPython."""
    try:
        answer = subprocess.run(
            [str(executable), "-I", "-S", "-c", QUESTION],
            capture_output=True,
            check=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath},
        )
        found = answered(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if found is None or not found.executable.exists():
        return None
    return replace(found, executable=found.executable.resolve())


def _candidates(extra: tuple[Path, ...]) -> list[Path]:
    found = [Path(getattr(sys, "_base_executable", sys.executable)), *extra]
    # Without uv's list there is still the launcher's own Python.
    with suppress(OSError, subprocess.SubprocessError, ValueError, KeyError):
        listing = subprocess.run(
            [find_uv_bin(), "python", "list", "--only-installed", "--output-format", "json", "--no-config"],
            capture_output=True,
            check=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        found += [Path(entry["path"]) for entry in json.loads(listing.stdout)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return found + sorted(pyenv.glob("*/bin/python3"))


def own() -> Interpreter | None:
    """The Python that runs the launcher, outside of its virtualenv."""
    return inspect(Path(getattr(sys, "_base_executable", sys.executable)))


def installed(extra: tuple[Path, ...] = ()) -> list[Interpreter]:
    """Every usable interpreter, the launcher's own first. Starts each one: takes seconds."""
    found: dict[Path, Interpreter] = {}
    for candidate in dict.fromkeys(_candidates(extra)):
        interpreter = inspect(candidate)
        if interpreter is not None:
            found.setdefault(interpreter.executable, interpreter)
    return list(found.values())


def fetch(wanted: str, directory: Path) -> None:
    """Let uv download a Python into ``directory``; says nothing when there is none, `choose` then refuses."""
    command = [find_uv_bin(), "python", "install", "--no-config", "--no-bin", "--install-dir", str(directory), "--"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):  # a host that cannot be reached, no such version
        subprocess.run([*command, wanted], capture_output=True, check=True, timeout=600, stdin=subprocess.DEVNULL)
