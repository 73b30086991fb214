"""Where people's files are on this machine: homes and project homes, one directory each and never shared."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}(?:\.[a-z0-9][a-z0-9_-]{0,62})*")
_HASHED = re.compile(r".*-[0-9a-f]{32}")


def directory_name(name: str) -> str:
    """A directory name for a user name: itself when plain and short, else a readable start and 128 bits of hash.

    Injective: a plain name that looks like a hashed one is hashed too. Never ``.``, ``..``, empty, or with a slash.
    """
    if _PLAIN.fullmatch(name) and not _HASHED.fullmatch(name) and len(name) <= 100:  # noqa: PLR2004
        return name
    start = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-")
    return f"{start or 'user'}-{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def make_home(directory: Path, owner: tuple[int, int] | None = None) -> Path:
    """The home, made with owner-only permissions when it is new. ``owner`` is (uid, gid) when we run as root."""
    if not directory.is_dir():
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
        if owner is not None:
            os.chown(directory, *owner)
    return directory


def project_directory(projects: Path, user: str, project: str) -> Path:
    """Where the home of one person and one unknown repository is, or would be."""
    return projects / directory_name(user) / project


def project_home(projects: Path, user: str, project: str, owner: tuple[int, int] | None = None) -> Path:
    """The home that sessions of one unknown repository see, for one person."""
    return make_home(project_directory(projects, user, project), owner)


def give_tree(directory: Path, owner: tuple[int, int]) -> None:
    """Make somebody the owner of a home and everything in it, unless it is theirs already. Links are not followed."""
    if (directory.stat().st_uid, directory.stat().st_gid) == owner:
        return
    for _, directories, files, folder in os.fwalk(directory, follow_symlinks=False):
        for name in (*directories, *files):
            os.chown(name, *owner, dir_fd=folder, follow_symlinks=False)
    os.chown(directory, *owner)  # last: a walk that was interrupted begins again
