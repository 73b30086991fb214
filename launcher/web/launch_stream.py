"""Event streams that start or join something: BinderHub's phases to ``ready`` or ``failed``, every error an event."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from tornado.iostream import StreamClosedError

from launcher.errors import (
    AddressRefused,
    BadRequest,
    BuildTokenInvalid,
    LauncherError,
    NotAllowed,
    ProviderUnknown,
    SpecInvalid,
)
from launcher.sessions.base import LaunchEvent, LogBatch
from launcher.web.base import Visitor, public_error
from launcher.web.event_stream import EventStreamHandler, frame, frames_of
from launcher.web.headers import accepts_event_stream, cors_headers
from launcher.web.metrics import WebMetrics


class LaunchStreamHandler(EventStreamHandler):
    """Answers with the events of a start. Every error after routing is 200 and a ``failed`` event.

    Whoever comes with a cookie brings the page's build token: a GET by itself starts nothing.
    """

    def set_default_headers(self) -> None:
        """Cross-origin pages of the allowed origins may read the stream."""
        super().set_default_headers()
        self.set_stream_headers()
        origin = self.request.headers.get("Origin")
        for name, value in cors_headers(origin, self.application.settings["parts"].settings.cors_origins).items():
            self.set_header(name, value)

    async def options(self) -> None:
        """Answer a preflight."""
        self.set_header("Access-Control-Allow-Methods", "GET, OPTIONS")
        self.set_status(HTTPStatus.NO_CONTENT)
        self.clear_header("Content-Type")

    def stream_visitor(self) -> Visitor:
        """Who asks. Raises BadRequest when it is not for a stream, and NotAllowed for nobody."""
        if not accepts_event_stream(self.request.headers.get("Accept", "")):
            raise BadRequest("Missing Accept header: text/event-stream")
        if self.visitor is None:
            raise NotAllowed("Forbidden", hint="Log in, or send `Authorization: token` with a token of your Hub user.")
        return self.visitor

    def confirmed(self, visitor: Visitor, subject: str) -> bool:
        """Whether a person said yes. Raises BuildTokenInvalid when a cookie comes without the page's token."""
        token = self.first_argument("build_token")
        if token:
            confirmed = self.tokens.verify(token, self.token_subject(subject, visitor.person))
            return confirmed or visitor.by_header
        if not visitor.by_header:
            raise BuildTokenInvalid("Invalid build token", hint="Open the launch page and start from there.")
        return True

    @property
    def after(self) -> str | None:
        """The last event that the client has seen."""
        return self.request.headers.get("Last-Event-ID") or self.first_argument("last_event_id")

    async def tell_start(
        self,
        visitor: Visitor,
        events: AsyncIterator[LaunchEvent | LogBatch],
        *,
        open_path: str = "",
        wants_token: bool = False,
    ) -> None:
        """Send everything, count how it ended, and hold the stream open for a while."""
        with self.slots.take(visitor.person.name):
            if self.after is None:
                self.application.settings["launch_rate"].take(visitor.person.name)
            try:
                await self._tell(events, open_path, wants_token=wants_token)
                await self.linger()
            except StreamClosedError:
                return  # the client has gone; the start goes on

    async def _tell(self, events: AsyncIterator[LaunchEvent | LogBatch], open_path: str, *, wants_token: bool) -> None:
        metrics: WebMetrics = self.application.settings["metrics"]
        stream = cast("AsyncGenerator[LaunchEvent | LogBatch, None]", events)
        async with self.attended(), aclosing(stream):
            async for event in stream:
                if isinstance(event, LogBatch):  # nothing in it is for one listener only
                    for piece in frames_of(event):
                        await self.send(piece)
                    continue
                body = present(event, self.public_origin, open_path=open_path, wants_token=wants_token)
                await self.send(frame(body, event.id))
                if event.phase in {"ready", "failed"}:
                    metrics.launches.labels(outcome=event.phase).inc()
                    if event.phase == "ready":
                        metrics.launch_seconds.observe(self.request.request_time())
                    return

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Every error is an event; the status stays 200, as Binder clients expect."""
        cause = kwargs.get("exc_info", (None, None, None))[1]
        if cause is not None and not isinstance(cause, LauncherError):
            self.log_exception(*kwargs["exc_info"])
        if self._finished:
            return
        error = public_error(status_code, cause)
        self.set_status(HTTPStatus.OK)
        self.finish("" if self.request.method == "HEAD" else frame(self._failed(error)))

    def _failed(self, error: LauncherError) -> dict[str, Any]:
        body: dict[str, Any] = {"phase": "failed", **error.to_dict(), "message": _line(error.message)}
        if not isinstance(error, SpecInvalid | ProviderUnknown | AddressRefused):  # BinderHub has no status for these
            body["status_code"] = error.http_status
        return {**body, "id": self.request_id}


def _line(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def present(event: LaunchEvent, origin: str, *, open_path: str, wants_token: bool) -> dict[str, Any]:
    """The event for the wire.

    ``ready.url`` becomes absolute with a trailing slash, as clients need it; ``ready.open_url`` is the URL path with
    the file to open, for our own page. A token is only ever told to those who asked with one.
    """
    body = event.to_dict()
    body["message"] = _line(event.message)
    if event.phase == "ready" and isinstance(url := body.get("url"), str):
        path = urlsplit(url).path.rstrip("/") + "/"
        body["url"] = path_url(url, origin)
        body["open_url"] = path + open_path
    if not wants_token:
        body.pop("token", None)
    return body


def path_url(url: str, origin: str) -> str:
    """An absolute URL with a trailing slash for a URL or a URL path."""
    absolute = origin + url if url.startswith("/") else url
    return absolute.rstrip("/") + "/"
