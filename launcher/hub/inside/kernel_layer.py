"""Where the packages go that a person installs from a session: a small virtual environment of the session's own.

The repository's environment is read-only and shared. A *layer* in the home is a virtual environment with the same
Python that sees every package of the environment behind its own: pip installs into it and leaves the environment's
packages alone, because they are outside. It belongs to one environment, so that packages installed for one repository
never reach another.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .worktree import free_name, timestamp

_ENVIRONMENT_LINK = "_launcher_environment.pth"
_LIBRARY = f"python{sys.version_info[0]}.{sys.version_info[1]}"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PIP = """#!/bin/sh
exec "${0%/*}/python" -m pip "$@"
"""


@dataclass(frozen=True)
class Layer:
    """A layer that is ready. python: its interpreter. set_aside: the name an unusable one was given, or None."""

    directory: Path
    python: Path
    set_aside: str | None


@dataclass(frozen=True)
class _Base:
    """The Python of an environment: its interpreter, the directory of that, its library's name, where packages are."""

    interpreter: Path
    home: Path
    version: str
    library: str  # such as ``lib/python3.11``
    packages: tuple[Path, ...]


def make_layer(environment: Path, identifier: str, home: Path) -> Layer:
    """The layer of an environment in a home, made or mended when needed; a few file operations, no subprocess.

    An environment without pip gets the one of its base Python or of the Python that runs this. A layer made for
    another Python is renamed and a fresh one is made. Raises OSError when the home cannot be written or the
    environment is no environment.
    """
    base = _base_of(environment)
    if not _SAFE_NAME.fullmatch(identifier):
        identifier = hashlib.sha256(identifier.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    directory = home / ".local" / "share" / "launcher" / "layers" / identifier
    set_aside = None
    if os.path.lexists(directory) and not _usable(directory, base):
        set_aside = free_name(directory.parent, f"{directory.name}_backup_{timestamp()}")
        directory.rename(directory.parent / set_aside)
    packages = directory / base.library / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (directory / "bin").mkdir(exist_ok=True)
    _write(directory / "pyvenv.cfg", _configuration(base))
    _write(packages / _ENVIRONMENT_LINK, _link_to(base.packages, _pip_for(base, directory)))
    for name in ("python", "python3", base.library.split("/")[-1].rstrip("t")):
        _symlink(directory / "bin" / name, base.interpreter if name == "python" else Path("python"))
    for name in ("pip", "pip3"):
        if not (directory / "bin" / name).is_file():  # `pip install -U pip` brings its own
            _write(directory / "bin" / name, _PIP, executable=True)
    return Layer(directory, directory / "bin" / "python", set_aside)


def write_kernelspecs(
    python: Path, environment: Path | None, into: Path, variables: dict[str, str] | None = None
) -> None:
    """Announce the session's kernels under ``into`` (``…/share/jupyter``): python3, and those of the environment.

    ``variables`` are for the kernels that run Python.

    The environment's other kernels that start with its Python are announced again with ``python``, because a Jupyter
    server would start a bare ``python`` with its own.
    """
    kernels = into / "kernels"
    specification: dict[str, Any] = {
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
        "env": dict(variables or {}),
    }
    _write_kernelspec(kernels / "python3", specification)
    found = environment / "share" / "jupyter" / "kernels" if environment is not None else None
    if environment is None or found is None or not found.is_dir():
        return
    for directory in found.iterdir():
        specification_file = directory / "kernel.json"
        if not specification_file.is_file():
            continue
        try:
            specification = json.loads(specification_file.read_bytes())
            command = [str(word) for word in specification["argv"]]
        except (ValueError, KeyError, TypeError):
            continue  # not a kernel for Jupyter either
        if directory.name != "python3" and command and _is_python_of(environment, command[0]):
            specification["argv"] = [str(python), *command[1:]]
            specification["env"] = {**(variables or {}), **specification.get("env", {})}
            _write_kernelspec(kernels / directory.name, specification)
        _copy_resources(directory, kernels / directory.name)


def _base_of(environment: Path) -> _Base:
    """The Python an environment was made with; an environment that is no virtual environment is its own base."""
    interpreter = environment / "bin" / "python"
    packages = _packages_of(environment, Path(os.path.realpath(interpreter)).name)
    if not packages or not interpreter.exists():
        raise FileNotFoundError("no Python environment")
    library = packages[0].parent
    settings = _read_configuration(environment / "pyvenv.cfg")
    version = settings.get("version_info") or settings.get("version") or library.name.lstrip("python")
    if "home" in settings:
        interpreter = Path(os.path.realpath(interpreter))
    return _Base(
        interpreter=interpreter,
        home=Path(settings["home"]) if "home" in settings else interpreter.parent,
        version=version,
        library=f"lib/{library.name}",
        packages=packages,
    )


def _packages_of(environment: Path, python: str) -> tuple[Path, ...]:
    """Where an environment has its packages, its own first. Debian's own Python has them elsewhere."""
    if found := sorted(environment.glob("lib/*/site-packages")):
        return (found[0],)
    own = environment / "local" / "lib" / python / "dist-packages"
    shared = environment / "lib" / "python3" / "dist-packages"
    return (own, shared) if own.is_dir() or shared.is_dir() else ()


def _read_configuration(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = (line.split("=", 1) for line in path.read_text(errors="replace").splitlines() if "=" in line)
    return {key.strip().lower(): value.strip() for key, value in pairs}


def _usable(directory: Path, base: _Base) -> bool:
    """Whether a layer was made for the same Python, so that what is installed in it can be imported."""
    libraries = [path.name for path in (directory / "lib").glob("*")] if directory.is_dir() else []
    return not directory.is_symlink() and libraries == [Path(base.library).name]


def _configuration(base: _Base) -> str:
    return f"home = {base.home}\ninclude-system-site-packages = false\nversion = {base.version}\n"


def _link_to(packages: tuple[Path, ...], pip: Path | None) -> str:
    """A ``.pth`` file: the environment's packages (with *their* ``.pth`` files) after the layer's, pip last."""
    lines = [f"import site; site.addsitedir({str(place)!r})" for place in packages]
    if pip is not None:
        lines.append(f"import sys; sys.path.append({str(pip)!r})")
    return "\n".join(lines) + "\n"


def _pip_for(base: _Base, directory: Path) -> Path | None:
    """A place on the import path that has pip and nothing else, or None.

    The running Python's pip comes first when both Pythons are of one version, because it is the newer one; else the
    wheel that a Python brings for its virtual environments, which can be imported as it is.
    """
    own = importlib.util.find_spec("pip")
    if own is not None and own.origin is not None and Path(base.library).name == _LIBRARY:
        shelf = directory / "share" / "pip"
        shelf.mkdir(parents=True, exist_ok=True)
        package = Path(own.origin).parent
        for found in (package, *package.parent.glob("pip-*.dist-info")):
            _symlink(shelf / found.name, found)
        return shelf
    places = (base.home.parent / base.library / "ensurepip" / "_bundled", Path("/usr/share/python-wheels"))
    wheels = [wheel for place in places for wheel in sorted(place.glob("pip-*.whl"))]
    return wheels[0] if wheels else None


def _is_python_of(environment: Path, word: str) -> bool:
    """Whether a kernel's command is an unspecific Python or the environment's."""
    path = Path(word)
    return bool(re.fullmatch(r"python(\d+(\.\d+)?)?", path.name)) and (
        not path.is_absolute() or path.parent == environment / "bin"
    )


def _write_kernelspec(directory: Path, specification: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "kernel.json").write_text(json.dumps(specification, indent=1))


def _copy_resources(source: Path, target: Path) -> None:
    """Logos and scripts of a kernelspec, next to its new description; Jupyter serves no links that lead elsewhere."""
    if not target.is_dir():
        return
    for path in source.iterdir():
        if path.is_file() and path.name != "kernel.json" and not os.path.lexists(target / path.name):
            shutil.copyfile(path, target / path.name)


def _write(path: Path, text: str, *, executable: bool = False) -> None:
    """Write a file at once, unless it says that already."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode():
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(text.encode())
    if executable:
        partial.chmod(0o755)
    partial.replace(path)


def _symlink(path: Path, target: Path) -> None:
    """Make or correct a symlink."""
    if path.is_symlink() and Path(os.readlink(path)) == target:
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(path)


def running_environment() -> Path:
    """The environment of the Python that runs this, for sessions without one of a repository."""
    return Path(sys.prefix)
