"""uv's cache of wheels: what of it nobody uses, and getting rid of that. For moments in which no build runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from uv import find_uv_bin

from launcher.builders.removal import remove_tree
from launcher.builders.uv.limits import disk_usage

_SOURCES = ("sdists-v*", "git-v*")
_AT_ONCE = 200  # names in one command line
_SECONDS = 600


def collect_wheels(cache: Path, unused_since: datetime) -> int:
    """Delete packages that no environment links to and that came before a moment; bytes that are free now.

    cache: uv's directory. A package stays as a whole when one of its versions is linked or young: uv forgets them by
    name. What is gone is downloaded again when somebody needs it.
    """
    if not cache.is_dir():
        return 0
    before = disk_usage(cache)
    limit = unused_since.timestamp()
    old: set[str] = set()
    kept: set[str] = set()
    for archive in cache.glob("archive-v*/*"):
        (old if _is_old(archive, limit) and not _is_linked(archive) else kept).update(_packages(archive))
    names = sorted(old - kept)
    for start in range(0, len(names), _AT_ONCE):
        _uv(cache, "clean", *names[start : start + _AT_ONCE])
    for pattern in _SOURCES:
        for source in cache.glob(f"{pattern}/*/*"):
            if _newest(source) <= limit:
                remove_tree(source)
    _uv(cache, "prune")
    return max(before - disk_usage(cache), 0)


def _uv(cache: Path, *arguments: str) -> None:
    """A ``uv cache`` command; one that fails has left the cache as uv can use it."""
    subprocess.run(
        [find_uv_bin(), "cache", *arguments, "--cache-dir", str(cache), "--no-config", "--quiet"],
        check=False,
        capture_output=True,
        timeout=_SECONDS,
    )


def _packages(archive: Path) -> set[str]:
    """Names of the packages in an unpacked wheel, as its description spells them."""
    return {entry.name.split("-")[0].replace("_", "-").lower() for entry in archive.glob("*.dist-info")}


def _is_old(path: Path, limit: float) -> bool:
    try:
        return path.lstat().st_mtime <= limit
    except OSError:
        return False


def _is_linked(archive: Path) -> bool:
    """Whether a file of it has another name, in an environment."""
    return any(entry.stat(follow_symlinks=False).st_nlink > 1 for entry in _files(archive))


def _newest(path: Path) -> float:
    times = [entry.stat(follow_symlinks=False).st_mtime for entry in _files(path)]
    return max(times, default=path.lstat().st_mtime)


def _files(path: Path) -> Iterator[os.DirEntry[str]]:
    if not path.is_dir():
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                yield entry
