"""Named places where a test may kill the service, to prove that a restart puts everything right.

``LAUNCHER_CRASH_AT=build:after_create launcher serve`` ends the process with SIGKILL when it gets there: no handler,
no ``finally``, nothing flushed. Several names are separated by commas; with ``LAUNCHER_CRASH_MARKS=DIRECTORY`` each
kills once only. Without the variable a crash point does nothing.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def crash_point(name: str) -> None:
    """Die here when ``LAUNCHER_CRASH_AT`` says this name."""
    if name in os.environ.get("LAUNCHER_CRASH_AT", "").split(",") and _first_time(name):
        os.kill(os.getpid(), signal.SIGKILL)


def _first_time(name: str) -> bool:
    marks = os.environ.get("LAUNCHER_CRASH_MARKS")
    if marks is None:
        return True
    try:
        Path(marks, name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
