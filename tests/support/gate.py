"""Builds that wait at a gate until the test opens it: a test decides what "mid-build" means."""

from __future__ import annotations

import threading

from tests.support.git_server import GitServer

_PREFIX = "/gate-"
_SECONDS = 120


class Gates:
    """Gates on a git server. A repository whose ``postBuild`` is `script` builds up to its gate and waits there.

    A closed gate gives way after two minutes, so that no server of a test waits for ever.
    """

    def __init__(self, server: GitServer) -> None:
        self._server = server
        self._gates: dict[str, threading.Event] = {}
        self._reached: dict[str, threading.Event] = {}
        self._earlier, server.before = server.before, self._wait

    def script(self, name: str, *, before: str = "", after: str = "") -> str:
        """A ``postBuild`` that waits at the gate; ``before`` and ``after`` are lines of shell around it."""
        self._gates[name], self._reached[name] = threading.Event(), threading.Event()
        url = self._server.url(_PREFIX.strip("/") + name)
        wait = f"python -c \"import urllib.request as u; u.urlopen('{url}')\" 2>/dev/null || true"
        return f"#!/bin/bash\n{before}\necho at the gate\n{wait}\necho behind the gate\n{after}\n"

    def reached(self, name: str, *, seconds: float = 60) -> bool:
        """Whether a build came to the gate within the time."""
        return self._reached[name].wait(seconds)

    def open(self, name: str) -> None:
        """Let builds pass, now and later."""
        self._gates[name].set()

    def close(self) -> None:
        """Open every gate and leave the server as it was."""
        for gate in self._gates.values():
            gate.set()
        self._server.before = self._earlier

    def _wait(self, path: str) -> None:
        if path.startswith(_PREFIX) and (name := path.removeprefix(_PREFIX)) in self._gates:
            self._reached[name].set()
            self._gates[name].wait(_SECONDS)
