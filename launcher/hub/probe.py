"""A look at a server that has just started: it must ask strangers to log in.

The server of a session authenticates its visitors itself. A repository's start script, or a server package in full
mode, can turn that off by mistake, and then everybody who knows the address is in the person's home.
"""

from __future__ import annotations

import asyncio
import base64
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from launcher.errors import SessionStartFailed

_SECONDS = 15
_HEAD_BYTES = 64 * 1024
_REFUSALS = frozenset({401, 403})
_REDIRECTS = frozenset({302, 303, 307})
_UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
)
_PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("api/status", ()),
    ("api/contents", ()),
    ("api/kernels/00000000-0000-0000-0000-000000000000/channels", _UPGRADE),
)


@dataclass(frozen=True)
class _Answer:
    status: int
    location: str


async def require_login(address: str, port: int, *, base_url: str, hub_base_url: str) -> None:
    """Ask the server for its state, a person's files and a kernel's channel without any credential, all at once.

    ``base_url`` is the server's path, ``hub_base_url`` the Hub's (``/hub/``). Raises SessionStartFailed unless every
    answer is a refusal or the way to the Hub's login.
    """
    asked = (_ask(address, port, base_url + path, headers) for path, headers in _PATHS)
    try:
        async with asyncio.timeout(_SECONDS):
            answers = await asyncio.gather(*asked)
    except (OSError, EOFError, ValueError, TimeoutError) as error:
        raise SessionStartFailed(
            "The session's server does not answer like a Jupyter server, so it was stopped.", hint=_HINT
        ) from error
    if not all(_refuses(answer, hub_base_url) for answer in answers):
        raise SessionStartFailed("The session's server lets people in without a login, so it was stopped.", hint=_HINT)


_HINT = "A `start` script or a server setting of the repository replaces the server's login; take it out."


def _refuses(answer: _Answer, hub_base_url: str) -> bool:
    if answer.status in _REDIRECTS:
        return urlsplit(answer.location).path.startswith(hub_base_url)
    return answer.status in _REFUSALS


async def _ask(address: str, port: int, path: str, headers: tuple[str, ...]) -> _Answer:
    """The head of the answer to a GET. A client of HTTP would wait for the end of an accepted websocket."""
    reader, writer = await asyncio.open_connection(address, port, limit=_HEAD_BYTES)
    try:
        close = () if headers else ("Connection: close",)
        lines = (f"GET {path} HTTP/1.1", f"Host: {address}:{port}", *headers, *close)
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError as error:
        raise ValueError("an endless answer") from error
    finally:
        writer.close()
    first, *rest = head.split("\r\n")
    fields = (line.partition(":") for line in rest)
    location = next((value.strip() for name, _, value in fields if name.lower() == "location"), "")
    return _Answer(int(first.split(" ", 2)[1]), location)
