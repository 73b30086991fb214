"""The first program of a Dask cluster: imports Dask once and forks scheduler and workers.

``python nursery.py cluster.json`` with the session's Python; reads of the cluster file::

    scheduler     list: arguments of ``dask scheduler``
    orders        number of the descriptor on which orders are accepted, a listening SOCK_SEQPACKET
    session_lock, patience_seconds, gateway_patience_seconds   see `scheduler_service`

One packet is one JSON object. Orders are ``{"start": name, "arguments": […], "memory_bytes": n}`` with the descriptor
of the worker's log, ``{"stop": name}`` and ``{"end": true}``. Said are ``{"running": […]}`` to whoever connects,
``{"started": name}``, ``{"failed": name}`` and ``{"ended": [name, wait status]}`` for what was not asked to end.

What was imported is shared between the processes, so that one more worker costs a fork. There is no nanny: what ends
is told, the gateway decides.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

SCHEDULER = "scheduler"
NO_DASK, NO_GATEWAY_CLIENT, BROKEN_DASK = 81, 82, 83  # exit statuses that the runtime has sentences for
_MISSING = {"dask": NO_DASK, "distributed": NO_DASK, "dask_gateway": NO_GATEWAY_CLIENT}
_MODULES = ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "dask_gateway.scheduler_preload")
# without --host it would listen on every interface of the machine
_WORKER = ("--host", "127.0.0.1", "--no-nanny", "--no-dashboard", "--death-timeout", "60")
_SCHEDULER = ("--no-dashboard",)  # it comes when somebody looks, see `scheduler_service`
_ALLOWANCE = 256 * 1024 * 1024  # bytes; an idle worker has 90 MB, half of it shared, and 8 MB for each thread's stack
_LARGEST_ORDER = 64 * 1024
_PATIENCE = 2  # seconds between a request to end and the end


class Child(NamedTuple):
    """A process to be: what it runs, and where its output goes (None: where ours goes)."""

    name: str
    arguments: list[str]
    memory_bytes: int = 0
    log: int | None = None


class Nursery:
    """The loop that forks. It returns in every process: in a child with the `Child` to be, in ours with a status."""

    def __init__(self, listener: socket.socket) -> None:
        self.selector = selectors.DefaultSelector()
        self.listener = listener
        self.connection: socket.socket | None = None
        self.running: dict[int, str] = {}
        self.asked: set[str] = set()
        self.deadlines: dict[int, float] = {}
        self.untold: list[tuple[str, int]] = []
        self.wake, told = socket.socketpair()
        for one in (listener, self.wake, told):
            one.setblocking(False)
            os.set_inheritable(one.fileno(), False)
        self.told = told
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        self.selector.register(listener, selectors.EVENT_READ)
        self.selector.register(self.wake, selectors.EVENT_READ)

    def serve(self, scheduler: Child) -> Child | int:
        """Fork the scheduler, then do what is ordered until it ends."""
        if self._fork(scheduler):
            return scheduler
        while True:
            for key, _ in self.selector.select(self._pause()):
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj is self.wake:
                    self.wake.recv(4096)
                else:
                    child = self._order()
                    if child is not None:
                        return child
            self._kill_late()
            status = self._reap()
            if status is not None:
                self._kill_all()
                return status

    def _fork(self, child: Child) -> bool:
        """Start a process; true in it. OSError when the machine has no room for one."""
        pid = os.fork()
        if pid == 0:
            return True
        self.running[pid] = child.name
        if child.log is not None:
            os.close(child.log)
        return False

    def _accept(self) -> None:
        """Listen to the youngest connection only: a gateway that was started again."""
        connection, _ = self.listener.accept()
        self._hang_up()
        connection.setblocking(False)
        self.connection = connection
        self.selector.register(connection, selectors.EVENT_READ)
        self._say({"running": sorted(self.running.values())})
        untold, self.untold = self.untold, []
        for name, status in untold:
            self._tell_end(name, status)

    def _hang_up(self) -> None:
        if self.connection is not None:
            self.selector.unregister(self.connection)
            self.connection.close()
            self.connection = None

    def _say(self, message: dict[str, Any]) -> bool:
        """Tell whoever listens; whether somebody does."""
        if self.connection is None:
            return False
        try:
            self.connection.send(json.dumps(message).encode())
        except OSError:  # gone, or it does not read: it will connect again
            self._hang_up()
            return False
        return True

    def _order(self) -> Child | None:
        """Take one order; in a new process the child to be."""
        if self.connection is None:
            return None
        log: int | None = None
        try:
            data, extra, _, _ = self.connection.recvmsg(_LARGEST_ORDER, socket.CMSG_SPACE(4))
        except BlockingIOError:
            return None
        except OSError:
            data, extra = b"", []
        for level, kind, payload in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                log = int(struct.unpack("i", payload[:4])[0])
        if not data:
            self._hang_up()
            return None
        order = json.loads(data)
        if "start" in order:
            return self._start(Child(order["start"], order["arguments"], order["memory_bytes"], log))
        for pid, name in self.running.items():
            if name == (SCHEDULER if "end" in order else order.get("stop")):
                self._ask_to_end(pid, name)
        return None

    def _start(self, child: Child) -> Child | None:
        if child.name not in self.running.values():
            try:
                if self._fork(child):
                    return child
            except OSError as error:
                print(f"nursery: {error}", file=sys.stderr)  # noqa: T201 - the scheduler's log
                self._say({"failed": child.name})
                return None
        self._say({"started": child.name})
        return None

    def _ask_to_end(self, pid: int, name: str) -> None:
        self.asked.add(name)
        self.deadlines.setdefault(pid, time.monotonic() + _PATIENCE)
        os.kill(pid, signal.SIGTERM)

    def _pause(self) -> float | None:
        return max(min(self.deadlines.values()) - time.monotonic(), 0) if self.deadlines else None

    def _kill_late(self) -> None:
        for pid in [pid for pid, when in self.deadlines.items() if when <= time.monotonic()]:
            del self.deadlines[pid]
            if pid in self.running:
                os.kill(pid, signal.SIGKILL)

    def _kill_all(self) -> None:
        """Without a scheduler nobody has work or a use."""
        for pid in self.running:
            for kill in (os.killpg, os.kill):  # one that was just forked has no group of its own yet
                with contextlib.suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)

    def _reap(self) -> int | None:
        """Note what has ended; our own exit status when it was the scheduler."""
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            self.deadlines.pop(pid, None)
            name = self.running.pop(pid, None)
            if name is None:
                continue
            with contextlib.suppress(ProcessLookupError):  # programs that its tasks started and left behind
                os.killpg(pid, signal.SIGKILL)
            if name == SCHEDULER:
                return 0 if name in self.asked else _exit_status(status)
            if name in self.asked:
                self.asked.discard(name)
            else:
                self._tell_end(name, status)
        return None

    def _tell_end(self, name: str, status: int) -> None:
        if not self._say({"ended": [name, status]}):
            self.untold.append((name, status))

    def release(self) -> None:
        """In a child: nothing of the nursery is left."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.selector.close()
        for one in (self.listener, self.wake, self.told, self.connection):
            if one is not None:
                one.close()


