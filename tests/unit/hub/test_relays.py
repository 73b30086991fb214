"""The relays between a container and this machine, with real sockets on both sides; no container is needed for that."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from launcher.errors import SessionStartFailed
from launcher.hub.container.relays import Way, inside_part, keep_open, make_doors, open_ways
from launcher.hub.inside import container
from launcher.hub.inside.relay import MOST_HELD
from tests.support.hub import free_port
from tests.support.running import eventually

BYTES = 8 * 2**20
FLOODS = 150


def answer(connection: socket.socket) -> None:
    """What a server does here: listens until the goodbye, and says it all back."""
    with connection:
        heard = b"".join(iter(lambda: connection.recv(2**20), b""))
        connection.sendall(heard)


def serve(listener: socket.socket, talk=answer) -> None:
    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def tcp(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(path))
    return connection


def echo(connection: socket.socket, data: bytes = b"hello") -> bytes:
    with connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(2**20), b""))


def relays_of(run: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("inside/relay.py") for word in words) and str(run) in words[-1]:
            found.append(process)
    return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]


class Container:
    """A process that stands for a container, with its ways opened."""

    def __init__(self, run: Path) -> None:
        self.run = run
        (run / "inside").mkdir()
        make_doors(run)
        self.process = subprocess.Popen(["sleep", "600"])
        self.hub = socket.create_server(("127.0.0.1", 0))
        self.port = free_port()
        self.ways = [
            Way.into("server", self.port, outside=run / "inside", inside=str(run / "inside")),
            Way.out("hub", 1, f"tcp:127.0.0.1:{self.hub.getsockname()[1]}", run=run),
        ]
        serve(self.hub)

    async def open(self) -> None:
        await open_ways(self.run, self.ways, pid=self.process.pid)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Container]:
    run = tmp_path / "run"
    run.mkdir()
    found = Container(run)
    yield found
    found.end()
    found.hub.close()
    eventually(lambda: not relays_of(run), what="the end of the relay")


def listen_inside(made: Container, talk=answer) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(made.run / "inside" / "server"))
    listener.listen()
    serve(listener, talk)
    return listener


async def test_much_goes_both_ways_and_half_closed_connections_are_not_closed(made: Container) -> None:
    await made.open()
    data = os.urandom(BYTES)
    with listen_inside(made):
        assert echo(tcp(made.port), data) == data
    assert echo(unix(made.run / "doors" / "hub"), data) == data


async def test_both_ends_may_talk_at_once_and_one_that_says_goodbye_first_still_hears_the_rest(made: Container) -> None:
    def flood(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"x" * BYTES)  # before it listens
            connection.shutdown(socket.SHUT_WR)
            heard.append(len(b"".join(iter(lambda: connection.recv(2**20), b""))))

    heard: list[int] = []
    await made.open()
    with listen_inside(made, flood), tcp(made.port) as client:
        sender = threading.Thread(target=client.sendall, args=(b"y" * BYTES,))
        sender.start()
        assert len(b"".join(iter(lambda: client.recv(2**20), b""))) == BYTES
        sender.join()
        client.shutdown(socket.SHUT_WR)
        eventually(lambda: heard, what="all that the client said")
    assert heard == [BYTES]


async def test_what_nobody_reads_takes_little_memory_and_the_others_go_on(made: Container) -> None:
    deaf: list[socket.socket] = []
    await made.open()
    (relay,) = relays_of(made.run)
    before = relay.memory_info().rss
    with listen_inside(made, deaf.append):
        clients = [tcp(made.port) for _ in range(FLOODS)]
        while any({client: _took_more(client) for client in clients}.values()):  # all of them get their turn
            pass
    (made.run / "inside" / "server").unlink()
    with listen_inside(made):
        assert echo(tcp(made.port), b"z" * BYTES) == b"z" * BYTES
    assert MOST_HELD / 2 < relay.memory_info().rss - before < MOST_HELD * 3 / 2
    for connection in (*clients, *deaf):
        connection.close()


def _took_more(connection: socket.socket) -> bool:
    """Whether anybody on the way still takes something."""
    connection.settimeout(0.005)
    with suppress(TimeoutError):
        return connection.send(b"x" * 2**20) > 0
    return False


async def test_a_connection_that_breaks_ends_at_both_ends_and_hurts_no_other(made: Container) -> None:
    ended = threading.Event()

    def listen(connection: socket.socket) -> None:
        with connection:
            while connection.recv(100):
                pass
        ended.set()

    await made.open()
    with listen_inside(made, listen), tcp(made.port) as other:
        with tcp(made.port) as client:
            client.sendall(b"begun")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset instead of goodbye
        assert ended.wait(20)
        other.sendall(b"still there")


async def test_a_server_that_listens_a_moment_later_is_waited_for(made: Container) -> None:
    await made.open()
    with tcp(made.port) as client:
        client.sendall(b"early")
        client.shutdown(socket.SHUT_WR)
        with listen_inside(made):
            assert client.recv(100) == b"early"


async def test_a_link_in_place_of_a_session_s_socket_leads_nowhere(made: Container, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(tmp_path / "engine"))
        engine.listen()
        (made.run / "inside" / "server").symlink_to(tmp_path / "engine")
        await made.open()
        with suppress(OSError):  # it may be over before all is said
            assert echo(tcp(made.port)) == b""
        engine.setblocking(False)
        with pytest.raises(BlockingIOError):
            engine.accept()


async def test_it_ends_with_the_container(made: Container) -> None:
    await made.open()
    assert len(relays_of(made.run)) == 1
    made.end()
    eventually(lambda: not relays_of(made.run), what="the end of the relay")
    with pytest.raises(ConnectionRefusedError):
        tcp(made.port)


async def test_one_that_was_killed_is_started_again_and_one_that_runs_is_left_alone(made: Container) -> None:
    await made.open()
    await keep_open(made.run)
    (relay,) = relays_of(made.run)
    relay.send_signal(signal.SIGKILL)
    eventually(lambda: not relays_of(made.run), what="the relay's end")
    await keep_open(made.run)
    (again,) = relays_of(made.run)
    assert again.pid != relay.pid
    with listen_inside(made):
        assert echo(tcp(made.port)) == b"hello"


async def test_a_port_that_somebody_else_has_is_an_error_and_no_relay(made: Container) -> None:
    with socket.create_server(("127.0.0.1", made.port)), pytest.raises(SessionStartFailed):
        await made.open()
    assert not relays_of(made.run)


def run_inside(tmp_path: Path, script: str, ways: list[Way], **more: object) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "container.json"
    file.write_text(json.dumps({**inside_part(ways, lock=None), **more}))
    command = [sys.executable, "-I", "-S", container.__file__, str(file), "/bin/sh", "-c", script]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=30, env={**os.environ, "SECRET": "baked in"}
    )


def test_the_first_program_joins_ports_to_sockets_and_ends_as_its_command_does(tmp_path: Path) -> None:
    port = free_port()
    way = Way(("", ""), (f"tcp:127.0.0.1:{port}", f"unix:{tmp_path}/door"))
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "door"))
        door.listen()
        serve(door, lambda connection: (connection.sendall(b"from outside\n"), connection.close()))
        script = f"exec 3<>/dev/tcp/127.0.0.1/{port}; cat <&3; exit 7"
        done = run_inside(tmp_path, f"exec bash -c '{script}'", [way])
    assert (done.stdout, done.returncode) == ("from outside\n", 7)


def test_the_first_program_collects_orphans_and_tells_of_signals(tmp_path: Path) -> None:
    assert run_inside(tmp_path, "(sleep 0.01 &) ; kill -9 $$", []).returncode == 128 + signal.SIGKILL


def test_the_first_program_forgets_what_it_is_told_to(tmp_path: Path) -> None:
    assert run_inside(tmp_path, "echo ${SECRET-nothing}", [], forget=["SECRET"]).stdout == "nothing\n"
    assert run_inside(tmp_path, "echo ${SECRET-nothing}", []).stdout == "baked in\n"
