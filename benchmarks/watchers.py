"""B5: many people watch one build's log."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests

from benchmarks.naive_server import LINES
from benchmarks.observe import cpu_seconds, events
from benchmarks.rounds import Contestant, interleave
from benchmarks.stage import WATCHER_NAMES, Stage
from benchmarks.tables import Measurement, percentile
from tests.support.git_server import commit
from tests.support.running import ROOT

LAUNCHER, NAIVE = "launcher", "write-per-line server"
_LINES_PER_SECOND = 20
_BUILD_SECONDS = 240  # the build talks for longer than any window; it is cancelled when the window is over
_WINDOW_SECONDS = 5
_PATIENCE_SECONDS = 3
_STREAMS_PER_PERSON = 25
_KILOBYTE = 1024


@dataclass(frozen=True)
class Stream:
    """Where watchers connect, and the process that serves them; ``resident``: its memory before it had any."""

    url: str
    tokens: Sequence[str]
    pid: int
    resident: int


def watchers(stage: Stage, counts: Sequence[int], repeats: int) -> Measurement:
    """The lag of lines, and what watchers cost the process that serves them, for each number of watchers."""
    result = Measurement("B5", f"watchers of one build log, {_LINES_PER_SECOND} lines a second")
    build = _Build(stage)
    for count in counts:
        names = _quantities(count)
        result.units |= {names["cpu"]: "CPU s/s", names["memory"]: "KB", names["missing"]: "%"}
        contestants: dict[str, Contestant] = {
            LAUNCHER: lambda turn, count=count: _sample(build.stream(count, turn), count),  # type: ignore[misc]
            NAIVE: lambda _turn, count=count: _sample(_naive(stage), count),  # type: ignore[misc]
        }
        interleave(result, contestants, repeats)
    late = _WINDOW_SECONDS + _PATIENCE_SECONDS
    result.notes += [
        "Lag: from the time printed in the line inside the build to its arrival. The launcher batches 100 ms.",
        f"Too late: not there {_PATIENCE_SECONDS} s after the window; counted as a lag of {late} s.",
        "Watchers ask the service itself, without the hub's proxy, as they ask the peer.",
    ]
    return result


def _quantities(count: int) -> dict[str, str]:
    return {
        "p50": f"{count} watchers, lag p50",
        "p99": f"{count} watchers, lag p99",
        "missing": f"{count} watchers, lines too late",
        "cpu": f"{count} watchers, CPU",
        "memory": f"{count} watchers, RSS each",
    }


def _sample(stream: contextlib.AbstractContextManager[Stream], count: int) -> dict[str, float]:
    names = _quantities(count)
    with stream as served, _client() as client:
        address = urlsplit(served.url)
        order = {"host": address.hostname, "port": address.port, "path": address.path, "count": count}
        _tell(client, json.dumps({**order, "tokens": list(served.tokens), "patience": _PATIENCE_SECONDS}))
        _hear(client, "connected")
        time.sleep(1)  # the lines from before are told first, and are not what is measured
        began, used = time.monotonic(), cpu_seconds(served.pid)
        _tell(client, "start")
        time.sleep(_WINDOW_SECONDS)
        _tell(client, "stop")
        used = (cpu_seconds(served.pid) - used) / (time.monotonic() - began)
        memory = _resident(served.pid) - served.resident
        told = json.loads(_hear(client))
    if told["lost"]:
        raise RuntimeError(f"{told['lost']} watchers were dropped")
    lags, missing = told["lags"], _missing(told)
    lags += [_WINDOW_SECONDS + _PATIENCE_SECONDS] * missing
    return {
        names["p50"]: percentile(lags, 0.5),
        names["p99"]: percentile(lags, 0.99),
        names["missing"]: 100 * missing / len(lags),
        names["cpu"]: used,
        names["memory"]: memory / count / _KILOBYTE,
    }


def _missing(told: dict[str, Any]) -> int:
    """Lines of the window that sampled watchers did not get; one for each watcher may lie on the window's edge."""
    expected = _LINES_PER_SECOND * _WINDOW_SECONDS * int(told["sampled"])
    missing = expected - len(told["lags"])
    return missing if missing > told["sampled"] else 0


