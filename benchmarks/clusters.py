"""B7, B8: Dask clusters: a new one, more workers, their memory, their end; what a task costs."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.clicks import click_launcher
from benchmarks.observe import Watch
from benchmarks.rounds import Contestant, interleave, say
from benchmarks.stage import NOTEBOOK, Stage
from benchmarks.stock_gateway import stock_gateway
from benchmarks.tables import Measurement
from tests.support.running import Session

LAUNCHER, LOCAL, STOCK = "launcher", "LocalCluster", "stock dask-gateway"
PLAIN = "LocalCluster, no dashboard"
_KINDS: dict[str, dict[str, Any]] = {
    LAUNCHER: {"kind": "launcher"},
    LOCAL: {"kind": "local", "dashboard": True},
    PLAIN: {"kind": "local", "dashboard": False},
    STOCK: {"kind": "stock"},
}
_CLIENT = Path(__file__).with_name("cluster_client.py")
_SECONDS = 180  # for one sample
_SETTLE_SECONDS = 1.5
_END_SECONDS = 30  # for the last process of a cluster that was told to end
_MEGABYTE = 1024 * 1024
_MARK = "BENCHMARK_SAMPLE"
_LEFT = "processes left"

# A process of its own for each sample: a client that hangs does not take the kernel with it.
_IN_KERNEL = """
import os, subprocess, sys
variables = {{**os.environ, {mark!r}: {sample!r}}}
command = [sys.executable, os.path.join(os.environ["REPO_DIR"], {client!r}), {order!r}]
try:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout={seconds})
    print(done.returncode, done.stderr[-1500:])
except subprocess.TimeoutExpired:
    print("no end within {seconds} s")
