"""The only way out of a build: an HTTP proxy that reaches package indexes and, by policy, public addresses.

It runs in a child process of ours, listens on a unix socket that only we and the sandbox can see, resolves every name
itself once, refuses the connection unless *all* answers are allowed, and connects to the address it has checked. The
protocol work is proxy.py's; the decision is `EgressPolicy.addresses`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from launcher.sources.addresses import is_public

SOCKET_NAME = "egress"
SOCKET_DIRECTORY = "/srv/egress"
"""Where the sandbox sees the directory of the socket."""
WEB_PORTS = frozenset({80, 443})
MAX_CONNECTIONS = 256

_Resolver = Callable[[str, int], Sequence[str]]


class EgressMode(StrEnum):
    """How far a build may reach."""

    NONE = "none"  # nothing at all
    INDEXES = "indexes"  # package indexes and the operator's hosts
    INTERNET = "internet"  # those, and the web ports of every public address


class EgressRefused(Exception):
    """The policy does not let a build reach this host."""


@dataclass(frozen=True)
class EgressPolicy:
    """Where builds may connect to.

    allowed: ``host:port`` pairs reachable whatever their address is (package indexes, the operator's ``--allow-host``).
    hosts: fixed answers, name -> addresses, asked before the system's resolver, like ``/etc/hosts``.
    """

    mode: EgressMode = EgressMode.INTERNET
    allowed: frozenset[str] = frozenset()
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def addresses(self, host: str, port: int, resolve: _Resolver | None = None) -> Sequence[str]:
        """The addresses to try for ``host:port``. Raises EgressRefused, or OSError when the name does not resolve."""
        name = host.strip("[]").rstrip(".").lower()
        allowed = self.mode is not EgressMode.NONE and f"{name}:{port}" in self.allowed
        if not allowed and (self.mode is not EgressMode.INTERNET or port not in WEB_PORTS):
            raise EgressRefused(f"{name}:{port}")
        answers = self.hosts.get(name) or (resolve or system_resolver)(name, port)
        if not answers or not (allowed or all(map(is_public, answers))):
            raise EgressRefused(f"{name}:{port}")
        return answers

    def to_json(self) -> str:
        """One line; the inverse is `from_json`."""
        return json.dumps({**asdict(self), "allowed": sorted(self.allowed), "hosts": dict(self.hosts)})

    @classmethod
    def from_json(cls, text: str) -> EgressPolicy:
        """The inverse of `to_json`."""
        body = json.loads(text)
        hosts = {name: tuple(answers) for name, answers in body["hosts"].items()}
        return cls(EgressMode(body["mode"]), frozenset(body["allowed"]), hosts)


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Every address of a name, in the system's order."""
    return [str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def make_plugin(policy: EgressPolicy, resolve: _Resolver | None = None) -> type[Any]:
    """The proxy.py plugin that asks ``policy`` before any connection and pins the address it was given."""
    from proxy.http.exception import HttpRequestRejected
    from proxy.http.proxy import HttpProxyBasePlugin

    class EgressPlugin(HttpProxyBasePlugin):
        """One instance per connection."""

        address: str | None = None

        def before_upstream_connection(self, request: Any) -> Any:
            host, port = (request.host or b"").decode("latin-1"), int(request.port or 0)
            try:
                self.address = policy.addresses(host, port, resolve)[0]
            except EgressRefused as error:
                reason = b"Not reachable from a build"
                raise HttpRequestRejected(403, reason, body=reason + b": " + str(error).encode()) from error
            except (OSError, UnicodeError) as error:
                raise HttpRequestRejected(502, b"Unknown host", body=b"The host's name is not known.") from error
            return request

        def resolve_dns(self, host: str, port: int) -> tuple[str | None, None]:  # noqa: ARG002
            return self.address, None

        def handle_upstream_chunk(self, chunk: memoryview) -> None:
            self.client.queue(chunk)  # here, and not by proxy.py, which would keep a copy of the whole answer

    return EgressPlugin


def make_flags(policy: EgressPolicy, data: Path, resolve: _Resolver | None = None) -> argparse.Namespace:
    """proxy.py's settings. ``data`` is a directory of ours: its own default is the home, which may not be writable."""
    from proxy.common.flag import FlagParser

    arguments = ["--threaded", "--log-level", "ERROR", "--timeout", "120", "--data-dir", str(data)]
    flags: argparse.Namespace = FlagParser.initialize(arguments, plugins=[make_plugin(policy, resolve)])
    return flags


def serve(listener: socket.socket, flags: argparse.Namespace, most: int = MAX_CONNECTIONS) -> None:
    """Accept connections until the listener is closed; one thread each, at most ``most`` at a time."""
    from proxy.http.connection import HttpClientConnection

    from launcher.builders.uv.egress_memory import BoundedHandler

    slots = threading.BoundedSemaphore(most)

    def handle(connection: socket.socket) -> None:
        try:
            BoundedHandler(HttpClientConnection(connection, ("build", 0)), flags=flags).run()
        finally:
            slots.release()

    while True:
        slots.acquire()
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


def main() -> None:
    """The child process: policy on the first line of stdin, socket in the working directory, ends with stdin."""
    policy = EgressPolicy.from_json(sys.stdin.readline())
    logging.disable(logging.CRITICAL)  # proxy.py logs every refused host; builds would fill our log
    flags = make_flags(policy, Path.cwd() / "proxy")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(SOCKET_NAME)  # relative: a socket's path is limited to 108 bytes, a working directory's is not
    Path(SOCKET_NAME).chmod(0o666)  # the directory decides who sees it
    listener.listen(64)
    threading.Thread(target=serve, args=(listener, flags), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


@contextlib.asynccontextmanager
async def running(policy: EgressPolicy, directory: Path, environment: Mapping[str, str] | None = None) -> Any:
    """A proxy listening at ``directory / SOCKET_NAME`` while the block runs.

    ``environment`` is added to the little the child gets. Raises OSError when it cannot start.
    """
    await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "launcher.builders.uv.egress"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=directory,
        env={
            "PATH": os.defpath,
            "HOME": str(directory),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **(environment or {}),
        },
        start_new_session=True,
    )
    if process.stdin is None or process.stdout is None:
        raise OSError("the proxy has no pipes")
    try:
        process.stdin.write(policy.to_json().encode() + b"\n")
        await process.stdin.drain()
        if not await process.stdout.readline():
            raise OSError("the proxy did not start")
        yield directory / SOCKET_NAME
    finally:
        await asyncio.shield(asyncio.create_task(_stop(process)))


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
        process.kill()
    # Read to the end, so that the pipe is closed before the event loop is.
    await process.communicate()


if __name__ == "__main__":
    main()
