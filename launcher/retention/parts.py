"""What everything of this package looks after, handed over as one."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.builders.base import Builder
from launcher.builds import BuildLogs, BuildQueue
from launcher.store import Store


@dataclass(frozen=True)
class RetentionParts:
    """The rows, what they stand for on the disk, and the queue that makes more of it."""

    store: Store
    builder: Builder
    builds: BuildQueue
    logs: BuildLogs
