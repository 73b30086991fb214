"""Runs inside the sandbox: joins a loopback port to the egress proxy's socket, then runs one command.

``python bridge.py SOCKET LIMITS COMMAND...`` where LIMITS is ``name=value,...`` of resource limits. The command gets
the proxy variables of every program we know. Ends with the command's exit status; whatever the command left running
ends with the sandbox. Any Python from 3.8 on can run this file, because it is the environment's own interpreter.
"""

from __future__ import annotations

import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading


def apply_limits(text: str) -> None:
    """Set ``nproc=64,fsize=...`` as hard limits of this process."""
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        kind = getattr(resource, "RLIMIT_" + name.upper())
        _, hard = resource.getrlimit(kind)
        wanted = int(value)
        if hard != resource.RLIM_INFINITY:
            wanted = min(wanted, hard)
        resource.setrlimit(kind, (wanted, wanted))


def relay(client: socket.socket, upstream: socket.socket) -> None:
    """Copy bytes both ways until both sides have said goodbye."""
    other = {client: upstream, upstream: client}
    with client, upstream, selectors.DefaultSelector() as selector:
        for one in other:
            selector.register(one, selectors.EVENT_READ, one)
        while selector.get_map():
            for key, _ in selector.select():
                side: socket.socket = key.data
                try:
                    data = side.recv(65536)
                    if data:
                        other[side].sendall(data)
                        continue
                    other[side].shutdown(socket.SHUT_WR)
                except OSError:
                    return
                selector.unregister(side)


def serve(listener: socket.socket, path: str) -> None:
    """Accept for ever; one thread per connection."""
    while True:
        client, _ = listener.accept()
        upstream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            upstream.connect(path)
        except OSError:
            client.close()
            upstream.close()
            continue
        threading.Thread(target=relay, args=(client, upstream), daemon=True).start()


def proxied(environment: dict[str, str], port: int) -> dict[str, str]:
    """The environment with the proxy for everyone who asks."""
    address = f"http://127.0.0.1:{port}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    spellings = [*names, *map(str.lower, names)]
    return {**environment, **dict.fromkeys(spellings, address)}


def wait_for(child: int) -> int:
    """Wait for a process, and for orphans meanwhile: in a container this program is their parent.

    Its exit status, or 128 + the signal that ended it.
    """
    while True:
        ended, status = os.wait()
        if ended == child:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def main(arguments: list[str]) -> int:
    """Run the command; its exit status, or 128 + the signal that ended it."""
    path, limits, command = arguments[0], arguments[1], arguments[2:]
    environment = dict(os.environ)
    if path:
        listener = socket.create_server(("127.0.0.1", 0))
        environment = proxied(environment, listener.getsockname()[1])
        threading.Thread(target=serve, args=(listener, path), daemon=True).start()

    def prepare() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        apply_limits(limits)

    child = subprocess.Popen(command, env=environment, preexec_fn=prepare)  # noqa: PLW1509 - before any thread of the child's
    return wait_for(child.pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
