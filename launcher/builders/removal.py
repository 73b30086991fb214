"""Deleting what foreign code may have closed."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Delete a directory, also when foreign code closed parts of it to its owner. Nothing there is fine."""
    if not path.is_symlink() and not path.exists():
        return
    # Renamed first, so that nobody takes a half deleted directory for a whole one.
    doomed = Path(tempfile.mkdtemp(prefix=".removing-", dir=path.parent))
    with suppress(FileNotFoundError):
        path.rename(doomed / "it")
    _open_up(doomed)
    shutil.rmtree(doomed)


def _open_up(path: Path) -> None:
    """Give the owner back what foreign code took: directories must be searchable and writable to be deleted."""
    for directory, names, _ in os.walk(path):
        for name in names:
            child = os.path.join(directory, name)  # noqa: PTH118 - os.walk speaks strings
            mode = os.lstat(child).st_mode
            if stat.S_ISDIR(mode) and ~mode & stat.S_IRWXU:
                os.chmod(child, stat.S_IRWXU)  # noqa: PTH101