@contextlib.contextmanager
def _client() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.watch_client"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str], expected: str | None = None) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line or (expected is not None and line != expected):
        raise RuntimeError(f"the watchers' process said {line!r}")
    return line


@contextlib.contextmanager
def _naive(stage: Stage) -> Iterator[Stream]:
    del stage
    command = [sys.executable, "-m", "benchmarks.naive_server", str(_LINES_PER_SECOND), str(_BUILD_SECONDS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        talker = []
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            talker = psutil.Process(process.pid).children()
            yield Stream(f"http://127.0.0.1:{port}/events", ["none"], process.pid, _resident(process.pid))
        finally:
            process.kill()
            for child in talker:
                with contextlib.suppress(psutil.NoSuchProcess):  # it ends by itself when nobody reads
                    child.kill()


def _resident(pid: int) -> int:
    return int(psutil.Process(pid).memory_info().rss)


def _listener(pid: int, port: int | None) -> int:
    """The process that listens on the port, in the family of the one that the hub started."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        sockets = process.net_connections("tcp")
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets):
            return process.pid
    raise RuntimeError(f"nobody of the service's processes listens on port {port}")


class _Build:
    """Builds on the launcher whose postBuild prints lines; each is a new one."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.hub = stage.launcher
        files = {"postBuild": f"#!/bin/sh\nexec python3 -u lines.py {_LINES_PER_SECOND} {_BUILD_SECONDS}\n"}
        self.path, self.spec = stage.repository("b5", {**files, "lines.py": LINES.read_text()})
        self.tokens = [self.hub.person(name).token for name in WATCHER_NAMES]
        service = self.hub.api("GET", "/services/binder").json()
        self.service_url = service["url"]
        self._resident = 0
        self.service_pid = _listener(service["pid"], urlsplit(service["url"]).port)

    @contextlib.contextmanager
    def stream(self, count: int, turn: int) -> Iterator[Stream]:
        """A build that talks already, until the end of the block."""
        commit(self.path, {"round.txt": f"{count} {turn} {time.time()}\n"})
        build = self._start()
        people = -(-count // _STREAMS_PER_PERSON)
        try:
            path = f"/services/binder/api/v1/builds/{build}/events"
            yield Stream(self.service_url + path, self.tokens[:people], self.service_pid, self._before())
            if (status := self._status(build)) != "running":
                raise RuntimeError(f"the build ended while it was watched: {status}")
        finally:
            self._cancel(build)

    def _before(self) -> int:
        """The service's memory with a build and no watchers, as it was the first time: what is freed is used again."""
        self._resident = self._resident or _resident(self.service_pid)
        return self._resident

    def _cancel(self, build: str) -> None:
        """End a build and wait for its end: until then, asking for the same repository joins it."""
        headers = {"Authorization": f"token {self.hub.admin_token}"}
        address = f"{self.hub.url}services/binder/api/v1/builds/{build}"
        requests.delete(address, headers=headers, timeout=60).raise_for_status()
        deadline = time.monotonic() + 60
        while self._status(build) in {"waiting", "running"}:
            if time.monotonic() > deadline:
                raise TimeoutError("a cancelled build did not end")
            time.sleep(0.1)
        time.sleep(1)  # the launch around it ends, too

    def _status(self, build: str) -> str:
        return str(self.hub.service(f"api/v1/builds/{build}").json()["build"]["status"])

    def _start(self) -> str:
        """Ask for the build; its id as soon as its first line of ours is there."""
        headers = {"Authorization": f"token {self.hub.admin_token}", "Accept": "text/event-stream"}
        address = f"{self.hub.url}services/binder/build/{self.spec}"
        query = {"build_only": "true"}
        with requests.get(address, headers=headers, params=query, stream=True, timeout=120) as answer:
            answer.raise_for_status()
            for event in events(answer):
                if event.get("phase") == "failed":
                    raise RuntimeError(f"the build failed: {event}")
                if " line 0000" in str(event.get("message", "")):
                    return str(event["build_id"])
        raise RuntimeError("the build said nothing")