"""


def new_cluster(stage: Stage, starts: int, scales: int) -> Measurement:
    """B7: a new cluster until its first result, then 0 to 8 workers; memory and end of both."""
    result = Measurement("B7", "new Dask cluster, two workers of one thread: until the first result")
    result.units |= {"memory, 2 workers": "MB", "memory, 8 workers": "MB"}
    with _session(stage) as session:
        session.sample("start", LAUNCHER)  # once for nothing: whoever is first would warm the files for the others
        interleave(result, session.contestants("start", (LAUNCHER, LOCAL, PLAIN, STOCK)), starts, after=_settle)
        interleave(result, session.contestants("scale", (LAUNCHER, LOCAL, STOCK)), scales, after=_settle)
        result.failures += session.problems
    result.notes += [
        "All from one session, with its Python and packages, each in a fresh process that has imported everything.",
        "Both gateways, their proxies and their databases run before; clusters encrypt (TLS), LocalCluster does not.",
        "The launcher's clusters run in the sandbox; stock's outside of any, LocalCluster's in the session's.",
        "cluster object: new_cluster() has returned, no worker yet; LocalCluster() returns with its workers.",
        "memory: Pss of all that is there with the cluster and was not before, what the client grew by included.",
        "processes gone: from the order to end the cluster until its last process has ended, seen from outside.",
        f"{PLAIN}: the launcher loads a dashboard when somebody looks at it, the two others at once.",
    ]
    return result


def task_overhead(stage: Stage, repeats: int) -> Measurement:
    """B8: tasks that do nothing, on two workers."""
    result = Measurement("B8", "overhead of a Dask task that does nothing, two workers of one thread")
    for count in (1000, 10000):
        result.units |= {f"{count} tasks, each": "µs", f"{count} tasks, rate": "1/s"}
    result.units |= {"one task alone, p50": "ms", "one task alone, p99": "ms"}
    with _session(stage) as session:
        interleave(result, session.contestants("tasks", (LAUNCHER, LOCAL, STOCK)), repeats, after=_settle)
    result.notes += [
        "One alone: submit until its result is here, 300 in a row. Many: client.map until all results are here.",
        "Of a rate, more is better: there a ratio above 1 is for the launcher.",
    ]
    return result


def _settle() -> None:
    """What a contestant still does after its sample is not to be on the clock of the next one."""
    time.sleep(_SETTLE_SECONDS)


@contextmanager
def _session(stage: Stage) -> Iterator[DaskSession]:
    """A session with Dask, and a stock gateway whose clusters run the same environment."""
    files = {"requirements.txt": "dask\n", "index.ipynb": NOTEBOOK % 0, _CLIENT.name: _CLIENT.read_text()}
    name = f"dask-{uuid.uuid4().hex[:8]}"
    _, spec = stage.repository(name, files)
    hub = stage.launcher
    person = stage.person(hub, 0)
    say("  builds an environment with Dask")
    url = click_launcher(hub, person, spec, Watch())
    [python] = [
        path
        for path in stage.directory.glob("state/environments/*/venv/bin/python")
        if list(path.parents[1].glob("lib/python*/site-packages/distributed"))
    ]
    with stock_gateway(stage.directory / name, python) as addresses:
        yield DaskSession(Session(url, person.token), addresses)
    hub.stop_everything()


@dataclass
class DaskSession:
    """Takes samples in a session."""

    session: Session
    stock: dict[str, str]
    problems: list[str] = field(default_factory=list)
    """What went wrong after the values of a sample were there."""

    def contestants(self, job: str, names: tuple[str, ...]) -> dict[str, Contestant]:
        """These peers, doing this."""

        def contestant(name: str) -> Contestant:
            return lambda _turn: self.sample(job, name)

        return {name: contestant(name) for name in names}

    def sample(self, job: str, name: str) -> dict[str, float]:
        """One sample. RuntimeError with what the client said when it failed."""
        mark = uuid.uuid4().hex
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
            listener.settimeout(0.5)
            order = {"job": job, **_KINDS[name], "observer": listener.getsockname(), "stock": self.stock}
            code = _IN_KERNEL.format(
                mark=_MARK, sample=mark, client=_CLIENT.name, order=json.dumps(order), seconds=_SECONDS
            )
            running = pool.submit(self.session.run, code, seconds=_SECONDS + 30)
            try:
                values = _follow(listener, mark, running)
            finally:
                said = running.result(_SECONDS + 60)
        if values is None:
            raise RuntimeError(f"the client ended: {said[-600:]}")
        left = int(values.pop(_LEFT, 0))
        if left:
            self.problems.append(f"{name}, {job}: {left} processes still ran {_END_SECONDS} s after the end")
        return values


def _follow(listener: socket.socket, mark: str, running: Future[str]) -> dict[str, float] | None:
    """Look whenever the client says so; its values with ours, or None when it ended before it had any."""
    connection = None
    while connection is None:
        if running.done():
            return None
        with suppress(TimeoutError):
            connection, _ = listener.accept()
    connection.settimeout(_SECONDS)
    with connection, connection.makefile("rw") as line, ThreadPoolExecutor(1) as pool:
        look = _Look(mark, pool)
        for text in line:
            word: dict[str, Any] = json.loads(text)
            if "values" in word:
                return {**word["values"], **look.seen()}
            look.at(word["look"], word["cluster"])
            line.write("\n")
            line.flush()
    return None


class _Look:
    """What is seen of one sample from outside."""

    def __init__(self, mark: str, pool: ThreadPoolExecutor) -> None:
        self._mark = mark
        self._pool = pool
        self._before = 0.0
        self._values: dict[str, float] = {}
        self._processes: list[psutil.Process] = []
        self._end: Future[float] | None = None

    def at(self, name: str, cluster: str) -> None:
        """Look at the memory, or from now on for the end."""
        if name == "end":
            self._processes = _cluster_processes(self._mark, cluster)
            self._end = self._pool.submit(_seconds_to_end, self._processes)
            return
        time.sleep(_SETTLE_SECONDS)
        total = _pss_megabytes([*_marked(self._mark), *_marked(cluster)])
        if name == "before":
            self._before = total
        else:
            self._values[name] = total - self._before

    def seen(self) -> dict[str, float]:
        """All of it; waits for the end. What does not end is killed, so that it disturbs no later sample."""
        if self._end is None:
            return self._values
        seconds = self._end.result()
        left = [process for process in self._processes if _runs(process)]
        if left:
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            return {**self._values, _LEFT: len(left)}
        size = ", 8 workers" if "memory, 8 workers" in self._values else ""
        return {**self._values, f"processes gone{size}": seconds}


def _marked(mark: str) -> list[psutil.Process]:
    """Every process with these characters in its environment, whatever sandbox it is in."""
    if not mark:
        return []
    needle, found = mark.encode(), []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError, psutil.Error):  # it ended, or it is not ours to look at
            if needle in (entry / "environ").read_bytes():
                found.append(psutil.Process(int(entry.name)))
    return found


def _cluster_processes(mark: str, cluster: str) -> list[psutil.Process]:
    """Without the client, and the helper that its multiprocessing keeps until it ends."""
    processes = set(_marked(mark)) | set(_marked(cluster))
    found = []
    for process in processes:
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            ours = mark.encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
            if not (ours and (_CLIENT.name in words or "resource_tracker" in words)):
                found.append(process)
    return found


def _seconds_to_end(processes: list[psutil.Process]) -> float:
    """Seconds until all have ended, or until patience has."""
    began = time.monotonic()
    left = processes
    while (left := [process for process in left if _runs(process)]) and time.monotonic() - began < _END_SECONDS:
        time.sleep(0.005)
    return time.monotonic() - began


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _pss_megabytes(processes: list[psutil.Process]) -> float:
    """Of all of them; one that ended while we looked has none."""
    total = 0
    for process in set(processes):
        with suppress(OSError, StopIteration), Path(f"/proc/{process.pid}/smaps_rollup").open() as lines:
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024 / _MEGABYTE
