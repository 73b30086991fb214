"""Whether an engine answers at a unix socket. Standard library only."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

UNIX = "unix://"
"""How the address of a unix socket begins; its path follows."""
_SECONDS = 10


def why_silent(path: Path) -> str:
    """Why no engine can be spoken to at a unix socket, in words; "" when one answers."""
    try:
        with closing(socket.socket(socket.AF_UNIX)) as caller:
            caller.settimeout(_SECONDS)
            caller.connect(str(path))
            caller.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
            answer = caller.recv(64)
    except FileNotFoundError:
        return "is not there"
    except PermissionError:
        return "may not be used by this user"
    except OSError:
        return "does not answer"
    return "" if b" 200 " in answer else "does not answer as an engine does"
