"""What the kernel says about a container's control group, for things that engines do not tell."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_VERSION_2 = "0"


def memory_kills(pid: int) -> int | None:
    """How many processes of the container with this first process were killed for memory; None when nobody knows.

    A command may survive the end of its child: then only this tells why it failed. Ask while the container runs.
    """
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    for identifier, controllers, path in (line.split(":", 2) for line in lines):
        below = path.lstrip("/")
        if "memory" in controllers.split(","):
            return _count(_ROOT / "memory" / below / "memory.oom_control")
        if identifier == _VERSION_2 and (_ROOT / "cgroup.controllers").exists():
            return _count(_ROOT / below / "memory.events")
    return None


def _count(file: Path) -> int | None:
    try:
        found = dict(line.split() for line in file.read_text().splitlines())
        return int(found["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None
