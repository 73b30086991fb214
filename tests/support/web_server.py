"""A web server on loopback, inside the test's event loop, that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self

Answer = bytes | Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Request:
    """What a client sent; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


def response(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP answer; ``content_type="text/plain"`` becomes a header."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_response(body: Any, status: int = 200, **headers: str) -> bytes:
    """JSON as an answer."""
    return response(status, json.dumps(body).encode(), content_type="application/json", **headers)


class WebServer:
    """answers: path with query -> answer (404 otherwise); ``anything`` answers what has no entry. ``requests``: so far.

    An answer that is a function may write, wait and raise; it is cancelled when the server closes.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.anything: Answer = response(404)
        self.requests: list[Request] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``."""
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def url(self, path: str = "") -> str:
        """An address here; ``path`` without its leading slash."""
        return f"http://{self.host}/{path}"

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            request = Request(method, path, {name.lower(): value for name, value in headers.items()})
            self.requests.append(request)
            answer = self.answers.get(path, self.anything)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client has gone, which many tests want to see
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):  # gone already
                await writer.wait_closed()
