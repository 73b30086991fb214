"""A real smart-http git server on loopback, and the few git commands that tests need to fill it.

>>> with GitServer(directory) as server:
...     make_repository(directory / "course", {"requirements.txt": "numpy\\n"})
...     server.url("course")  # http://127.0.0.1:PORT/course
"""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_NAME": "Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
}

Files = Mapping[str, str | bytes | None]
"""Path -> content; None deletes."""


def git(path: Path, *arguments: str, stdin: bytes | None = None) -> str:
    """The output of a git command in a repository; CalledProcessError when it fails."""
    command = ["git", "-c", "safe.directory=*", "-C", str(path), *arguments]
    done = subprocess.run(command, env=_ENVIRONMENT, input=stdin, capture_output=True, check=True)
    return done.stdout.decode().strip()


def make_repository(
    path: Path, files: Files | None = None, *, branch: str = "main", object_format: str = "sha1"
) -> Path:
    """A bare repository with one commit on ``branch``, or none when there are no files."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--bare", f"--initial-branch={branch}", f"--object-format={object_format}")
    git(path, "config", "uploadpack.allowFilter", "true")
    if files is not None:
        commit(path, files, "Begin", branch=branch)
    return path


def commit(
    path: Path,
    files: Files,
    message: str = "Change",
    *,
    branch: str = "main",
    links: Mapping[str, str] | None = None,
    executable: Iterable[str] = (),
    orphan: bool = False,
) -> str:
    """Commit changed files on top of a branch (made when missing; without parents when ``orphan``); the commit's id.

    links: path -> target of symlinks. The same files and message on the same parents give the same id.
    """
    ref = branch if branch.startswith("refs/") else f"refs/heads/{branch}"
    parent = git(path, "for-each-ref", "--format=%(objectname)", ref)
    stream = f"feature done\nreset {ref}\n".encode() if orphan else b"feature done\n"
    stream += f"commit {ref}\ncommitter Author <author@example.org> 1700000000 +0000\n".encode()
    stream += _data(message.encode()) + (f"from {parent}\n".encode() if parent and not orphan else b"")
    for name, content in files.items():
        if content is None:
            stream += f'D "{name}"\n'.encode()
        else:
            mode = "100755" if name in set(executable) else "100644"
            body = content.encode() if isinstance(content, str) else content
            stream += f'M {mode} inline "{name}"\n'.encode() + _data(body)
    for name, target in (links or {}).items():
        stream += f'M 120000 inline "{name}"\n'.encode() + _data(target.encode())
    git(path, "fast-import", "--quiet", "--force", stdin=stream + b"done\n")
    return git(path, "rev-parse", ref)


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"


def branch(path: Path, name: str, at: str = "main") -> str:
    """Make or move a branch (or any ref given as ``refs/…``); the id it points to."""
    ref = name if name.startswith("refs/") else f"refs/heads/{name}"
    git(path, "update-ref", ref, git(path, "rev-parse", at))
    return git(path, "rev-parse", ref)


def tag(path: Path, name: str, at: str = "main", *, message: str | None = None) -> str:
    """A tag, annotated when there is a message; the id of what ``refs/tags/<name>`` points to."""
    git(path, "tag", "--force", *(["-a", "-m", message] if message else []), name, at)
    return git(path, "rev-parse", f"refs/tags/{name}")


class GitServer:
    """Serves every repository below a directory on ``127.0.0.1``, on a port of the system's choice.

    requests: the path of every request so far. redirects: path prefix -> where requests below it are sent (302).
    password: when set, ``user:password`` that requests must bring. before: called with each path before it is answered.
    protocol: git's wire protocol, by default what the client asks for; ``version=0`` knows no commits by id.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.requests: list[str] = []
        self.redirects: dict[str, str] = {}
        self.password: str | None = None
        self.protocol: str | None = None
        self.before: Callable[[str], None] = lambda path: None
        self._server = _HttpServer(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``, what ``--allow-host`` takes."""
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, name: str = "") -> str:
        """The address of a repository."""
        return f"http://{self.host}/{name}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for answers under way

    def __init__(self, owner: GitServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    timeout = 30
    server: _HttpServer

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.requests.append(self.path)
        owner.before(self.path)
        for prefix, target in owner.redirects.items():
            if self.path.startswith(prefix):
                self.send_response(302)
                self.send_header("Location", target + self.path.removeprefix(prefix))
                self.end_headers()
                return
        if owner.password is not None and self.headers.get("Authorization") != _basic(owner.password):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        self._run_backend()

    do_POST = do_GET  # noqa: N815 - the name is the library's

    def _run_backend(self) -> None:
        path, _, query = self.path.partition("?")
        environment = _ENVIRONMENT | {
            "GIT_PROJECT_ROOT": str(self.server.owner.directory),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(path),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.server.owner.protocol or self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        body = self._body()
        backend = subprocess.Popen(
            ["git", "http-backend"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with backend:
            assert backend.stdin is not None
            assert backend.stdout is not None
            try:
                backend.stdin.write(body)
                backend.stdin.close()
                self._answer(backend.stdout)
            except (BrokenPipeError, ConnectionResetError):  # the client has gone: so shall its backend
                backend.kill()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, output: BinaryIO) -> None:
        status, headers = 200, []
        while line := output.readline().strip():
            name, _, value = line.decode().partition(": ")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        while chunk := output.read1(65536):  # type: ignore[attr-defined]
            self.wfile.write(chunk)

    def log_message(self, *_: object) -> None:
        """Tests need no access log."""


def _basic(user_and_password: str) -> str:
    return "Basic " + base64.b64encode(user_and_password.encode()).decode()
