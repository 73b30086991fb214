"""Which Pythons are on this machine, and which of them a recipe gets."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version
from uv import find_uv_bin

from launcher.errors import PythonUnavailable

_QUESTION = (
    "import json, sys, sysconfig; print(json.dumps([list(sys.version_info[:3]), sys.version_info.releaselevel, "
    "sys.implementation.name, sys.base_prefix, sysconfig.get_platform(), sys.executable]))"
)
OLDEST = Version("3.8")


@dataclass(frozen=True)
class Interpreter:
    """An installed CPython. ``prefix`` holds everything it needs besides the system's libraries."""

    version: Version
    executable: Path
    prefix: Path
    platform: str

    @property
    def minor(self) -> str:
        """``3.11``."""
        return f"{self.version.major}.{self.version.minor}"

    @property
    def binds(self) -> tuple[Path, ...]:
        """Directories a sandbox must show at their own path: none when the interpreter is part of /usr."""
        candidates = {self.prefix, self.prefix.resolve(), self.executable.parent}
        return tuple(sorted(path for path in candidates if not path.is_relative_to("/usr")))


def inspect(executable: Path) -> Interpreter | None:
    """Ask an interpreter who it is; None when it does not answer, is too old or is not CPython."""
    try:
        answer = subprocess.run(
            [str(executable), "-I", "-S", "-c", _QUESTION],
            capture_output=True,
            check=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.defpath},
        )
        numbers, level, implementation, prefix, platform, _ = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    version = Version(".".join(map(str, numbers)))
    if level != "final" or implementation != "cpython" or version < OLDEST:
        return None
    real = Path(prefix) / "bin" / f"python{numbers[0]}.{numbers[1]}"
    return Interpreter(version, real.resolve(), Path(prefix), platform) if real.exists() else None


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


def choose(wanted: str | None, interpreters: list[Interpreter]) -> Interpreter:
    """The interpreter for a recipe: the first (ours) when anything goes, else the newest that fits.

    ``wanted``: ``"3"``, ``"3.11"``, ``"3.11.4"`` or a PEP 440 specifier. Raises PythonUnavailable naming what there is.
    """
    specifier = _specifier(wanted)
    fitting = [one for one in interpreters if specifier.contains(one.version)]
    if fitting:
        own = fitting[0] if fitting[0] is interpreters[0] else None
        return own or max(fitting, key=lambda one: one.version)
    minors = sorted({one.minor for one in interpreters}, key=Version)
    raise PythonUnavailable(
        f"This machine has no Python {wanted}.",
        hint=f"It has Python {', '.join(minors)}. Ask for one of these, or ask the operator to install the other.",
    )


def _specifier(wanted: str | None) -> SpecifierSet:
    text = (wanted or "").strip()
    if text and text[0].isdigit():
        text = f"=={text}" if text.count(".") > 1 else f"=={text}.*"
    try:
        return SpecifierSet(text)
    except InvalidSpecifier as error:
        raise PythonUnavailable(
            f"The Python version {wanted!r} is not a version.", hint="Write for example 3.11 or >=3.10."
        ) from error
