"""Project homes as their owners handle them: how big, as an archive, gone.

What is in one was written by code nobody vouches for. So nothing here follows a link, opens what it finds by a path
that could be exchanged meanwhile, or takes longer than it was given.
"""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import structlog

from launcher.builders.removal import remove_tree
from launcher.errors import HomeUnusable, NotFound
from launcher.models import Username

log = structlog.get_logger(__name__)

_PIECE_BYTES = 256 * 1024
_BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system
_MEASURE_SECONDS = 1.0

HomeDirectory = Callable[[Username, str], Path]
"""The directory of a person's project home, by the project's name; it need not be there."""


@dataclass(frozen=True)
class HomeSize:
    """What a home takes: bytes on disk, and how many files. complete: False when there was no time to count all."""

    size_bytes: int
    files: int
    complete: bool


class ProjectHomes:
    """The project homes of this hub. ``directory`` says where each is."""

    def __init__(self, directory: HomeDirectory) -> None:
        self._directory = directory

    def exists(self, user: Username, project: str) -> bool:
        """Whether the home was ever made and not deleted."""
        return self._directory(user, project).is_dir()

    async def size(self, user: Username, project: str, *, seconds: float = _MEASURE_SECONDS) -> HomeSize | None:
        """How big the home is, as far as ``seconds`` reach; None when there is none."""
        return await asyncio.to_thread(_measure, self._directory(user, project), time.monotonic() + seconds)

    async def archive(self, user: Username, project: str) -> AsyncIterator[bytes]:
        """The home as pieces of a gzipped tar with one directory in it; links are kept as links.

        Closing the iterator ends it. Raises NotFound, and HomeUnusable when it cannot be read to its end.
        """
        path = self._existing(user, project)
        process = await asyncio.create_subprocess_exec(
            *("tar", "--create", "--gzip", "--sparse", "--warning=no-file-changed", "--warning=no-file-removed"),
            *("--ignore-failed-read", "--one-file-system", f"--directory={path.parent}", "--", path.name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        pieces = cast("asyncio.StreamReader", process.stdout)
        try:
            while piece := await pieces.read(_PIECE_BYTES):
                yield piece
            if await process.wait() > 1:  # 1: a file changed while it was read
                raise HomeUnusable("The home could not be read to its end.", hint="Download it again.")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def delete(self, user: Username, project: str) -> None:
        """Delete the home and all that is in it. Raises NotFound and HomeUnusable."""
        path = self._existing(user, project)
        try:
            await asyncio.to_thread(remove_tree, path)
        except OSError as error:
            log.warning("project_home.not_deleted", project=project, exc_info=error)
            raise HomeUnusable(
                "The home could not be deleted completely.", hint="Tell the people who run this hub."
            ) from error

    def _existing(self, user: Username, project: str) -> Path:
        if not self.exists(user, project):
            raise NotFound("There is no project home of this repository.", hint="It may have been deleted already.")
        return self._directory(user, project)


def _measure(path: Path, deadline: float) -> HomeSize | None:
    size, files, counted = 0, 0, set()
    try:
        for _, _, names, directory in os.fwalk(path, follow_symlinks=False):
            for name in names:
                with suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                    if found.st_nlink > 1 and (found.st_dev, found.st_ino) in counted:
                        continue
                    counted |= {(found.st_dev, found.st_ino)} if found.st_nlink > 1 else set()
                    size += found.st_blocks * _BLOCK_BYTES
                    files += stat.S_ISREG(found.st_mode)
            if time.monotonic() > deadline:
                return HomeSize(size, files, complete=False)
    except FileNotFoundError:
        pass
    return HomeSize(size, files, complete=True) if path.is_dir() else None
