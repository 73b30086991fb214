"""How much one build may use, and the watcher that ends a build that uses more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from launcher.errors import BuildLimitExceeded

_T = TypeVar("_T")
MIB = 1024 * 1024
GIB = 1024 * MIB
_INTERVAL = 0.1
_SLACK = 64
_DISK_EVERY = 15  # samples: walking a big environment takes as long as many looks at /proc


@dataclass(frozen=True)
class BuildLimits:
    """What one build may use; None is no limit. Seconds and bytes.

    seconds: the whole build. idle_seconds: without output. memory_bytes: resident memory of all its processes
    together. processes: and threads, at the same time. disk_bytes: everything it writes. file_bytes: one file.
    open_files: descriptors of one process.
    """

    seconds: float | None = 3600
    idle_seconds: float | None = 900
    memory_bytes: int | None = 4 * GIB
    processes: int | None = 512
    disk_bytes: int | None = 10 * GIB
    file_bytes: int | None = 5 * GIB
    open_files: int | None = 4096

    @property
    def task_limit(self) -> int | None:
        """Where the kernel refuses more processes and threads: above ``processes``.

        So that reaching the limit is seen and told, instead of turning into odd errors of programs.
        """
        return None if self.processes is None else self.processes + _SLACK

    def resource_limits(self, *, count_processes: bool) -> str:
        """The limits the kernel enforces per process, in the words of ``bridge.py``.

        They are the backstop for what happens between two looks of the watcher. The address space is generous:
        programs reserve far more than they use. ``count_processes``: not where other builds have the same user,
        because the kernel counts all processes of a user together.
        """
        words = ["core=0"]
        if count_processes and self.processes is not None:
            words.append(f"nproc={self.task_limit}")
        if self.file_bytes is not None:
            words.append(f"fsize={self.file_bytes}")
        if self.open_files is not None:
            words.append(f"nofile={self.open_files}")
        if self.memory_bytes is not None:
            words.append(f"as={self.memory_bytes * 2 + 4 * GIB}")
        return ",".join(words)


def readable(value: int) -> str:
    """``4 GiB``, ``512 MiB``: a number of bytes for a person."""
    return f"{value / GIB:g} GiB" if value >= GIB else f"{value / MIB:g} MiB"


@dataclass(frozen=True)
class Usage:
    """What a process tree uses now: threads (a process is at least one) and resident bytes."""

    threads: int
    memory_bytes: int


class Watcher:
    """Looks at a process tree and directories until they exceed the limits.

    ``directories`` are what the build can write to.
    """

    def __init__(self, limits: BuildLimits, directories: tuple[Path, ...]) -> None:
        self._limits = limits
        self._directories = directories

    async def during(self, work: Coroutine[Any, Any, _T], process_id: int) -> _T:
        """The result of ``work``, unless the limits are exceeded first; then it is cancelled. See `watch`."""
        working, watching = asyncio.ensure_future(work), asyncio.ensure_future(self.watch(process_id))
        try:
            done, _ = await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            return await working
        finally:
            working.cancel()
            watching.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)

    async def watch(self, process_id: int) -> None:
        """Look until cancelled.

        ``process_id`` is the outermost process of the sandbox, or a container's first; 0 when it has ended already.
        Raises BuildLimitExceeded naming the limit and its value.
        """
        sample = 0
        while True:
            if process_id:
                self._check_processes(await asyncio.to_thread(usage_below, process_id))
            if sample % _DISK_EVERY == 0:
                await self.check_disk()
            sample += 1
            await asyncio.sleep(_INTERVAL)

    def _check_processes(self, usage: Usage) -> None:
        limit = self._limits.processes
        if limit is not None and usage.threads > limit:
            raise BuildLimitExceeded(f"The build ran more than {limit} processes and threads at once.", hint=_HINT)
        if self._limits.memory_bytes is not None and usage.memory_bytes > self._limits.memory_bytes:
            raise out_of_memory(self._limits)

    async def check_disk(self) -> None:
        """One look at the directories. Raises BuildLimitExceeded."""
        limit = self._limits.disk_bytes
        if limit is None:
            return
        used = await asyncio.to_thread(lambda: sum(map(disk_usage, self._directories)))
        if used > limit:
            raise BuildLimitExceeded(f"The build wrote more than {readable(limit)} to disk.", hint=_HINT)


def out_of_memory(limits: BuildLimits) -> BuildLimitExceeded:
    """The error of a build that was killed for its memory."""
    return BuildLimitExceeded(f"The build used more than {readable(limits.memory_bytes or 0)} of memory.", hint=_HINT)


_HINT = "The operator can raise the limits of builds."


def usage_below(process_id: int) -> Usage:
    """What everything below a process, in a process namespace made below it, or in its own when it has one, uses.

    One pass over /proc with two looks at each process: a fork bomb makes more of them than anything slower can count.
    The namespace tells those whose parent ended between two looks.
    """
    rows = [row for row in map(_row, filter(str.isdigit, os.listdir("/proc"))) if row]  # noqa: PTH208 - twice as fast
    children: dict[int, list[_Row]] = {}
    for row in rows:
        children.setdefault(row.parent, []).append(row)
    found: dict[int, _Row] = {}
    pending = [process_id]
    while pending:
        below = children.get(pending.pop(), [])
        found |= {row.process_id: row for row in below}
        pending += [row.process_id for row in below]
    inside = {_namespace(str(process_id)), *(row.namespace for row in found.values())} - {_namespace("self"), 0}
    used = {**found, **{row.process_id: row for row in rows if row.namespace in inside}}.values()
    return Usage(sum(row.threads for row in used), sum(row.pages for row in used) * os.sysconf("SC_PAGE_SIZE"))


class _Row(NamedTuple):
    """One process of /proc; ``namespace`` 0 when it cannot be known."""

    process_id: int
    parent: int
    threads: int
    pages: int
    namespace: int


def _row(name: str) -> _Row | None:
    try:
        with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - twice as fast
            fields = file.read().rpartition(b")")[2].split()
        return _Row(int(name), int(fields[1]), int(fields[17]), int(fields[21]), _namespace(name))
    except (OSError, ValueError, IndexError):  # it ended between listing and reading
        return None


def _namespace(name: str) -> int:
    try:
        return os.stat(f"/proc/{name}/ns/pid").st_ino  # noqa: PTH116 - twice as fast
    except OSError:  # ended, or somebody else's
        return 0


def disk_usage(directory: Path) -> int:
    """Bytes that files below a directory take on disk; a file with several names counts once, no link is followed."""
    seen: set[int] = set()
    total = 0
    for status in walk(directory):
        if status.st_nlink > 1:
            if status.st_ino in seen:
                continue
            seen.add(status.st_ino)
        total += status.st_blocks * 512
    return total


def walk(directory: Path) -> Iterator[os.stat_result]:
    """The status of everything below a directory; what is closed or gone meanwhile is left out."""
    pending = [str(directory)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    try:
                        yield entry.stat(follow_symlinks=False)
                    except FileNotFoundError:  # builds delete files while we look
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except (FileNotFoundError, PermissionError, NotADirectoryError):  # gone, or closed even to its owner
            continue
