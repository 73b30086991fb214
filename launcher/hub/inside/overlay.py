"""What a postBuild script left behind, copied into a session's files."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def copy_absent(source: Path, target: Path) -> int:
    """Copy files of ``source`` to the same places under ``target`` where nothing is; returns how many.

    Nothing is overwritten, no symlink under ``target`` is followed, symlinks are copied as links. Devices, sockets and
    pipes are left out. OSError when writing fails; what was copied until then is whole.
    """
    copied = 0
    for folder, names, files in os.walk(source):
        here = Path(folder)
        place = target / here.relative_to(source)
        if place != target:
            if os.path.lexists(place) and (place.is_symlink() or not place.is_dir()):
                names.clear()
                continue
            place.mkdir(exist_ok=True)
        for name in sorted([*files, *(n for n in names if (here / n).is_symlink())]):
            copied += _copy_file(here / name, place / name)
    return copied


def _copy_file(source: Path, target: Path) -> int:
    """Copy one file if its place is free; 1 when it was."""
    kind = source.lstat().st_mode
    if os.path.lexists(target) or not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
        return 0
    partial = target.with_name(f".{target.name[:200]}.launcher-partial")
    partial.unlink(missing_ok=True)
    try:
        shutil.copy2(source, partial, follow_symlinks=False)
        if not stat.S_ISLNK(kind):
            partial.chmod(stat.S_IMODE(kind) | stat.S_IWUSR)  # environments are read-only, people's files are not
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
    return 1
