"""A package index (PEP 503) on loopback that serves a directory of wheels and source distributions."""

from __future__ import annotations

import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class PackageIndex(ThreadingHTTPServer):
    """Serves ``directory``; ``requests`` are the paths that were asked for."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory
        self.requests: list[str] = []
        self.static: Path | None = None
        """Further files, served below ``/static/``."""

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        """What ``--index-url`` gets."""
        return f"http://{self.host}/simple/"

    def names(self) -> dict[str, list[Path]]:
        """Normalised name -> files."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.directory.iterdir()):
            name = re.sub(r"[-_.]+", "-", re.split(r"-\d", path.name)[0]).lower()
            found.setdefault(name, []).append(path)
        return found


class _Handler(BaseHTTPRequestHandler):
    server: PackageIndex
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(path)
        kind, _, name = path.strip("/").partition("/")
        if kind == "files":
            self._file(Path(name).name)
            return
        if kind == "static" and self.server.static is not None:
            file = self.server.static / name
            inside = file.resolve().is_relative_to(self.server.static.resolve()) and file.is_file()
            self._answer(200, file.read_bytes()) if inside else self._answer(404)
            return
        files = self.server.names().get(name, [])
        links = "".join(
            f'<a href="/files/{one.name}#sha256={_sha256(one)}"{_metadata(one)}>{one.name}</a>\n' for one in files
        )
        self._answer(200 if files else 404, links.encode(), "text/html")

    def _file(self, name: str) -> None:
        file = self.server.directory / name.removesuffix(".metadata")
        if not file.is_file():
            self._answer(404)
        elif name.endswith(".metadata"):  # PEP 658
            with zipfile.ZipFile(file) as archive:
                entry = next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
                self._answer(200, archive.read(entry), "application/octet-stream")
        else:
            self._answer(200, file.read_bytes(), "application/octet-stream")

    def _answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


def _metadata(path: Path) -> str:
    return ' data-core-metadata="true"' if path.suffix == ".whl" else ""


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def package_index(directory: Path) -> Iterator[PackageIndex]:
    """A running index."""
    directory.mkdir(parents=True, exist_ok=True)
    server = PackageIndex(directory)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
