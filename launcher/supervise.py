"""Start the service again at once when it was killed. JupyterHub looks after its services only every 30 seconds."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)  # seconds before the next start, longer when it keeps dying young
_YOUNG_SECONDS = 60


def end_with_parent() -> None:
    """Be sent SIGTERM when the parent process is gone, however it went. Call before there are threads.

    The Hub may be killed without a chance to stop its services; one without its Hub would hold the state for ever.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def supervise(run: Callable[[], int]) -> int:
    """Run ``run`` in a child process until it returns; its status, or 0 after SIGTERM.

    A child that a signal killed (out of memory, kill -9) is started again. One that returns or raises is not: the
    reason would be the same.
    """
    deaths = 0
    while True:
        started = time.monotonic()
        status = _run_once(run)
        if status >= 0:
            return status
        if -status in (signal.SIGTERM, signal.SIGINT):
            return 0
        deaths = deaths + 1 if time.monotonic() - started < _YOUNG_SECONDS else 0
        log.warning("service.killed", signal=-status)
        time.sleep(_PAUSES[min(deaths, len(_PAUSES) - 1)])


def _run_once(run: Callable[[], int]) -> int:
    """The exit status of one child; negative for the signal that ended it."""
    ours = os.getpid()
    child = os.fork()
    if child == 0:
        end_with_parent()
        if os.getppid() != ours:
            os._exit(1)
        sys.exit(run())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
