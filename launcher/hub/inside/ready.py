"""Words from inside a session to whoever started it: one JSON object a line on a unix socket, pushed, never asked for.

``{"progress": text}``, ``{"error": {"code", "message", "hint"}}`` and, once, ``{"ready": true}``. Each message is a
connection of its own, because the process that speaks is replaced on the way. The receiver treats all of it as data:
code of the repository can reach the socket too.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from pathlib import Path

    from .problem import Problem

PATIENCE = 5  # seconds to deliver one message
EXTENSION = "launcher_session_ready"  # the name the extension below has inside the Jupyter server
LAUNCHES = "launcher_launches"  # the name of the one that tells pages where the launches are
DASK_PANEL = "launcher_dask_panel"  # and the one of `dask_panel`, which cannot be imported to ask for it


class Listener:
    """The other end; without a socket, words go to the log only."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def progress(self, text: str) -> None:
        """Say what happens, in words for the person."""
        print(text, file=sys.stderr)  # noqa: T201 - the server's log
        self._send({"progress": text})

    def error(self, problem: Problem) -> None:
        """Say why the session does not start."""
        print(f"{problem.code}: {problem.message}", file=sys.stderr)  # noqa: T201 - the server's log
        self._send({"error": {"code": problem.code, "message": problem.message, "hint": problem.hint}})

    def ready(self) -> None:
        """Say that the server answers."""
        self._send({"ready": True})

    def _send(self, message: dict[str, Any]) -> None:
        if self.path is None:
            return
        # Nobody listens (any more): the session goes on, the Hub finds out about its server by itself.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.path))
            connection.sendall(json.dumps(message).encode() + b"\n")


class Extension:
    """A Jupyter server extension that says *ready* when the server listens and does nothing else."""

    def __init__(self, listener: Listener, on_load: Callable[[], None]) -> None:
        self.listener = listener
        self.on_load = on_load

    def load(self, application: Any) -> None:
        """Wait for the event loop that serves. Others ran it before, for questions to the Hub: too early."""
        self.on_load()
        serve = application.start_ioloop

        def start_ioloop() -> None:
            application.io_loop.add_callback(self.listener.ready)  # after the callback that binds the socket
            serve()

        application.start_ioloop = start_ioloop
