"""Where clusters are on disk: ``<state>/dask/clusters/<name>/`` while they run, ``<state>/dask/logs/<name>/`` after.

What is in a cluster's log directory is written through descriptors only: nothing that runs in a cluster can reach the
directory, or the socket for its orders.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from launcher.builders.removal import remove_tree
from launcher.dask.base import SCHEDULER

_NAME = re.compile(r"[0-9a-f]{1,64}")
_LOG_SUFFIX = ".log"
LARGEST_LOG = 10 * 2**20
"""Bytes of a log, about: of a longer one the last half is kept."""


@dataclass(frozen=True)
class Place:
    """The directory of one cluster.

    orders: socket of its nursery. inside: what it sees as `base.RUN_DIRECTORY`, read-only. tmp: its /tmp.
    """

    directory: Path

    @property
    def orders(self) -> Path:
        """The socket on which the nursery takes orders."""
        return self.directory / "orders"

    @property
    def inside(self) -> Path:
        """What the cluster sees of it, read-only."""
        return self.directory / "inside"

    @property
    def tmp(self) -> Path:
        """The cluster's /tmp, on disk: Dask spills there."""
        return self.directory / "tmp"

    def make(self) -> None:
        """A new directory. Others may pass through, to what was given to them, but see nothing of it."""
        for directory in (self.directory.parent.parent, self.directory.parent, self.directory):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o711)
        self.inside.mkdir(mode=0o700)
        self.tmp.mkdir(mode=0o700)

    def remove(self) -> None:
        """Delete it; what runs there has ended. Nothing there is fine."""
        remove_tree(self.directory)


class Places:
    """All clusters below one state directory."""

    def __init__(self, state: Path) -> None:
        self._clusters = state / "dask" / "clusters"
        self._logs = state / "dask" / "logs"

    def cluster(self, name: str) -> Place:
        """Where a cluster is. ValueError when the name is not one of the gateway's."""
        return Place(self._clusters / _checked(name))

    def clusters(self) -> frozenset[str]:
        """Names of clusters of which a directory is left."""
        try:
            return frozenset(path.name for path in self._clusters.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return frozenset()

    def name_of(self, directory: str) -> str:
        """The cluster whose directory this is; "" for anything else, such as one of another launcher."""
        path = Path(directory)
        return path.name if path.parent == self._clusters and _NAME.fullmatch(path.name) else ""

    def sweep(self) -> None:
        """Finish deletions that a crash cut short."""
        for path in self._clusters.glob(".removing-*"):
            remove_tree(path)

    def open_log(self, cluster: str, process: str) -> int:
        """A descriptor that adds to a process's log."""
        path = self._log(cluster, process)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def log_names(self, cluster: str) -> list[str]:
        """Processes of which there is a log, the scheduler first."""
        try:
            names = {path.stem for path in (self._logs / _checked(cluster)).iterdir()}
        except FileNotFoundError:
            return []
        return [*sorted(names & {SCHEDULER}), *sorted(names - {SCHEDULER})]

    def read_log(self, cluster: str, process: str, limit: int) -> str:
        """The end of a log, "" when there is none."""
        try:
            with self._log(cluster, process).open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - limit, 0))
                return file.read(limit).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def trim_logs(self, cluster: str) -> None:
        """Cut logs that have grown too long to their last part. Who writes there goes on at the end."""
        for process in self.log_names(cluster):
            path = self._log(cluster, process)
            if path.stat().st_size <= LARGEST_LOG:
                continue
            with path.open("r+b") as file:
                file.seek(-LARGEST_LOG // 2, os.SEEK_END)
                kept = file.read(LARGEST_LOG // 2)
                file.truncate(0)
            with path.open("ab") as file:
                file.write(kept)

    def remove_logs(self, cluster: str) -> None:
        """Delete the logs of a cluster."""
        shutil.rmtree(self._logs / _checked(cluster), ignore_errors=True)

    def _log(self, cluster: str, process: str) -> Path:
        name = process if process == SCHEDULER else _checked(process)
        return self._logs / _checked(cluster) / f"{name}{_LOG_SUFFIX}"


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Another path of a socket, one that fits: the kernel takes no longer ones than 107 bytes."""
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("not a name of a cluster or worker")
    return name
