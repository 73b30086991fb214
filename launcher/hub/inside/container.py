"""The first program of a container: ``python /srv/launcher/container.py container.json COMMAND…``.

A container of ours has no network but its own loopback. This program joins ports there to unix sockets that lead
outside, runs one command, passes on the signals that ask it to end, collects orphans as the first process of a machine
does, and ends as the command ends; the kernel then ends all others. The file is one JSON object::

    routes  [[where to listen, where that leads], …], see `relay`
    lock    path of a file on which a lock is held as long as the container runs, or null
    forget  names of variables that the command does not get
"""

# ruff: noqa: PTH120, PTH123
from __future__ import annotations

import fcntl
import importlib
import json
import os
import selectors
import signal
import socket
import sys

TYPE_CHECKING = False  # as in `relay`
if TYPE_CHECKING:
    from typing import Any

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(container_file: str, command: list[str]) -> int:
    """Run the command; its exit status, or 128 + the signal that ended it."""
    parent, package = os.path.split(os.path.dirname(os.path.realpath(__file__)))
    sys.path[0] = parent  # as in `server`
    relay = importlib.import_module(f"{package}.relay").Relay()
    with open(container_file, "rb") as file:
        container: dict[str, Any] = json.load(file)
    lock = open(container["lock"], "r+b") if container["lock"] else None  # noqa: SIM115 - held to the end
    if lock is not None:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for place, target in container["routes"]:
        relay.listen(place, target)
    signals = _Signals()
    variables = {name: value for name, value in os.environ.items() if name not in container["forget"]}
    # Every signal of ours has its usual meaning again in the command.
    child = os.posix_spawnp(command[0], command, variables, setsigdef=(*_PASSED_ON, signal.SIGCHLD, signal.SIGPIPE))
    ended: list[int] = []

    def on_signal(_: int) -> None:
        for number in signals.arrived():
            if number == signal.SIGCHLD:
                ended.extend(status for pid, status in _collected() if pid == child)
            else:
                os.kill(child, number)
        if ended:
            relay.stop()

    relay.watch(signals.told, selectors.EVENT_READ, on_signal)
    relay.run()
    status = os.waitstatus_to_exitcode(ended[0]) if hasattr(os, "waitstatus_to_exitcode") else ended[0] >> 8
    return status if status >= 0 else 128 - status


class _Signals:
    """Signals as something to read."""

    def __init__(self) -> None:
        self.told, self._tell = socket.socketpair()
        self.told.setblocking(False)
        self._tell.setblocking(False)
        signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        for number in (*_PASSED_ON, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def arrived(self) -> bytes:
        """The numbers of those that came since the last call, one byte each."""
        return self.told.recv(4096)


def _collected() -> list[tuple[int, int]]:
    """(pid, wait status) of every process that has ended, ours and those that lost their parent."""
    found = []
    try:
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(one)
    except ChildProcessError:
        pass
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
