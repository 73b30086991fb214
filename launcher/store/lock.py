"""One service per state directory: a lock the kernel gives back whatever happens to its holder."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Self

from launcher.errors import StateUnusable
from launcher.store.problems import unusable_directory

_NAME = "service.lock"


class StateLock:
    """Holds a state directory for this process from `acquire` to `release`, as a context manager or by hand.

    ``patience_seconds``: how long to wait for whoever holds it; after a restart of the Hub an earlier one may drain.
    The lock is on an open file description: a ``kill -9`` releases it, programs started by us do not inherit it.
    A leftover file means nothing.
    """

    def __init__(self, state_directory: Path, *, patience_seconds: float = 0) -> None:
        self._directory = state_directory
        self._patience = patience_seconds
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, waiting with patience, or say who has it.

        Raises StateUnusable when another service holds it or the directory cannot be written.
        """
        deadline = time.monotonic() + self._patience
        while self._descriptor is None:
            try:
                self._descriptor = self._locked()
            except StateUnusable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)

    def _locked(self) -> int:
        """A descriptor with the lock on it. Raises StateUnusable."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable_directory(error) from error
        try:
            self._take(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def release(self) -> None:
        """Give the lock back. Nothing held is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @staticmethod
    def _take(descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            who = f"Another launcher (process {holder})" if holder.isdigit() else "Another launcher"
            raise StateUnusable(
                f"{who} is using this state directory.",
                hint="Stop it first, or give this one a state directory of its own (--state).",
            ) from error
        except OSError as error:
            raise unusable_directory(error) from error
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise unusable_directory(error) from error
