"""What environments of the process runtime take on disk: files with several names are counted once."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from launcher.builders.uv.limits import walk
from launcher.models import EnvironmentSize, Storage

_BLOCK = 512


def measure(environments: Iterable[Path]) -> Storage:
    """What these directories take. A file is an environment's own when all its names are in that environment."""
    sizes: dict[str, EnvironmentSize] = {}
    shared: dict[tuple[int, int], int] = {}
    total = 0
    for environment in environments:
        size, others = _measure(environment)
        sizes[environment.name] = size
        total += size.own_bytes
        shared |= others
    return Storage(sizes, total + sum(shared.values()))


def _measure(environment: Path) -> tuple[EnvironmentSize, dict[tuple[int, int], int]]:
    """One environment, and its files with names elsewhere: which, and their bytes."""
    own = 0
    names: Counter[tuple[int, int]] = Counter()
    linked: dict[tuple[int, int], tuple[int, int]] = {}  # file -> (names anywhere, bytes)
    for status in walk(environment):
        if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode):
            own += status.st_blocks * _BLOCK
            continue
        file = (status.st_dev, status.st_ino)
        names[file] += 1
        linked[file] = (status.st_nlink, status.st_blocks * _BLOCK)
    own += sum(size for file, (links, size) in linked.items() if links <= names[file])
    shared = {file: size for file, (links, size) in linked.items() if links > names[file]}
    return EnvironmentSize(own, sum(shared.values())), shared
