"""A scheduler's HTTP server, hand-written, for what a real one does only on a bad day."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

BIG = 10 * 2**20


class Anything(RequestHandler):
    """Tells what it was asked, and behaves as its first path segment says."""

    def initialize(self, scheduler: OddScheduler) -> None:
        self.scheduler = scheduler

    async def prepare(self) -> None:
        headers = dict(self.request.headers.get_all())
        self.scheduler.requests.append((self.request.method, self.request.uri, headers))

    async def get(self) -> None:
        behave = getattr(self, "do_" + self.request.path.strip("/").split("/")[0].replace("-", "_"), None)
        if behave is not None:
            await behave()
        else:
            self.finish({"uri": self.request.uri, "headers": dict(self.request.headers.get_all())})

    head = get

    async def do_launcher(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.scheduler.may_answer.wait)
        self.finish(self.scheduler.answer)

    async def do_page(self) -> None:
        for header in (
            "Set-Cookie: a=b",
            "Access-Control-Allow-Origin: *",
            "Clear-Site-Data: *",
            "Service-Worker-Allowed: /",
            "Content-Security-Policy: default-src *",
            "X-Frame-Options: DENY",
            "WWW-Authenticate: Basic",
            "Refresh: 0; url=http://example.org",
            "Server: secret/1",
            "Cache-Control: public, max-age=9",
            "Etag: abc",
        ):
            self.add_header(*header.split(": ", 1))
        self.finish("<h1>hello</h1>")

    async def do_static(self) -> None:
        self.set_header("Content-Type", "text/javascript")
        self.set_header("Cache-Control", "public, max-age=9")
        self.set_header("Etag", '"abc"')
        if self.request.headers.get("If-None-Match") == '"abc"':
            self.set_status(304)
        else:
            self.write("let a;")
        self.finish()

    async def do_big(self) -> None:
        self.set_header("Content-Length", str(BIG))
        for _ in range(BIG // 2**16):
            self.write(b"x" * 2**16)
            await self.flush()

    async def do_first_then_wait(self) -> None:
        self.write("first")
        await self.flush()
        await asyncio.Event().wait()

    async def do_wait(self) -> None:
        await asyncio.Event().wait()

    async def do_too_short(self) -> None:
        self.request.connection.stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        self.request.connection.stream.close()

    async def do_nonsense(self) -> None:
        self.request.connection.stream.write(b"nonsense nonsense\r\n\r\n")
        self.request.connection.stream.close()

    async def do_redirect(self) -> None:
        self.set_status(302)
        self.set_header("Location", self.get_query_argument("to").replace("HERE", f"http://{self.request.host}"))

    def on_connection_close(self) -> None:
        self.scheduler.left.set()


@stream_request_body
class Upload(Anything):
    """Counts the bytes of a body."""

    async def prepare(self) -> None:
        self.count = 0
        await super().prepare()

    def data_received(self, chunk: bytes) -> None:
        self.count += len(chunk)
        self.scheduler.received.set()

    async def post(self) -> None:
        self.finish({"bytes": self.count, "headers": dict(self.request.headers.get_all())})


class Echo(WebSocketHandler):
    """Sends back what comes; words in the text make it do other things."""

    def initialize(self, scheduler: OddScheduler) -> None:
        self.scheduler = scheduler

    def check_origin(self, origin: str) -> bool:
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        self.scheduler.subprotocols = subprotocols
        return "bokeh" if "bokeh" in subprotocols else None

    def open(self) -> None:
        self.scheduler.requests.append(("WS", self.request.uri, dict(self.request.headers.get_all())))

    async def on_message(self, message: str | bytes) -> None:
        if message == "close":
            self.close(4321, "as you wish")
        elif message == "break":
            self.ws_connection.stream.close()
        else:
            await self.write_message(message, binary=isinstance(message, bytes))

    def on_close(self) -> None:
        self.scheduler.closed.append((self.close_code, self.close_reason))


class OddScheduler:
    """A scheduler's HTTP server, hand-written. ``answer``: to the question about the dashboard."""

    def __init__(self) -> None:
        self.requests: list[tuple[Any, Any, dict[str, str]]] = []
        self.closed: list[tuple[int | None, str | None]] = []
        self.subprotocols: list[str] = []
        self.left, self.received, self.may_answer = threading.Event(), threading.Event(), threading.Event()
        self.may_answer.set()
        self.answer: Any = {"ready": True}
        self.sockets = bind_sockets(0, "127.0.0.1")
        self.address = f"http://127.0.0.1:{self.sockets[0].getsockname()[1]}"
        with_self = {"scheduler": self}
        routes = [(r"/ws.*", Echo, with_self), (r"/upload.*", Upload, with_self), (r".*", Anything, with_self)]
        self.server = HTTPServer(Application(routes, websocket_max_message_size=64 * 2**20))

    @property
    def questions(self) -> int:
        return sum(uri == "/launcher/dashboard" for _, uri, _ in self.requests)

    @property
    def last(self) -> tuple[Any, Any, dict[str, str]]:
        return self.requests[-1]
