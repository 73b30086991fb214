"""A running cluster as the gateway sees it: its sandbox, and the line to its nursery.

What comes over the line was said by a process in which the person's code runs: it is data, and checked.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from launcher.dask.base import SCHEDULER, ProcessEnded, WorkerOrder
from launcher.dask.nurseries.places import Place, short_path
from launcher.dask.nurseries.sandbox import ClusterSandbox
from launcher.errors import ClusterStartFailed

_LARGEST_WORD = 64 * 1024
_ANSWER_SECONDS = 30.0
_POLITE_SECONDS = 2.0
_PROCESS = re.compile(rf"{SCHEDULER}|[0-9a-f]{{1,64}}")
_HINT = "Add dask, distributed and dask-gateway to the packages that the repository asks for."
_REASONS = {
    81: "The environment of this session has no dask and distributed packages, so it cannot run a cluster.",
    82: "The environment of this session has no dask-gateway package, so it cannot run a cluster.",
    83: "The Dask packages of this session's environment cannot be imported; the scheduler's log says why.",
}
"""Exit statuses of `launcher.hub.inside.nursery`."""


def listening_socket(place: Place) -> socket.socket:
    """The socket on which a nursery to be will take orders; who connects now is answered later."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    with short_path(place.orders) as path:
        listener.bind(path)
    listener.listen(8)
    return listener


