"""The way of sessions to the internet: one filtering proxy for all of them, as strict as the one of builds.

A process of its own that outlives the Hub as sessions do: it ends when nobody holds its lock any more, neither a Hub
nor the relay of a session (see `relays.open_ways`). A proxy for each session would cost more memory than the rest of
our part of it, so that there is one for each policy.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import socket
import sys
import threading
from pathlib import Path
from typing import IO, Any

from launcher.builders.uv.config import UvBuilderConfig
from launcher.builders.uv.egress import SOCKET_NAME, EgressMode, EgressPolicy, make_flags, serve
from launcher.config import Settings
from launcher.errors import SessionStartFailed

_LOCK_NAME = "lock"
_USERS_NAME = "users"
_POLICY_NAME = "policy.json"
_SECONDS = 20
MOST_CONNECTIONS = 2048
"""Of all sessions together; one session's relay has fewer."""


class SharedEgress:
    """The proxy of one policy, below a directory of ours; started by whoever needs it first."""

    def __init__(self, directory: Path, policy: EgressPolicy) -> None:
        self._policy = policy.to_json()
        self._directory = directory / hashlib.sha256(self._policy.encode()).hexdigest()[:16]
        self._held: IO[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._directory / SOCKET_NAME

    @property
    def users(self) -> Path:
        """A file on which everybody who needs the proxy holds a shared lock."""
        return self._directory / _USERS_NAME

    async def ensure(self) -> None:
        """Start it unless it runs. Raises SessionStartFailed when it does not start."""
        await asyncio.to_thread(self._hold)
        if await asyncio.to_thread(_answers, self.socket):
            return
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", __name__, str(self._directory)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self._directory,
            env={
                "PATH": os.defpath,
                "HOME": str(self._directory),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        )
        async with asyncio.timeout(_SECONDS):
            status = await process.wait()
        if status:
            raise SessionStartFailed("The sessions' way to the internet could not be opened.", hint="Try again.")

    def release(self) -> None:
        """Use it no longer; it goes on for those who do."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _hold(self) -> None:
        """Be a user of it as long as this process lives."""
        if self._held is None:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.users.touch()
            self._held = self.users.open("rb")
            fcntl.flock(self._held, fcntl.LOCK_SH)
            (self._directory / _POLICY_NAME).write_text(self._policy)


def session_policy(settings: Settings) -> EgressPolicy:
    """What sessions may reach: package indexes and the operator's hosts by name, and by policy public addresses."""
    mode = EgressMode(settings.containers.session_network) if settings.containers is not None else EgressMode.NONE
    chosen: dict[str, Any] = {"index_url": settings.index_url} if settings.index_url else {}
    config = UvBuilderConfig.from_environment(settings.state, allow_hosts=settings.allow_hosts, egress=mode, **chosen)
    return config.egress_policy


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # a socket's path may have 108 bytes, a directory's more
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
        except OSError:
            return False
        finally:
            os.close(folder)
    return True


def main(directory: Path) -> int:
    """The proxy's process: returns when it listens, and goes on in the background until nobody uses it."""
    lock = (directory / _LOCK_NAME).open("ab")  # held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # somebody else started it at the same time
    os.chdir(directory)
    policy = EgressPolicy.from_json(Path(_POLICY_NAME).read_text())
    flags = make_flags(policy, Path("proxy").absolute())
    Path(SOCKET_NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET_NAME)
    listener.listen(128)
    if os.fork():
        return 0
    os.setsid()
    logging.disable(logging.CRITICAL)  # proxy.py logs every refused host
    threading.Thread(target=serve, args=(listener, flags, MOST_CONNECTIONS), daemon=True).start()
    with Path(_USERS_NAME).open("rb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)  # returns when the last user has gone
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
