"""The log of one build: as text, and as an event stream that goes on where a client left."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from tornado.iostream import StreamClosedError

from launcher.errors import BadRequest
from launcher.models import BuildId
from launcher.sessions.base import LaunchEvent, LogBatch, events_of
from launcher.web.event_stream import EventStreamHandler, frames_of
from launcher.web.headers import accepts_event_stream

_MAX_POSITION = 2**53


class _LogHandler(EventStreamHandler):
    """Opens the log of a build for the visitor."""

    def log(self, build_id: str, *, after: int, follow: bool) -> AsyncGenerator[LaunchEvent | LogBatch, None]:
        """The log's events; the first step raises BuildNotFound."""
        person = self.require_visitor().person
        events = self.parts.launches.build_log(
            person, BuildId(build_id), after=after, follow=follow, shared=self.was_shown(build_id)
        )
        return cast("AsyncGenerator[LaunchEvent | LogBatch, None]", events)


class BuildLogHandler(_LogHandler):
    """``GET /api/v1/builds/<id>/log``: what it has said so far, as plain text that no browser takes for a page."""

    async def get(self, build_id: str) -> None:
        """The whole log."""
        with self.slots.take(self.require_visitor().person.name):
            async with aclosing(self.log(build_id, after=0, follow=False)) as events:
                first = await anext(events, None)  # a build that is not there is an error, not an empty log
                self.set_header("Content-Type", "text/plain; charset=UTF-8")
                try:
                    if first is not None:
                        await self.send(_text(first))
                    async for said in events:
                        await self.send(_text(said))
                except StreamClosedError:
                    return


class BuildEventsHandler(_LogHandler):
    """``GET /api/v1/builds/<id>/events``: the log as it grows."""

    async def get(self, build_id: str) -> None:
        """Events from ``Last-Event-ID``, or from line one, to the end of the build."""
        if not accepts_event_stream(self.request.headers.get("Accept", "")):
            raise BadRequest("This address answers with an event stream.", hint="Send `Accept: text/event-stream`.")
        after = self._position(build_id)
        with self.slots.take(self.require_visitor().person.name):
            self.set_stream_headers()
            try:
                async with self.attended(), aclosing(self.log(build_id, after=after, follow=True)) as events:
                    async for said in events:
                        for piece in frames_of(said):
                            await self.send(piece)
                await self.send('event: end\ndata: {"phase": null, "message": ""}\n\n')
            except StreamClosedError:
                return

    def _position(self, build_id: str) -> int:
        """The byte to go on from; 0 for the id of another build and for nonsense."""
        last = self.request.headers.get("Last-Event-ID") or self.first_argument("last_event_id") or ""
        build, _, offset = last.rpartition(":")
        ours = build == build_id and offset.isascii() and offset.isdigit() and len(offset) <= len(str(_MAX_POSITION))
        return int(offset) if ours else 0


def _text(said: LaunchEvent | LogBatch) -> str:
    return "".join(event.message for event in events_of(said))
