"""Named places where a test may kill the service, to prove that a restart puts everything right.

``LAUNCHER_CRASH_AT=build:after_create launcher serve`` ends the process with SIGKILL when it gets there: no handler,
no ``finally``, nothing flushed. Without the variable a crash point does nothing.
"""

from __future__ import annotations

import os
import signal


def crash_point(name: str) -> None:
    """Die here when ``LAUNCHER_CRASH_AT`` says this name."""
    if os.environ.get("LAUNCHER_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
