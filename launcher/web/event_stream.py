"""Server-sent events: frames, keepalives, slow readers, and the end of a stream.

A stream never starts, owns or ends work: it tells what others do, and leaving it changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

from tornado.iostream import StreamClosedError

from launcher.sessions.base import LaunchEvent, LogBatch, events_of
from launcher.web.base import BaseHandler
from launcher.web.limits import StreamSlots

_KEEPALIVE = ":keepalive\n\n"
_PIECE_BYTES = 16 * 1024
_batch_frames: WeakKeyDictionary[LogBatch, tuple[bytes, ...]] = WeakKeyDictionary()
"""The frames of each batch, made for the first of its listeners and kept until the last one lets go of the batch."""


def frame(body: Mapping[str, Any], event_id: str | None = None) -> str:
    """One event as text. JSON escapes every line break, so no text of a build can end a frame."""
    identity = f"id: {event_id}\n" if event_id and event_id.isprintable() else ""
    return f"{identity}data: {json.dumps(body)}\n\n"


def frames_of(said: LaunchEvent | LogBatch) -> tuple[bytes, ...]:
    """What was said as pieces of whole frames, to be sent one after another.

    A piece is what the buffer of one slow reader may hold: about 16 KiB, more only for a single frame.
    """
    if not isinstance(said, LogBatch):
        return _pieces(said)
    pieces = _batch_frames.get(said)
    if pieces is None:
        pieces = _batch_frames[said] = _pieces(said)
    return pieces


def _pieces(said: LaunchEvent | LogBatch) -> tuple[bytes, ...]:
    pieces = [bytearray()]
    for event in events_of(said):
        encoded = frame(event.to_dict(), event.id).encode()
        if pieces[-1] and len(pieces[-1]) + len(encoded) > _PIECE_BYTES:
            pieces.append(bytearray())
        pieces[-1] += encoded
    return tuple(bytes(piece) for piece in pieces)


class EventStreamHandler(BaseHandler):
    """A handler that answers with an event stream."""

    def initialize(self) -> None:
        """Also watch for the client leaving."""
        super().initialize()
        self.left = asyncio.Event()
        self._sending = asyncio.Lock()  # events and keepalives are written by two tasks
        self._sent_at = 0.0

    @property
    def slots(self) -> StreamSlots:
        """The stream caps."""
        slots: StreamSlots = self.application.settings["stream_slots"]
        return slots

    def on_connection_close(self) -> None:
        """Tornado's hook: the client has gone."""
        super().on_connection_close()
        self.left.set()

    def set_stream_headers(self) -> None:
        """The headers of every event stream; the last one keeps nginx from buffering it."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")

    async def send(self, data: str | bytes) -> None:
        """Write and wait until the client has taken it. A reader that stopped is dropped: raises StreamClosedError."""
        async with self._sending:
            if self.left.is_set():
                raise StreamClosedError
            self.write(data)
            flushed = self.flush()
            try:
                if flushed.done():  # nearly always: the socket took it all
                    flushed.result()
                else:
                    await asyncio.wait_for(flushed, self.web.slow_reader_seconds)
            except TimeoutError as error:
                self.drop_reader()
                raise StreamClosedError from error
            self._sent_at = asyncio.get_running_loop().time()

    def drop_reader(self) -> None:
        """Close the socket of a client that does not read, with whatever is still in its buffer."""
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None:
            stream.close()

    @asynccontextmanager
    async def attended(self) -> AsyncGenerator[None, None]:
        """Send keepalives in the pauses of the body, and break it off when the client leaves or the service stops."""
        try:
            async with asyncio.timeout(None) as scope:
                attendant = asyncio.create_task(self._attend(scope))
                try:
                    yield
                finally:
                    attendant.cancel()
        except TimeoutError:
            if not scope.expired():
                raise

    async def _attend(self, scope: asyncio.Timeout) -> None:
        """One task for the whole stream, so that an event costs none."""
        loop = asyncio.get_running_loop()
        keepalive = self.web.keepalive_seconds
        gone = [asyncio.ensure_future(e.wait()) for e in (self.left, self.slots.closing)]
        self._sent_at = loop.time()
        try:
            while not any(task.done() for task in gone):
                if (remaining := self._sent_at + keepalive - loop.time()) > 0:
                    await asyncio.wait(gone, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
                elif self._sending.locked():
                    self._sent_at = loop.time()  # a write that waits for the reader is no pause
                else:
                    await self.send(_KEEPALIVE)
        except StreamClosedError:
            self.left.set()
        finally:
            for task in gone:
                task.cancel()
        scope.reschedule(loop.time())

    async def linger(self) -> None:
        """Hold the finished stream open, so that an EventSource that reconnects by itself cannot launch again."""
        async with self.attended():
            await asyncio.sleep(self.web.linger_seconds)
