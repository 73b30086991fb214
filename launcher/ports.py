"""Loopback ports: free ones, and ones that stay the same from one start to the next."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

_BACKLOG = 128  # connections that may wait until the service has loaded


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether we could listen on this port of 127.0.0.1 now."""
    try:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        return False
    return True


def listen_early(url: str) -> socket.socket | None:
    """A socket that already listens at a service's address, for a service that takes seconds to load.

    JupyterHub 5 gives a service that refuses connections ten seconds, and one that accepts them much longer. None when
    the address is not on this machine's loopback interface, or in use: then whoever serves says what is wrong.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", _loopback_port(url)))
        listener.listen(_BACKLOG)
    except (OSError, ValueError, OverflowError):
        listener.close()
        return None
    listener.setblocking(False)
    return listener


def _loopback_port(url: str) -> int:
    parts = urlsplit(url)
    if parts.hostname != "127.0.0.1" or not parts.port:
        raise ValueError(url)
    return parts.port


def kept_ports(path: Path, names: Sequence[str], *, replace_taken: bool = True) -> dict[str, int]:
    """A port for each name, the same at every start as long as they are free; written to ``path``.

    What outlived a crash goes on asking where it asked before. ``replace_taken=False`` keeps a port that is in use:
    whoever listens there may be what outlived it.
    """
    ports = dict.fromkeys(names, 0)
    if path.exists():
        ports |= json.loads(path.read_bytes())
    chosen = {
        name: port if port and (not replace_taken or is_free(port)) else free_port() for name, port in ports.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(json.dumps(chosen))
    return chosen
