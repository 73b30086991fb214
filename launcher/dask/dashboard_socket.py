"""One websocket from a visitor to a scheduler, both ways."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import aiohttp
from aiohttp import WSCloseCode
from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from launcher.dask.dashboard_access import ClusterHandler
from launcher.dask.dashboard_question import NO_ANSWER, NO_ANSWER_HINT
from launcher.errors import DaskUnavailable, HubUnavailable, LauncherError, NotAllowed

_SENDABLE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
_NO_CODE = 1005
_MOST_REASON_BYTES = 120


class ForAWebSocket(PathMatches):
    """A path, but only of requests that ask for a websocket."""

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Tornado's hook."""
        asks = request.headers.get("Upgrade", "").lower() == "websocket"
        return super().match(request) if asks else None


class DashboardSocket(ClusterHandler, WebSocketHandler):
    """A websocket both ways: text, binary, subprotocol, close codes. Each side answers pings of its own."""

    _scheduler: aiohttp.ClientWebSocketResponse
    _tasks: tuple[asyncio.Task[None], ...] = ()

    async def prepare(self) -> None:
        """Refuse before the handshake what is refused."""
        viewer = await self.admit()
        if not (viewer.by_header or self.view):
            self.check_websocket_origin(viewer)
        await self.parts.question.ready(self.upstream)

    def check_origin(self, origin: str) -> bool:
        """`prepare` has looked at it, for those who come with a cookie."""
        return bool(origin)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """The one that the scheduler chose."""
        return self._scheduler.protocol if self._scheduler.protocol in subprotocols else None

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open the scheduler's side first, then accept; returns when the visitor's side has ended."""
        offered = [word.strip() for word in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        try:
            self._scheduler = await self.parts.proxy.websocket(
                self.upstream, self.target, self.request.headers, [word for word in offered if word]
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}:
                raise DaskUnavailable(NO_ANSWER, hint=NO_ANSWER_HINT) from error
            raise NotAllowed("The dashboard does not take this connection.", hint="Load the page again.") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DaskUnavailable(NO_ANSWER, hint=NO_ANSWER_HINT) from error
        try:
            await super().get(*args, **kwargs)
        finally:
            for task in self._tasks:
                task.cancel()
            await self._scheduler.close(
                code=sendable(self.close_code, WSCloseCode.GOING_AWAY), message=reason_bytes(self.close_reason)
            )

    def open(self, *_: str, **__: str) -> None:
        """Tornado's hook after the handshake."""
        self._tasks = (asyncio.create_task(self._to_visitor()), asyncio.create_task(self._look_again()))

    async def on_message(self, message: str | bytes) -> None:
        """Tornado's hook; it reads no further until the scheduler has taken this one."""
        try:
            if isinstance(message, str):
                await self._scheduler.send_str(message)
            else:
                await self._scheduler.send_bytes(message)
        except (aiohttp.ClientError, OSError):
            self.close(WSCloseCode.INTERNAL_ERROR, "the scheduler is gone")

    async def _to_visitor(self) -> None:
        reason = ""
        try:
            while True:
                message = await self._scheduler.receive()
                if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                    await self.write_message(message.data, binary=message.type is aiohttp.WSMsgType.BINARY)
                    continue
                if message.type is aiohttp.WSMsgType.CLOSE:
                    reason = message.extra or ""
                break
        except WebSocketClosedError:
            return
        code = sendable(self._scheduler.close_code, WSCloseCode.INTERNAL_ERROR)
        self.close(code, reason_bytes(reason).decode())

    async def _look_again(self) -> None:
        """A login that ended, a right that was taken or a cluster that is gone ends what is open."""
        while True:
            await asyncio.sleep(self.parts.recheck_seconds)
            try:
                self._forget_login()
                dashboard, viewer = self.find(self.cluster), await self.who()
                gone = not viewer.may_see(dashboard) or dashboard.address != self.upstream.address
            except HubUnavailable:
                continue  # nobody loses a page because the Hub restarts
            except LauncherError:
                gone = True
            if gone:
                self.close(WSCloseCode.POLICY_VIOLATION, "not allowed any more")
                return

    def _forget_login(self) -> None:
        """HubOAuth answers once for each request; this one goes on for hours."""
        self.__dict__.pop("_cached_hub_user", None)


def sendable(code: int | None, otherwise: int) -> int:
    """A close code as it can be sent: 1005 says that there was none, others only that the connection broke."""
    if code == _NO_CODE:
        return WSCloseCode.OK
    return code if code is not None and code in _SENDABLE_CODES else otherwise


def reason_bytes(reason: str | None) -> bytes:
    """A close reason that fits into its frame."""
    return (reason or "").encode()[:_MOST_REASON_BYTES].decode(errors="ignore").encode()
