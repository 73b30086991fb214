"""A session's first program as a spawner starts it, a hub that knows one token, and the ears of a spawner."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from websocket import create_connection

from launcher.hub import inside

SCRIPTS = Path(inside.__file__).parent
TOKEN = "token-of-me"
DEADLINE = 60


class _Hub(BaseHTTPRequestHandler):
    """Enough of the Hub's API for a single-user server: its version, whose a token is, activity."""

    def do_GET(self) -> None:
        if self.path.endswith("/user") and self.headers.get("Authorization") != f"token {TOKEN}":
            self._answer(403, {"message": "no"})
        elif self.path.endswith("/user"):
            self._answer(200, {"name": "me", "kind": "user", "groups": [], "scopes": ["access:servers!server=me/"]})
        else:
            self._answer(200, {"version": "6.1.1"})

    def do_POST(self) -> None:
        self._answer(200, {})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def hub() -> Iterator[str]:
    """A hub on loopback; yields its API address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hub/api"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Ears:
    """Listens like a spawner on a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection, connection.makefile() as lines:
                for line in lines:
                    message = json.loads(line)
                    if message.get("stop"):
                        return
                    self.messages.put(message)

    def until(self, key: str) -> list[dict[str, Any]]:
        """Every message up to the one that has ``key``."""
        heard = []
        while True:
            heard.append(self.messages.get(timeout=DEADLINE))
            if key in heard[-1]:
                return heard

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as last:
            last.connect(str(self.path))
            last.sendall(b'{"stop": true}\n')
        self._thread.join()
        self._socket.close()


class Session:
    """One running session."""

    def __init__(self, python: Path, api: str, description: dict[str, Any], log: Path) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="s"))  # short: a unix socket's path has little room
        self.ears = Ears(self.place / "voice")
        self.log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.prefix = "/user/me/"
        arguments = ["--allow-root", "--ServerApp.log_level=INFO"] if os.getuid() == 0 else []
        self.file = self.place / "session.json"
        self.file.write_text(
            json.dumps(
                {
                    "mode": "kernel",
                    "server": ["-m", "jupyterhub.singleuser", *arguments],
                    "ready_socket": str(self.ears.path),
                    "runtime": str(self.place),
                    **description,
                }
            )
        )
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(python), str(SCRIPTS / "server.py"), str(self.file)],
                env=self._environment(api),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _environment(self, api: str) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/nonexistent",
            "PYTHONPATH": "/nonexistent/planted",
            "JUPYTERHUB_API_TOKEN": "server-token",
            "JUPYTERHUB_API_URL": api,
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-me",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!server=me/"]',
            "JUPYTERHUB_OAUTH_SCOPES": '["access:servers!server=me/"]',
            "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/me/oauth_callback",
            "JUPYTERHUB_SERVICE_PREFIX": self.prefix,
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}{self.prefix}",
            "JUPYTERHUB_USER": "me",
        }

    def call(self, path: str, body: object = None, *, token: str = TOKEN) -> Any:
        """Ask the server's API as the person; the JSON it answers."""
        return json.loads(self.read(path, body, token=token))

    def read(self, path: str, body: object = None, *, token: str = TOKEN) -> bytes:
        """Ask the server as the person; what it answers."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{self.prefix}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {token}"},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return bytes(answer.read())

    def execute(self, code: str) -> str:
        """Run code in a new kernel and return what it printed."""
        kernel = self.call("api/kernels", {"name": "python3"})["id"]
        address = f"ws://127.0.0.1:{self.port}{self.prefix}api/kernels/{kernel}/channels"
        connection = create_connection(address, header=[f"Authorization: token {TOKEN}"], timeout=DEADLINE)
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "s", "username": "me"}
        header |= {"version": "5.3", "date": "2020-01-01T00:00:00Z"}
        content = {"code": code, "silent": False, "allow_stdin": False, "user_expressions": {}, "stop_on_error": True}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content}
        connection.send(json.dumps(message))
        printed = ""
        try:
            while True:
                answer = json.loads(connection.recv())
                if answer["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                if answer["msg_type"] == "stream":
                    printed += answer["content"]["text"]
                elif answer["msg_type"] == "error":
                    printed += "\n".join(answer["content"]["traceback"])
                elif answer["msg_type"] == "status" and answer["content"]["execution_state"] == "idle":
                    return printed
        finally:
            connection.close()

    def stop(self) -> int:
        """SIGTERM, as a spawner does; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.ears.close()
        shutil.rmtree(self.place)
