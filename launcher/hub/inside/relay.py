"""Joins a place where somebody asks to a place where somebody answers, byte for byte, for containers without network.

Both ends of a container use it: `container` as the container's first program, and, outside, as a program of its own::

    python relay.py '{"routes": [[LISTEN, TARGET], …], "until": PID, "lock": PATH, "held": [PATH, …]}'

A place is ``tcp:HOST:PORT`` or ``unix:PATH``. The program outside returns when every route listens and goes on in the
background, past the end of whoever started it, until the process PID has ended. ``lock`` is held as long as it runs;
when somebody holds it already, that one does the work. ``held`` are files that it shares a lock on meanwhile.

One thread and one event loop without any framework: there are two of these for every session, so memory counts.
"""

# ruff: noqa: PTH101, PTH108, PTH123
from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import resource
import selectors
import socket
import stat
import sys
import time

TYPE_CHECKING = False  # importing `typing` to learn that takes a tenth of this program's memory, and `pathlib` as much
if TYPE_CHECKING:
    from typing import IO, Callable, Iterable, Sequence

    _Event = Callable[[int], None]

CHUNK = 256 * 1024  # most bytes on their way in one direction of one connection
MOST_HELD = 16 * 2**20  # bytes on their way in all connections together, while nobody takes them
_LEAST = 4096  # what every direction may still hold then, so that all of them go on
MOST_CONNECTIONS = 256  # of one route; who comes later waits in the kernel's queue
PATIENCE = 10.0  # seconds in which a target may begin to listen
_PAUSE = 0.05  # seconds between two tries
_NOT_YET = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN})


class Relay:
    """An event loop that forwards connections."""

    def __init__(self) -> None:
        self.running = True
        self.held = 0
        """Bytes that were read and not yet all passed on."""
        self._selector = selectors.DefaultSelector()
        self._waiting: list[_Attempt] = []

    def listen(self, place: str, target: str) -> None:
        """Forward every connection at ``place`` to ``target``. OSError when nobody can listen there."""
        _Route(self, _listener(place), target)

    def watch(self, file: int | socket.socket, events: int, action: _Event) -> None:
        """Call ``action`` when the file is ready for one of the events; 0 stops watching it."""
        known = file in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(file)
        elif known:
            self._selector.modify(file, events, action)
        else:
            self._selector.register(file, events, action)

    def stop(self) -> None:
        """Let `run` return."""
        self.running = False

    def run(self) -> None:
        """Forward until `stop`."""
        while self.running:
            for key, events in self._selector.select(_PAUSE if self._waiting else None):
                key.data(events)
            self._try_again()

    def connect(self, attempt: _Attempt) -> None:
        """Join a connection to its target, now or as soon as somebody listens there."""
        if not attempt.succeeds(self):
            self._waiting.append(attempt)

    def _try_again(self) -> None:
        self._waiting = [attempt for attempt in self._waiting if not attempt.succeeds(self)]


class _Route:
    """A listener and where its connections go."""

    def __init__(self, relay: Relay, listener: socket.socket, target: str) -> None:
        self.target = target
        self._relay = relay
        self._listener = listener
        self._open = 0
        relay.watch(listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _: int) -> None:
        try:
            client, _address = self._listener.accept()
        except OSError:  # it went away before we came, or too many files are open
            time.sleep(_PAUSE)
            return
        self._open += 1
        if self._open >= MOST_CONNECTIONS:
            self._relay.watch(self._listener, 0, self._accept)
        self._relay.connect(_Attempt(client, self))

    def closed(self) -> None:
        """One of its connections has ended."""
        self._open -= 1
        self._relay.watch(self._listener, selectors.EVENT_READ, self._accept)


class _Attempt:
    """A connection that has no other end yet."""

    def __init__(self, client: socket.socket, route: _Route) -> None:
        self._client = client
        self._route = route
        self._until = time.monotonic() + PATIENCE

    def succeeds(self, relay: Relay) -> bool:
        """Whether there is nothing more to do: it is joined, or given up."""
        try:
            upstream = _connected(self._route.target)
        except OSError as error:
            if error.errno in _NOT_YET and time.monotonic() < self._until:
                return False
            self._client.close()
            self._route.closed()
            return True
        _Connection(relay, self._client, upstream, self._route.closed)
        return True