class Nursery:
    """One running cluster. ``on_end`` hears of every process that ended without being asked to.

    OSError when its sandbox has ended already.
    """

    def __init__(
        self, cluster: str, sandbox: ClusterSandbox, place: Place, on_end: Callable[[ProcessEnded], None]
    ) -> None:
        self.cluster = cluster
        self.running: set[str] = set()
        self.stopping = False
        self._sandbox = sandbox
        self._place = place
        self._on_end = on_end
        self._answers: dict[str, asyncio.Future[bool]] = {}
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int | None] = loop.create_future()
        self._hello: asyncio.Future[None] = loop.create_future()
        self._line: socket.socket | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._watched: int | None = os.pidfd_open(sandbox.pid)
        loop.add_reader(self._watched, self._on_exit)

    def connect(self) -> None:
        """Open the line. OSError when nobody can be there."""
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        line.setblocking(False)
        try:
            with short_path(self._place.orders) as path:
                line.connect(path)
        except OSError:
            line.close()
            raise
        self._line = line
        asyncio.get_running_loop().add_reader(line, self._on_word)

    async def hello(self, *, seconds: float = 2 * _ANSWER_SECONDS) -> None:
        """Wait until the scheduler runs. Raises ClusterStartFailed when it never will, or not within this time."""
        await self._either(self._hello, seconds=seconds)
        await self._sandbox.look_inside()
        if self.ended.done():
            raise ClusterStartFailed(self.reason, hint=_HINT if self.ended.result() in _REASONS else "Try again.")
        if not self._hello.done():
            raise ClusterStartFailed("The scheduler did not start in time.", hint="Try again.")

    @property
    def reason(self) -> str:
        """Why the cluster has ended."""
        status = self.ended.result() if self.ended.done() else None
        if status is None:
            return "The cluster's processes have ended."
        if status in _REASONS:
            return _REASONS[status]
        if status == -signal.SIGKILL:
            return "The cluster's processes were killed."
        return f"The scheduler ended by itself (exit status {status}); its log says more."

    async def start(self, worker: WorkerOrder, log: int) -> bool:
        """Fork a worker with its output going to a descriptor; whether that was possible."""
        answer = self._answers.setdefault(worker.name, asyncio.get_running_loop().create_future())
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", log))]
        order = {"start": worker.name, "arguments": list(worker.arguments), "memory_bytes": worker.memory_bytes}
        started = False
        try:
            await self._sandbox.admit(worker)
            self._order(order, rights)
            await self._either(answer, seconds=_ANSWER_SECONDS)
            started = answer.done() and answer.result()
        finally:
            self._answers.pop(worker.name, None)
            if not started:
                self._sandbox.dismiss(worker.name)
        return started

    def stop(self, worker: str) -> None:
        """Ask a worker to end; the nursery sees to it that it does."""
        self._sandbox.dismiss(worker)
        self._order({"stop": worker})

    def is_port(self, port: int) -> bool:
        """Whether a port of our loopback can be this cluster's."""
        return self._sandbox.is_port(port)

    async def end(self) -> None:
        """End everything: with a word to the scheduler, then for certain. Returns when nothing of it runs."""
        self.stopping = True
        await self._sandbox.look_inside()
        if not self.ended.done():
            with suppress(OSError):  # nobody listens: killed, then
                self._order({"end": True})
                await asyncio.wait({self.ended}, timeout=_POLITE_SECONDS)
        if not self.ended.done():
            await self._sandbox.kill()
        await asyncio.wait({self.ended}, timeout=_ANSWER_SECONDS)
        await self._sandbox.clear()
        self.close()

    def close(self) -> None:
        """Let go of it; it runs on."""
        self._hang_up()
        self._unwatch()
        if self._leaving is not None:
            self._leaving.cancel()
        self._sandbox.release()
        for answer in self._answers.values():
            answer.cancel()

    async def _either(self, awaited: asyncio.Future[Any], *, seconds: float) -> None:
        """Wait for an answer, the end of the cluster, or the end of patience."""
        waited: set[asyncio.Future[Any]] = {awaited, self.ended}
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    def _order(self, order: dict[str, Any], rights: Any = ()) -> None:
        """Send one order. OSError when the line is broken."""
        if self._line is None:
            self.connect()
        if self._line is not None:
            self._line.sendmsg([json.dumps(order).encode()], rights)

    def _on_word(self) -> None:
        """Take what the nursery says."""
        try:
            data = self._line.recv(_LARGEST_WORD) if self._line is not None else b""
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        # whatever else it says is not one of its words
        with suppress(ValueError, TypeError, KeyError, OverflowError, RecursionError):
            self._understand(json.loads(data))

    def _understand(self, word: dict[str, Any]) -> None:
        if "running" in word:
            self.running = {name for name in word["running"] if _PROCESS.fullmatch(name)}
            if not self._hello.done():
                self._hello.set_result(None)
        elif "started" in word or "failed" in word:
            worker = word.get("started") or word["failed"]
            answer = self._answers.get(worker)
            if answer is not None and not answer.done():
                answer.set_result("started" in word)
                self.running |= {worker} if "started" in word else set()
        elif "ended" in word:
            name, status = word["ended"]
            if _PROCESS.fullmatch(name) and name != SCHEDULER:
                self.running.discard(name)
                self._sandbox.dismiss(name)
                if not self.stopping:
                    self._on_end(ProcessEnded(self.cluster, name, _reason_of_worker(int(status))))

    def _on_exit(self) -> None:
        """The outermost process has ended, and everything with it."""
        self._unwatch()
        self._hang_up()
        self.running = set()
        self._leaving = asyncio.create_task(self._leave(), name=f"end of cluster {self.cluster}")

    async def _leave(self) -> None:
        status: int | None = None
        try:
            status = await self._sandbox.ended()
        finally:
            if not self.ended.done():
                self.ended.set_result(status)

    def _hang_up(self) -> None:
        if self._line is not None:
            asyncio.get_running_loop().remove_reader(self._line)
            self._line.close()
            self._line = None

    def _unwatch(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = None


def _reason_of_worker(status: int) -> str:
    """A wait status as a sentence."""
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return "The worker was killed, most likely because the machine ran out of memory."
    if os.WIFSIGNALED(status):
        return f"The worker crashed ({signal.Signals(os.WTERMSIG(status)).name}); its log says more."
    return f"The worker ended by itself (exit status {os.waitstatus_to_exitcode(status)}); its log says more."
