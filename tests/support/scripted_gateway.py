"""A gateway over HTTP that answers what a test says and remembers what it was asked: for what speaks to gateways."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PREFIX = "/at/services/dask-gateway"
PLOTS = {"Individual Task Stream": "/individual-task-stream"}


@dataclass(frozen=True)
class Asked:
    """One request, its path without the gateway's prefix."""

    method: str
    path: str
    body: Any
    authorization: str


@dataclass
class ScriptedGateway:
    """Answers by method and path; what was not scripted is a 404 in plain text, as a proxy without a route says it."""

    address: str
    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def answer(self, method: str, path: str, status: int, body: Any) -> None:
        """Answer so from now on, after what was scripted before; the last answer is given again and again."""
        self.answers.setdefault((method, path), []).append((status, body))

    def clusters(self, *clusters: dict[str, Any]) -> None:
        """What the list of clusters is from now on."""
        body = {"clusters": list(clusters), "limits": {}, "used": {}}
        self.answers["GET", "/api/v1/launcher/clusters"] = [(200, body)]

    def reset(self) -> None:
        """Forget everything."""
        self.answers.clear()
        self.asked.clear()

    def requests(self, *methods: str) -> list[tuple[str, str, Any]]:
        """What was asked, without the lists of clusters."""
        found = [one for one in self.asked if one.path != "/api/v1/launcher/clusters"]
        return [(one.method, one.path, one.body) for one in found if not methods or one.method in methods]


def cluster(name: str, **changes: Any) -> dict[str, Any]:
    """A running cluster without workers, in the gateway's words."""
    return {
        "name": name,
        "user": "me",
        "server_name": "",
        "title": "notes",
        "environment": "server",
        "status": "running",
        "reason": "",
        "workers": 0,
        "workers_wanted": 0,
        "minimum": None,
        "maximum": None,
        "worker_cores": 1,
        "worker_memory": 2**31,
        "cores": 0,
        "memory": 0,
        "started": "2026-01-02T03:04:05Z",
        "stopped": None,
        "idle_seconds": None,
        "keep_hours": 0,
        "dashboard": f"{PREFIX}/clusters/{name}/status",
        **changes,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gateway: ScriptedGateway

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.removeprefix(PREFIX)
        self.gateway.asked.append(Asked(self.command, path, body, self.headers.get("Authorization", "")))
        scripted = self.gateway.answers.get((self.command, path))
        if not scripted:
            self._answer(404, b"404 page not found\n")
            return
        status, answer = scripted.pop(0) if len(scripted) > 1 else scripted[0]
        content = b"" if answer is None else answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self._answer(status, content)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the names http.server calls

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        if status == 302:
            self.send_header("Location", content.decode())
        self.send_header("Content-Length", "0" if status == 204 else str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def scripted_gateway() -> Iterator[ScriptedGateway]:
    """One on a free port of loopback."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.gateway = ScriptedGateway(f"http://127.0.0.1:{server.server_address[1]}{PREFIX}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield handler.gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