class _Flow:
    """One direction of a connection."""

    def __init__(self, relay: Relay, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.data = memoryview(b"")
        self.ended = False
        self._held = 0  # of what `data` is the rest of
        self._relay = relay

    @property
    def done(self) -> bool:
        """Whether everything was passed on, the goodbye too."""
        return self.ended and not self.data

    def read(self) -> None:
        """Take what there is and pass it on. OSError when an end is broken."""
        data = self.source.recv(max(_LEAST, min(CHUNK, MOST_HELD - self._relay.held)))
        if data:
            self.data = memoryview(data)
            self._held = len(data)
            self._relay.held += self._held
            self.write()
        else:
            self.ended = True
            self.sink.shutdown(socket.SHUT_WR)

    def write(self) -> None:
        """Pass on what the other end takes now."""
        with contextlib.suppress(BlockingIOError):
            while self.data:
                self.data = self.data[self.sink.send(self.data) :]
                if not self.data:
                    self.forget()

    def forget(self) -> None:
        """Hold nothing any more."""
        self._relay.held -= self._held
        self._held = 0
        self.data = memoryview(b"")


class _Connection:
    """Two joined sockets, until both have said goodbye or one of them breaks."""

    def __init__(self, relay: Relay, one: socket.socket, other: socket.socket, on_close: Callable[[], None]) -> None:
        self._relay = relay
        self._on_close = on_close
        self._flows = {one: _Flow(relay, one, other), other: _Flow(relay, other, one)}
        self._actions: dict[socket.socket, _Event] = {}
        for end in self._flows:
            end.setblocking(False)
            if end.family != socket.AF_UNIX:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._actions[end] = self._action(end)
        self._watch()

    def _action(self, end: socket.socket) -> _Event:
        def act(events: int) -> None:
            if end.fileno() == -1:  # closed in this same round
                return
            flow = self._flows[end]
            try:
                if events & selectors.EVENT_WRITE:
                    self._flows[flow.sink].write()
                if events & selectors.EVENT_READ and not flow.ended and not flow.data:
                    flow.read()
            except BlockingIOError:
                return
            except OSError:
                self._close()
                return
            self._watch()

        return act

    def _watch(self) -> None:
        if all(flow.done for flow in self._flows.values()):
            self._close()
            return
        for end, flow in self._flows.items():
            reads = selectors.EVENT_READ if not flow.ended and not flow.data else 0
            writes = selectors.EVENT_WRITE if self._flows[flow.sink].data else 0
            self._relay.watch(end, reads | writes, self._actions[end])

    def _close(self) -> None:
        for end, flow in self._flows.items():
            self._relay.watch(end, 0, self._actions[end])
            flow.forget()
            end.close()
        self._on_close()


def _listener(place: str) -> socket.socket:
    kind, _, address = place.partition(":")
    if kind == "tcp":
        host, _, port = address.rpartition(":")
        return socket.create_server((host, int(port)), backlog=128)
    directory, name = os.path.split(address)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(address)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:  # a socket's path may have 108 bytes, a directory's more
        listener.bind(f"/proc/self/fd/{folder}/{name}")
    finally:
        os.close(folder)
    os.chmod(address, 0o666)  # noqa: S103 - who may come here is decided by who sees the directory
    listener.listen(128)
    return listener


def _connected(target: str) -> socket.socket:
    """A connection to the target. OSError when there is none."""
    kind, _, address = target.partition(":")
    if kind == "tcp":
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)
    # The socket of a session is in a directory where the session's code can put a link to any other socket in its
    # place, such as the engine's: only a socket that is really there counts.
    descriptor = os.open(address, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENOTSOCK, "not a socket")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)  # a full queue is an answer, and no reason to stand still
            connection.connect(f"/proc/self/fd/{descriptor}")
        except OSError:
            connection.close()
            raise
    finally:
        os.close(descriptor)
    return connection


def start_in_background(routes: Iterable[Sequence[str]], until: int, lock: str, held: Iterable[str]) -> int:
    """Listen, and go on in a process of its own until the process ``until`` ends; returns the exit status."""
    locks = [_hold(lock, fcntl.LOCK_EX), *(_hold(path, fcntl.LOCK_SH) for path in held)]
    if locks[0] is None:
        return 0
    relay = Relay()
    for place, target in routes:
        relay.listen(place, target)
    watched = os.pidfd_open(until)
    if os.fork():
        return 0
    _let_go()
    relay.watch(watched, selectors.EVENT_READ, lambda _: relay.stop())
    relay.run()
    return 0


def _let_go() -> None:
    """Keep nothing of whoever started this."""
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _hold(path: str, kind: int) -> IO[bytes] | None:
    """The file with a lock on it, or None when somebody else has it."""
    file = open(path, "ab")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    try:
        sys.exit(start_in_background(asked["routes"], asked["until"], asked["lock"], asked["held"]))
    except OSError as error:
        print(f"relay: {error}", file=sys.stderr)  # noqa: T201 - whoever started it reads it
        sys.exit(1)
