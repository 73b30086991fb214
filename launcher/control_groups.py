"""The kernel's control groups: limits for everything that runs in a sandbox together.

A group is two directories, one in the other: the outer one has the limits, the processes are in the inner one. With
namespaces of its own a program can look at the group it is in as if it were the root of all, and write there when
the launcher's user is, outside, its own; so what it is in must have no limit to lift.

With version 1 groups are made where each controller is mounted, which only root may do. With version 2 they are made
beside our own group when that part of the tree was delegated to us (``Delegate=`` of systemd), else, by root, at the
top. See https://docs.kernel.org/admin-guide/cgroup-v2.html and https://systemd.io/CGROUP_DELEGATION.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_PROCESSES = "cgroup.procs"
_INSIDE = "inside"
MEMORY, CPU, TASKS = "memory", "cpu", "pids"
CONTROLLERS = (MEMORY, CPU, TASKS)
_VERSION_2 = "0"
_PERIOD = 100_000  # microseconds, the kernel's own default
_SHORTEST_QUOTA = 1000  # the kernel takes no less
_JOIN = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit 1; shift; done; shift; exec "$@"'
_PROBE = "launcher-probe"
_PAUSE_SECONDS = 0.02


@dataclass(frozen=True)
class Limits:
    """What everything in a group may use together; None for no limit. processes: tasks, so threads count too."""

    memory_bytes: int | None = None
    cpus: float | None = None
    processes: int | None = None

    def files(self, controller: str, *, unified: bool) -> dict[str, str]:
        """File -> value of one controller, in the order in which they are written; empty without such a limit."""
        if controller == MEMORY and self.memory_bytes is not None:
            amount = str(self.memory_bytes)
            if unified:
                return {"memory.max": amount, "memory.swap.max": "0"}
            names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
            return {"memory.use_hierarchy": "1", **dict.fromkeys(names, amount)}
        if controller == CPU and self.cpus is not None:
            quota = max(_SHORTEST_QUOTA, round(self.cpus * _PERIOD))
            if unified:
                return {"cpu.max": f"{quota} {_PERIOD}"}
            return {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(quota)}
        if controller == TASKS and self.processes is not None:
            return {"pids.max": str(self.processes)}
        return {}


_MAY_FAIL = frozenset({"memory.use_hierarchy", "memory.memsw.limit_in_bytes", "memory.swap.max"})
"""Files that not every kernel has: without accounting of swap, or where limits go down the tree anyway."""


@dataclass(frozen=True)
class ControlGroup:
    """A group that was made. ``doors``: whatever writes its process id into all of these files is in it."""

    doors: tuple[Path, ...]

    def enter(self) -> None:
        """Put the calling process into the group. Safe between fork and exec. Raises OSError."""
        for door in self.doors:
            _write(door, "0")

    def around(self, argv: Sequence[str]) -> list[str]:
        """A command that enters the group, then becomes ``argv``."""
        return ["/bin/sh", "-c", _JOIN, "sh", *map(str, self.doors), "--", *argv]


def make_group(name: str, limits: Limits) -> ControlGroup:
    """A group with these limits. Raises OSError when the machine does not let us enforce one of them."""
    unified = _is_unified()
    files = {one: found for one in CONTROLLERS if (found := limits.files(one, unified=unified))}
    problem: OSError = OSError("no place for a control group")
    for place in _places(files):
        try:
            doors = [_furnish(base / name, [files[one] for one in wanted]) for base, wanted in place]
            return ControlGroup(tuple(doors))
        except OSError as error:
            problem = error
            for base, _ in place:
                _remove(base / name)
    raise problem


def remove_group(name: str, *, patience_seconds: float = 0) -> bool:
    """Remove a group whose processes have ended, or end meanwhile. Whether it is gone; nothing there is fine."""
    deadline = time.monotonic() + patience_seconds
    while True:
        left = [base / name for base in _bases() if not _remove(base / name)]
        if not left or time.monotonic() >= deadline:
            return not left
        time.sleep(_PAUSE_SECONDS)


def remove_empty_groups(prefix: str) -> None:
    """Remove every group whose name begins so and in which nothing runs: what a killed process left."""
    for base in _bases():
        for group in base.glob(f"{prefix}*/"):
            _remove(group)


@cache
def enforceable() -> frozenset[str]:
    """Which of `CONTROLLERS` this process can limit: found out once, by trying."""
    some = Limits(memory_bytes=2**30, cpus=1, processes=64)
    each = {
        MEMORY: replace(some, cpus=None, processes=None),
        CPU: replace(some, memory_bytes=None, processes=None),
        TASKS: replace(some, memory_bytes=None, cpus=None),
    }
    return frozenset(controller for controller, limits in each.items() if _works(limits))


def _works(limits: Limits) -> bool:
    name = f"{_PROBE}-{os.getpid()}"
    try:
        command = make_group(name, limits).around(["/bin/true"])
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False
    finally:
        remove_group(name, patience_seconds=1)


def memory_kills(pid: int) -> int | None:
    """How many processes were killed for memory in the group that this process is in; None when nobody knows.

    A command may survive the end of its child: then only this tells why it failed. Ask while the process runs.
    """
    for controllers, path in _groups_of(pid):
        below = path.lstrip("/")
        if MEMORY in controllers.split(","):
            return _killed(_MOUNT / MEMORY / below / "memory.oom_control")
        if not controllers and _is_unified():
            return _killed(_MOUNT / below / "memory.events")
    return None


def _killed(file: Path) -> int | None:
    try:
        found = dict(line.split() for line in file.read_text().splitlines())
        return int(found["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None


def killed_for_memory(name: str) -> int:
    """How many processes of a group of ours were killed for memory; 0 when nobody knows."""
    # With version 1 only the group that the process was in counts it, with version 2 only outer groups count at all.
    file = "memory.events" if _is_unified() else f"{_INSIDE}/memory.oom_control"
    return max((_killed(base / name / file) or 0 for base in _bases()), default=0)


def _groups_of(pid: int | str) -> Iterator[tuple[str, str]]:
    """(controllers, path) of each hierarchy; of version 2 with "" for its controllers."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return
    for identifier, controllers, path in (line.split(":", 2) for line in lines):
        if controllers or identifier == _VERSION_2:
            yield controllers, path


