"""Server-sent events: frames, keepalives, slow readers, and the end of a stream.

A stream never starts, owns or ends work: it tells what others do, and leaving it changes nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from tornado.iostream import StreamClosedError

from launcher.sessions.base import LaunchEvent
from launcher.web.base import BaseHandler
from launcher.web.limits import StreamSlots

_KEEPALIVE = ":keepalive\n\n"


def frame(body: Mapping[str, Any], event_id: str | None = None) -> str:
    """One event as text. JSON escapes every line break, so no text of a build can end a frame."""
    identity = f"id: {event_id}\n" if event_id and event_id.isprintable() else ""
    return f"{identity}data: {json.dumps(body)}\n\n"


class EventStreamHandler(BaseHandler):
    """A handler that answers with an event stream."""

    def initialize(self) -> None:
        """Also watch for the client leaving."""
        super().initialize()
        self.left = asyncio.Event()

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

    async def send(self, text: str) -> None:
        """Write and wait until the client has taken it. A reader that stopped is dropped: raises StreamClosedError."""
        if self.left.is_set():
            raise StreamClosedError
        self.write(text)
        try:
            await asyncio.wait_for(self.flush(), self.web.slow_reader_seconds)
        except TimeoutError as error:
            self.drop_reader()
            raise StreamClosedError from error

    def drop_reader(self) -> None:
        """Close the socket of a client that does not read, with whatever is still in its buffer."""
        stream = getattr(self.request.connection, "stream", None)
        if stream is not None:
            stream.close()

    async def relay(self, events: AsyncIterator[LaunchEvent]) -> AsyncGenerator[LaunchEvent, None]:
        """The events, with keepalives sent in the pauses. Ends early when the client leaves or the service stops."""
        async with aclosing(cast("Any", events)):
            while True:
                upcoming = asyncio.ensure_future(_next(events))
                try:
                    if not await self._wait_for(upcoming):
                        return
                    event = upcoming.result()
                finally:
                    await _cancelled(upcoming)
                if event is None:
                    return
                yield event

    async def _wait_for(self, upcoming: asyncio.Future[Any]) -> bool:
        """Whether the next event came; False when the client left or the service stops."""
        gone = [asyncio.ensure_future(e.wait()) for e in (self.left, self.slots.closing)]
        try:
            while True:
                await asyncio.wait(
                    {upcoming, *gone}, timeout=self.web.keepalive_seconds, return_when=asyncio.FIRST_COMPLETED
                )
                if any(task.done() for task in gone):
                    return False
                if upcoming.done():
                    return True
                await self.send(_KEEPALIVE)
        finally:
            for task in gone:
                task.cancel()

    async def linger(self) -> None:
        """Hold the finished stream open, so that an EventSource that reconnects by itself cannot launch again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.web.linger_seconds
        gone = [asyncio.ensure_future(e.wait()) for e in (self.left, self.slots.closing)]
        try:
            while (remaining := deadline - loop.time()) > 0:
                await asyncio.wait(
                    gone, timeout=min(remaining, self.web.keepalive_seconds), return_when=asyncio.FIRST_COMPLETED
                )
                if any(task.done() for task in gone):
                    return
                await self.send(_KEEPALIVE)
        finally:
            for task in gone:
                task.cancel()


async def _next(events: AsyncIterator[LaunchEvent]) -> LaunchEvent | None:
    """The next event, None at the end."""
    return await anext(events, None)


async def _cancelled(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait until it has really ended, so that its generator can be closed."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it again
