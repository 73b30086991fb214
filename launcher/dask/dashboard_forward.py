"""One request from a visitor to a scheduler and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import aiohttp
from tornado.iostream import StreamClosedError
from tornado.web import stream_request_body

from launcher.dask.dashboard_access import ClusterHandler
from launcher.dask.dashboard_question import NO_ANSWER, NO_ANSWER_HINT
from launcher.dask.reverse_proxy import public_location, response_headers
from launcher.errors import DaskUnavailable, LoginRequired, NotAllowed, RequestTooLarge

MAX_BODY_BYTES = 32 * 2**20
_READER_SECONDS = 120  # a visitor who does not take what is there
# Scripts run, but on an origin of their own: without the Hub's cookies, pages and storage.
_SANDBOX = "sandbox allow-scripts allow-popups; frame-ancestors 'self'"


@stream_request_body
class DashboardHandler(ClusterHandler):
    """GET, HEAD and POST; bodies pass through, neither way is one collected."""

    SUPPORTED_METHODS = ("GET", "HEAD", "POST")
    _forwarding: asyncio.Task[None] | None = None
    _chunks: asyncio.Queue[bytes | None] | None = None

    def set_default_headers(self) -> None:
        """Tornado's hook. An answer before the body is read ends the connection, and proxies must know that it does.

        Otherwise they would send the next request into a connection that closes, and answer it with an error.
        """
        super().set_default_headers()
        if self._forwarding is None:
            self.set_header("Connection", "close")

    async def prepare(self) -> None:
        """Everything that can be refused is, before a byte of the body is read."""
        try:
            await self._prepare()
        except LoginRequired:
            if not self._is_page_view():
                raise
            # an old view's page is asked for again by its plain address, with the cookie that made the view
            self.redirect(self.own_path(view="") + self.target if self.view else self.get_login_url())

    async def _prepare(self) -> None:
        length = self.request.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            raise RequestTooLarge("The request body is too long.")
        connection: Any = self.request.connection
        connection.set_max_body_size(MAX_BODY_BYTES)
        viewer = await self.admit()
        if self.view and self.request.method == "POST":
            raise NotAllowed("This view of a dashboard is for looking only.")
        if not self.tail:
            self.redirect(self.own_path() + "status")
            return
        if self.sandboxed and not self.view and self._is_page_view():
            self.redirect(self.own_path(self.parts.views.sign(self.cluster, viewer.name)) + self.target)
            return
        if self._is_page_view() and not self.view:
            self.remember_host(viewer)
        await self.parts.question.ready(self.upstream)
        if self.request.method == "POST":
            self._chunks = asyncio.Queue(maxsize=4)
        self.clear_header("Connection")
        self._forwarding = asyncio.create_task(self._forward())

    def _is_page_view(self) -> bool:
        """Whether a person's browser wants a page here, and can be sent elsewhere."""
        headers = self.request.headers
        return (
            self.request.method in {"GET", "HEAD"}
            and "Authorization" not in headers
            and headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
            and "text/html" in headers.get("Accept", "")
        )

    async def data_received(self, chunk: bytes) -> None:
        """Tornado's hook: a piece of the body. Slow upstreams slow the visitor."""
        if self._chunks is None or self._forwarding is None or self._forwarding.done():
            return
        put = asyncio.ensure_future(self._chunks.put(chunk))
        await asyncio.wait({put, self._forwarding}, return_when=asyncio.FIRST_COMPLETED)
        put.cancel()

    async def get(self) -> None:
        """Forward."""
        await self._finish_forwarding()

    head = get

    async def post(self) -> None:
        """Forward the end of the body too."""
        if self._chunks is not None and self._forwarding is not None:
            put = asyncio.ensure_future(self._chunks.put(None))
            await asyncio.wait({put, self._forwarding}, return_when=asyncio.FIRST_COMPLETED)
            put.cancel()
        await self._finish_forwarding()

    def on_connection_close(self) -> None:
        """The visitor is gone: so is the question to the scheduler."""
        super().on_connection_close()
        if self._forwarding is not None:
            self._forwarding.cancel()

    async def _finish_forwarding(self) -> None:
        if self._forwarding is None:
            return
        await asyncio.wait({self._forwarding})
        if not self._forwarding.cancelled():
            self._forwarding.result()

    async def _body(self, chunks: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async def _forward(self) -> None:
        body = None if self._chunks is None else self._body(self._chunks)
        headers = dict(self.request.headers)
        if body is None:
            headers.pop("Content-Length", None)
        try:
            method = self.request.method or "GET"
            async with self.parts.proxy.request(method, self.upstream, self.target, headers, body) as answer:
                self._take_head(answer)
                async for chunk in answer.content.iter_any():
                    self.write(chunk)
                    await asyncio.wait_for(self.flush(), _READER_SECONDS)
                await self.flush()
            self.finish()
        except StreamClosedError:
            return  # the visitor left while we wrote
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if not self._headers_written:
                raise DaskUnavailable(NO_ANSWER, hint=NO_ANSWER_HINT) from error
            self._break_off()

    def _take_head(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status < HTTPStatus.OK or answer.status == HTTPStatus.UNAUTHORIZED:
            raise DaskUnavailable(NO_ANSWER, hint=NO_ANSWER_HINT)
        headers = response_headers(answer.headers)
        if "Location" in answer.headers:
            headers["Location"] = public_location(
                answer.headers["Location"], self.target, self.upstream, self.own_path()
            )
        self.set_status(answer.status)
        if answer.status in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
            headers.pop("Content-Length", None)  # of the body that would be there
        for name, value in headers.items():
            self.set_header(name, value)
        if self.sandboxed:
            self.set_header("Content-Security-Policy", _SANDBOX)
            if self.view:  # the sandbox's origin is `null`; without the view nobody gets here
                self.set_header("Access-Control-Allow-Origin", "null")

    def _break_off(self) -> None:
        """Half an answer must not look like a whole one."""
        connection: Any = self.request.connection
        connection.stream.close()
