"""Another origin on this machine: a web server of one page."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OtherSite(ThreadingHTTPServer):
    """Answers ``/`` with ``page`` and everything else with nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.page = "<!doctype html><title>elsewhere</title>"

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.server_port}"


class _Page(BaseHTTPRequestHandler):
    server: OtherSite

    def do_GET(self) -> None:
        body = self.server.page.encode() if self.path == "/" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests need no access log."""


@contextlib.contextmanager
def other_origin() -> Iterator[OtherSite]:
    """Another site until the end of the block."""
    with OtherSite() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