def _exit_status(status: int) -> int:
    """As a shell has it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _import_dask() -> int:
    """Import everything the processes will need; an exit status when that fails, which is said in the log."""
    gc.disable()
    try:
        for name in _MODULES:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(f"The environment of this session cannot run Dask: {error}.", file=sys.stderr)  # noqa: T201
        return _MISSING.get((error.name or "").split(".")[0], BROKEN_DASK)
    except Exception as error:  # noqa: BLE001 - code of the environment may fail in any way
        print(f"The environment of this session cannot run Dask: {error!r}", file=sys.stderr)  # noqa: T201
        return BROKEN_DASK
    gc.enable()
    gc.freeze()  # so that the collector does not touch, and thereby copy, what children share
    return 0


def _load(name: str) -> ModuleType:
    """A module of ours beside this file, under a name that no module of the environment has."""
    specification = importlib.util.spec_from_file_location(
        f"_launcher_{name}", Path(__file__).resolve().with_name(f"{name}.py")
    )
    if specification is None or specification.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def _become(child: Child, cluster: dict[str, Any]) -> None:
    """Run scheduler or worker in this process until it ends."""
    os.setsid()
    if child.log is not None:
        for standard in (1, 2):
            os.dup2(child.log, standard)
        os.close(child.log)
    guard = _load("guard")
    guard.install(os.environ["DASK_GATEWAY_API_TOKEN"])
    if child.name == SCHEDULER:
        service = _load("scheduler_service")
        service.configure(cluster, _load("lock").is_held)
        command = importlib.import_module("distributed.cli.dask_scheduler").main
        arguments = [*_SCHEDULER, *child.arguments]
        # after the gateway's own preload, in front of its options
        place = arguments.index("dask_gateway.scheduler_preload") + 1
        arguments[place:place] = ["--preload", service.__name__]
    else:
        limit = child.memory_bytes + _ALLOWANCE
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        command = importlib.import_module("distributed.cli.dask_worker").main
        arguments = [*_WORKER, *child.arguments]
    command(args=arguments, prog_name=f"dask {'scheduler' if child.name == SCHEDULER else 'worker'}")


def main(cluster_file: str) -> int:
    """Serve until the scheduler ends."""
    del sys.path[0]  # our folder: its module names must not shadow anybody's
    cluster: dict[str, Any] = json.loads(Path(cluster_file).read_bytes())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    status = _import_dask()
    if status:
        return status
    content = os.environ.get("REPO_DIR", "")
    if content and Path.cwd() == Path(content).resolve():
        sys.path.append(content)  # last: nothing of the repository stands in for what Dask imports
    nursery = Nursery(socket.socket(fileno=cluster["orders"]))
    outcome = nursery.serve(Child(SCHEDULER, [str(one) for one in cluster["scheduler"]]))
    if isinstance(outcome, int):
        return outcome
    nursery.release()
    _become(outcome, cluster)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
