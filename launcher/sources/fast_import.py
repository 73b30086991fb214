"""A directory as a stream for ``git fast-import``: one commit, the same for the same files, on every machine."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import SourceInvalid, SourceTooLarge

IMPORTED = "refs/imported/tip"
"""The ref a stream writes."""

IMPORTED_AT = 946684800
"""Seconds since the epoch at which every commit of ours was made: its id is a fingerprint of files and message."""
_WHEN = f"{IMPORTED_AT} +0000"
_WHO = "Launcher <launcher@invalid>"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ImportLimits:
    """What one import may hold."""

    max_bytes: int
    max_files: int


async def commit_stream(
    directory: Path, *, message: str, paths: list[str] | None, limits: ImportLimits
) -> AsyncIterator[bytes]:
    """The stream of one parentless commit with a directory's files, sorted by path.

    Raises SourceTooLarge over a limit, SourceInvalid when a file cannot be read.
    """
    text = message.encode()
    yield (
        f"feature done\nreset {IMPORTED}\n\n"  # no parent; and a stream that is cut short makes no commit
        f"commit {IMPORTED}\nauthor {_WHO} {_WHEN}\ncommitter {_WHO} {_WHEN}\ndata {len(text)}\n"
    ).encode() + text
    yield b"\n"
    listed = sorted(set(paths)) if paths is not None else sorted(await asyncio.to_thread(_list, directory, limits))
    if len(listed) > limits.max_files:
        raise SourceTooLarge("There are more files than is accepted.")
    remaining = limits.max_bytes
    plain = _PlainFolders(directory)
    for path in listed:
        if path.rpartition("/")[0] not in plain:
            continue  # a folder on the way is a symlink, which is listed by itself
        for chunk in _entry(directory, path):
            remaining -= len(chunk)
            if remaining < 0:
                raise SourceTooLarge("The files are larger than is accepted.")
            yield chunk
    yield b"done\n"


def _list(directory: Path, limits: ImportLimits) -> list[str]:
    found: list[str] = []
    for parent, folders, names in os.walk(directory, followlinks=False):
        folders[:] = [name for name in folders if not _is_git(name)]
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118
        found += [os.path.relpath(os.path.join(parent, name), directory) for name in names + links]  # noqa: PTH118
        if len(found) > limits.max_files:
            raise SourceTooLarge("There are more files than is accepted.")
    return found


class _PlainFolders:
    """Whether the way to a folder below a directory has no symlink in it; asked once per folder."""

    def __init__(self, directory: Path) -> None:
        self._directory = os.path.realpath(directory)
        self._known: dict[str, bool] = {"": True}

    def __contains__(self, folder: str) -> bool:
        if folder not in self._known:
            whole = os.path.join(self._directory, folder)  # noqa: PTH118
            self._known[folder] = os.path.realpath(whole) == whole
        return self._known[folder]


def _is_git(name: str) -> bool:
    return name.lower() == ".git"


def _entry(directory: Path, path: str) -> Iterator[bytes]:
    """One file or symlink; nothing for what is neither, is gone, or is git's own."""
    if any(_is_git(part) or part in ("", ".", "..") for part in path.split("/")):
        return
    try:
        yield from _read(directory, path)
    except FileNotFoundError:  # deleted but still listed: a working tree may be so
        return
    except (OSError, UnicodeError):
        raise SourceInvalid("A file cannot be read.", hint="Are all files readable for the launcher?") from None


def _read(directory: Path, path: str) -> Iterator[bytes]:
    whole = directory / path
    status = whole.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(whole.readlink())
        yield _header("120000", path, len(target)) + target + b"\n"
    elif stat.S_ISREG(status.st_mode):
        with os.fdopen(os.open(whole, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            yield _header("100755" if status.st_mode & stat.S_IXUSR else "100644", path, size)
            left = size
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise SourceInvalid("A file changed while it was read.", hint="Launch it again.")
                left -= len(chunk)
                yield chunk
            yield b"\n"


def _header(mode: str, path: str, size: int) -> bytes:
    quoted = os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return f"M {mode} inline ".encode() + b'"' + quoted + b'"\n' + f"data {size}\n".encode()
