"""Waiting for a session to say that it serves: pushed through a socket, never polled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from launcher.errors import ContentFailed, SessionStartFailed

_LINE_LIMIT = 64 * 1024
_MOST_LINES = 1000  # of one start: a session's code can write here too


class SessionVoice:
    """Listens to one starting session on a unix socket: progress lines, then ``ready`` or an error.

    Use as an async context manager around the start of the process.
    """

    def __init__(self, socket_path: Path, on_progress: Callable[[str], None]) -> None:
        self._path = socket_path
        self._on_progress = on_progress
        self._lines = 0
        self._answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._listen, str(self._path), limit=_LINE_LIMIT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self._path.unlink(missing_ok=True)
        if self._answer.done() and not self._answer.cancelled():
            self._answer.exception()  # looked at, so that an error that came too late is not reported as lost

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self._lines < _MOST_LINES and (line := await reader.readline()):
                self._lines += 1
                self._hear(line)
        except ValueError:  # a line over the limit: whoever wrote it is not our session script
            self._end(SessionStartFailed("The session said something that the hub does not understand."))
        finally:
            writer.close()

    def _hear(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        if not isinstance(message, dict):
            return
        if message.get("ready") is True:
            self._end(None)
        elif isinstance(message.get("error"), dict):
            text = _plain(message["error"].get("message", ""))
            kind = ContentFailed if message["error"].get("code") == ContentFailed.code else SessionStartFailed
            hint = _plain(message["error"].get("hint", "")) or "Open the launch link again."
            self._end(kind(text or "The session could not be prepared.", hint=hint))
        elif isinstance(message.get("progress"), str):
            self._on_progress(_plain(message["progress"]))

    def _end(self, error: Exception | None) -> None:
        if self._answer.done():
            return
        if error is None:
            self._answer.set_result(None)
        else:
            self._answer.set_exception(error)

    async def ready(self, exited: asyncio.Future[int], *, seconds: float) -> None:
        """Return when the session serves. Raises SessionStartFailed or ContentFailed when it will not."""
        waited: set[asyncio.Future[Any]] = {self._answer, exited}
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            self._answer.result()
        elif exited.done():
            raise SessionStartFailed(
                f"The session's server ended before it was ready (exit status {exited.result()}).",
                hint="A `start` script or a server package of the repository may be the cause; see the hub's log.",
            )
        else:
            raise SessionStartFailed(
                f"The session's server did not answer within {seconds:.0f} seconds.", hint="Open the launch link again."
            )


def _plain(text: object) -> str:
    """Words of a session as one short line: they go into logs and to people."""
    return "".join(character if character.isprintable() else " " for character in str(text)[:500]).strip()
