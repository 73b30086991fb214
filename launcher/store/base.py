"""What the groups of store calls have in common."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from launcher.store.database import Database


class Calls:
    """A database and a clock."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
