"""A whole launcher as a stranger runs it: ``launcher up`` in a process of its own, driven through its public doors."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import psutil
import requests
import websocket

ROOT = Path(__file__).resolve().parents[2]
HUB5_PYTHON = ROOT / ".venv-hub5" / "bin" / "python"
SERVER_ENVIRONMENTS = {
    "hub6": ROOT / ".tools" / "server-environment",
    "hub5": ROOT / ".tools" / "server-environment-hub5",
}
PYTHONS = {"hub6": Path(sys.executable), "hub5": HUB5_PYTHON}


def eventually(condition: Callable[[], object], *, seconds: float = 30, what: str = "the condition") -> object:
    """The first true value of ``condition``; fails the test after ``seconds``."""
    deadline = time.monotonic() + seconds
    pause = 0.02
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    raise AssertionError(f"{what} did not come true within {seconds} seconds")


def git_spec(url: str, ref: str = "HEAD") -> str:
    return f"git/{quote(url, safe='')}/{ref}"


@dataclass
class Session:
    """A running session, reached with a token of the Hub."""

    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}

    def get(self, path: str, **options) -> requests.Response:
        return requests.get(self.url + path, headers=self.headers, timeout=30, **options)

    def read(self, path: str) -> str:
        answer = self.get(f"api/contents/{path}")
        answer.raise_for_status()
        return answer.json()["content"]

    def write(self, path: str, text: str) -> None:
        body = {"type": "file", "format": "text", "content": text}
        answer = requests.put(f"{self.url}api/contents/{path}", headers=self.headers, json=body, timeout=30)
        answer.raise_for_status()

    def run(self, code: str, *, seconds: float = 60) -> str:
        """Everything a fresh default kernel prints for the code; raises AssertionError with its traceback."""
        kernel = self._kernel()
        try:
            return self._execute(kernel, code, seconds)
        finally:
            requests.delete(f"{self.url}api/kernels/{kernel}", headers=self.headers, timeout=30)

    def begin(self, code: str) -> None:
        """Have a fresh default kernel run the code; returns when it has begun, and leaves the kernel running."""
        channel, message = self._send(self._kernel(), code, 60)
        try:
            while json.loads(channel.recv())["parent_header"].get("msg_id") != message:
                pass
        finally:
            channel.close()

    def _kernel(self) -> str:
        made = requests.post(f"{self.url}api/kernels", headers=self.headers, json={}, timeout=60)
        made.raise_for_status()
        return made.json()["id"]

    def _send(self, kernel: str, code: str, seconds: float) -> tuple[websocket.WebSocket, str]:
        """The kernel's channel, and the id of the message on it that has the code run."""
        address = f"ws{self.url.removeprefix('http')}api/kernels/{kernel}/channels"
        channel = websocket.create_connection(address, header=self.headers, timeout=seconds)
        message = uuid.uuid4().hex
        header = {"msg_id": message, "msg_type": "execute_request", "session": "test", "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        channel.send(json.dumps(request))
        return channel, message

    def _execute(self, kernel: str, code: str, seconds: float) -> str:
        channel, message = self._send(kernel, code, seconds)
        output = []
        try:
            while True:
                answer = json.loads(channel.recv())
                if answer["parent_header"].get("msg_id") != message:
                    continue
                kind, content = answer["msg_type"], answer["content"]
                if kind == "stream":
                    output.append(content["text"])
                elif kind == "execute_result":
                    output.append(content["data"]["text/plain"])
                elif kind == "error":
                    raise AssertionError("\n".join(content["traceback"]))
                elif kind == "status" and content["execution_state"] == "idle":
                    return "".join(output)
        finally:
            channel.close()


@dataclass
class RunningLauncher:
    """What ``launcher up --json`` said, and ways to use it."""

    url: str
    user: str
    token: str
    process: subprocess.Popen
    state: Path
    log: Path
    children: list[psutil.Process] = field(default_factory=list)

    @property
    def service(self) -> str:
        return f"{self.url}/services/binder/"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}

    def api(self, method: str, path: str, **options) -> requests.Response:
        return requests.request(method, f"{self.url}/hub/api{path}", headers=self.headers, timeout=60, **options)

    def stream(self, spec: str, *, token: str | None = None, seconds: float = 240, **query) -> Iterator[dict]:
        """The events of a launch, as examples/binder-api.py of BinderHub reads them."""
        headers = {"Accept": "text/event-stream", "Authorization": f"token {token or self.token}"}
        address = f"{self.service}build/{spec}"
        with requests.get(address, headers=headers, stream=True, timeout=seconds, params=query) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    yield event
                    if event.get("phase") in {"ready", "failed"}:
                        return

    def launch(self, spec: str, **query) -> tuple[Session, list[dict]]:
        events = list(self.stream(spec, **query))
        assert events, "the event stream was empty"
        assert events[-1]["phase"] == "ready", events[-1]
        return Session(events[-1]["url"], events[-1]["token"]), events

    def builds(self) -> list[dict]:
        """Every build so far, newest first."""
        answer = requests.get(f"{self.service}api/v1/builds", headers=self.headers, timeout=30)
        answer.raise_for_status()
        return answer.json()["builds"]

    def stop_sessions(self) -> None:
        """End every session, those that are still starting as soon as they have started."""

        def ended() -> bool:
            servers = self.api("GET", f"/users/{self.user}").json()["servers"]
            for name, server in servers.items():
                if not server["pending"]:
                    self.api("DELETE", f"/users/{self.user}/servers/{name}")
            return not servers

        eventually(ended, seconds=90, what="the end of every session")

    def path_of(self, session: Session) -> str:
        return urlsplit(session.url).path


def service_process(up: RunningLauncher) -> psutil.Process:
    """The process that does the work of the service: the youngest of the two with its command line."""
    found = []
    for process in psutil.Process(up.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if process.cmdline()[1:4] == ["-m", "launcher", "serve"]:
                found.append(process)
    return max(found, key=lambda process: process.pid)


def launcher_command(version: str, *arguments: str) -> list[str]:
    return [str(PYTHONS[version]), "-m", "launcher", *arguments]


def launcher_environment(version: str, **extra: str) -> dict[str, str]:
    python = PYTHONS[version]
    path = os.pathsep.join([str(ROOT / ".tools" / "node_modules" / ".bin"), str(python.parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "LAUNCHER_SERVER_ENVIRONMENT": str(SERVER_ENVIRONMENTS[version]), **extra}


@contextlib.contextmanager
def running_launcher(
    state: Path, *arguments: str, version: str = "hub6", environment: dict[str, str] | None = None
) -> Iterator[RunningLauncher]:
    """``launcher up --port 0 --json`` until the end of the block; afterwards none of its processes is left."""
    log = state.parent / f"{state.name}-up.log"
    command = launcher_command(version, "up", "--port", "0", "--state", str(state), "--json", *arguments)
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=launcher_environment(version, **(environment or {})),
            start_new_session=True,
        )
    try:
        line = process.stdout.readline()
        assert line, f"launcher up ended: {log.read_text()[-3000:]}"
        running = RunningLauncher(**json.loads(line), process=process, state=state, log=log)
        yield running
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        process.stdout.close()
        _, alive = psutil.wait_procs(family, timeout=20)
        left = [found for found in alive if found.is_running() and found.status() != psutil.STATUS_ZOMBIE]
        for survivor in left:
            survivor.kill()
        assert not left, f"still running after Ctrl-C: {left}"
