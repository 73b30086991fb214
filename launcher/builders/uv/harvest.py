"""What a build left behind, looked at from outside: foreign code ran there, so no link is ever followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_IGNORED = frozenset({".git", "__pycache__", ".cache"})
_DIST_INFO = ".dist-info"


def _entries(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file and link below a directory with its relative path, caches left out."""
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name not in _IGNORED]
        links = [name for name in names if os.path.islink(os.path.join(directory, name))]  # noqa: PTH114, PTH118
        for name in (*files, *links):
            path = Path(directory, name)
            yield path.relative_to(root), path.lstat()


def files(root: Path) -> frozenset[Path]:
    """Relative paths of everything below a directory."""
    return frozenset(path for path, _ in _entries(root))


def has_compiled(root: Path, before: frozenset[Path]) -> bool:
    """Whether there are shared libraries below a directory that were not there ``before``."""
    return any(path.suffix == ".so" for path in files(root) - before)


def move_new(root: Path, before: frozenset[Path], target: Path) -> None:
    """Move regular files, and links that stay inside, that were not there ``before`` to ``target``."""
    for path, status in list(_entries(root)):
        kept = stat.S_ISREG(status.st_mode) or (stat.S_ISLNK(status.st_mode) and _stays_inside(root, path))
        if path not in before and kept:
            destination = target / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            (root / path).rename(destination)


def _stays_inside(root: Path, path: Path) -> bool:
    pointing_to = (root / path).readlink()
    joined = os.path.normpath(path.parent / pointing_to)
    return not pointing_to.is_absolute() and not joined.startswith("..")


def drop_privileges(root: Path) -> None:
    """Take set-user-id and set-group-id away: inside the sandbox they are nothing, outside they could be root's."""
    for directory, names, entries in os.walk(root):
        for name in (*names, *entries):
            path = os.path.join(directory, name)  # noqa: PTH118 - os.walk speaks strings
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                os.chmod(path, stat.S_IMODE(mode) & 0o777)  # noqa: PTH101


def packages(venv: Path) -> tuple[str, ...]:
    """``name==version`` of every installed package, from the names of their metadata directories."""
    found = {path.name for path in venv.glob(f"lib/python3*/site-packages/*{_DIST_INFO}")}
    return tuple(sorted(name.removesuffix(_DIST_INFO).replace("-", "==", 1) for name in found))
