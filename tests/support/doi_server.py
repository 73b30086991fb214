"""A web server on loopback that answers like the hosts of published records, and can misbehave like none of them."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from launcher.sources.addresses import AddressPolicy
from launcher.sources.cache import RepositoryCache
from launcher.sources.git import Git
from launcher.sources.http import HttpClient
from launcher.sources.providers import SourcesConfig, SourceTools

FIXTURES = Path(__file__).parent.parent / "fixtures" / "doi"

Answer = Callable[["RequestHandler"], None]


class RequestHandler(BaseHTTPRequestHandler):
    """Answers with what the server was told for the exact path and query."""

    protocol_version = "HTTP/1.1"
    server: DoiServer  # type: ignore[assignment]

    def do_GET(self) -> None:
        """Every request the launcher makes is a GET."""
        self.server.requests.append(self.path)
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send(404, b'{"status": "ERROR"}')
        else:
            answer(self)

    def send(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Tests read ``requests`` instead."""


class DoiServer(ThreadingHTTPServer):
    """``url`` is where it listens; ``requests`` are the paths asked for, in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RequestHandler)
        self.answers: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self.left = threading.Event()
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.url = f"http://{self.address}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early is what several tests are about."""

    def json(self, path: str, body: Any) -> None:
        """Answer with JSON; ``{server}`` in it becomes this server's address."""
        text = json.dumps(body).replace("{server}", self.url)
        self.body(path, text.encode())

    def fixtures(self, name: str) -> dict[str, Any]:
        """Answer with every path of a fixture file, and return it for changing."""
        routes: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
        for path, body in routes.items():
            self.json(path, body)
        return routes

    def body(self, path: str, body: bytes, status: int = 200) -> None:
        """Answer with bytes."""
        self.answers[path] = lambda handler: handler.send(status, body)

    def redirect(self, path: str, to: str) -> None:
        """Answer with a redirect."""
        self.answers[path] = lambda handler: handler.send(302, b"moved", Location=to)

    def endless(self, path: str) -> None:
        """Answer with bytes that never end."""

        def answer(handler: RequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            while not self.stopping.is_set():
                handler.wfile.write(bytes(65_536))

        self.answers[path] = answer

    def unframed(self, path: str, body: bytes) -> None:
        """Answer with bytes that end with the connection."""

        def answer(handler: RequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Connection", "close")
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = answer

    def silent(self, path: str) -> None:
        """Begin an answer, then say nothing more; ``left`` is set when the client has hung up."""

        def answer(handler: RequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            if handler.connection.recv(1) == b"":  # returns when the client has gone
                self.left.set()

        self.answers[path] = answer

    def short(self, path: str, body: bytes, announced: int) -> None:
        """Announce more bytes than are sent."""

        def answer(handler: RequestHandler) -> None:
            handler.send(200, body, Content_Length=str(announced))
            handler.close_connection = True

        self.answers[path] = answer


@contextmanager
def doi_server(*fixtures: str) -> Iterator[DoiServer]:
    """A running server with the answers of these fixture files."""
    server = DoiServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        for name in fixtures:
            server.fixtures(name)
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


async def no_names(host: str, port: int) -> list[str]:
    """A resolver for tests that may speak to loopback only: nothing has a name."""
    raise AssertionError(f"a test wanted to connect to {host}:{port}")


def tools_for(server: DoiServer, directory: Path, **config: Any) -> SourceTools:
    """What a provider works with, real in every part, able to reach nothing but the server."""
    settings: dict[str, Any] = {
        "provider_urls": dict.fromkeys(("doi", "zenodo", "figshare", "hydroshare"), server.url),
        "max_content_bytes": 3_000_000,
        "max_files": 100,
        "fetch_timeout": 30.0,
        **config,
    }
    chosen = SourcesConfig(cache_directory=directory / "cache", allow_hosts=frozenset({server.address}), **settings)
    addresses = AddressPolicy(chosen.allow_hosts, resolver=no_names)
    git = Git(addresses)
    return SourceTools(
        chosen, addresses, HttpClient(addresses, timeout=10.0), git, RepositoryCache(chosen.cache_directory, git)
    )


def zip_bytes(files: dict[str, bytes]) -> bytes:
    """A zip file with these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return packed.getvalue()