def _is_unified() -> bool:
    """Whether version 2 has all controllers."""
    return (_MOUNT / "cgroup.controllers").exists()


def _bases() -> list[Path]:
    """The directories in which groups of ours can be."""
    if not _is_unified():
        return [_MOUNT / controller for controller in CONTROLLERS]
    own = next((path for controllers, path in _groups_of("self") if not controllers), "/")
    beside = (_MOUNT / own.lstrip("/")).parent
    delegated = [beside] if own != "/" and beside != _MOUNT and _is_delegated(beside) else []
    return [*delegated, _MOUNT]


def _is_delegated(directory: Path) -> bool:
    """Whether what is below a directory is ours to arrange."""
    with contextlib.suppress(OSError):
        if os.getuid() != 0:
            return directory.stat().st_uid == os.getuid()
        return any(os.getxattr(directory, f"{space}.delegate") == b"1" for space in ("trusted", "user"))
    return False


def _places(controllers: Iterable[str]) -> Iterator[list[tuple[Path, list[str]]]]:
    """Ways to make a group with these controllers, best first: the directories, and what each one has."""
    if not _is_unified():
        yield [(_MOUNT / controller, [controller]) for controller in controllers]
        return
    for base in _bases():
        for controller in controllers:
            with contextlib.suppress(OSError):  # said already, or refused: then its files are missing
                _write(base / "cgroup.subtree_control", f"+{controller}")
        yield [(base, list(controllers))]


def _furnish(group: Path, settings: Iterable[dict[str, str]]) -> Path:
    """Make one group with its limits; where processes enter."""
    group.mkdir(exist_ok=True)
    for files in settings:
        for name, value in files.items():
            with contextlib.suppress(*[OSError] if name in _MAY_FAIL else []):
                _write(group / name, value)
    (group / _INSIDE).mkdir(exist_ok=True)
    return group / _INSIDE / _PROCESSES


def _write(file: Path, value: str) -> None:
    """Write into a file of the kernel, which must be there."""
    descriptor = os.open(file, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _remove(group: Path) -> bool:
    """Remove a group and what a program made below it; whether it is gone. With processes in it, it stays."""
    found, position = [str(group)], 0
    with contextlib.suppress(OSError):
        while position < len(found):
            with os.scandir(found[position]) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
            position += 1
    for directory in reversed(found):
        with contextlib.suppress(OSError):
            os.rmdir(directory)  # noqa: PTH106 - thousands of them may be there
    return not group.exists()
