"""The decision of the egress proxy, and the proxy itself, without a packet leaving the loopback interface."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from launcher.builders.uv import egress_memory
from launcher.builders.uv.egress import EgressMode, EgressPolicy, EgressRefused, make_flags, running, serve

FLOOD = 64 * 2**20  # more than sockets hold
PUBLIC = "93.184.215.14"
_guarding = threading.Event()
_attempts: list[str] = []


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    """No test here may connect to anything but loopback, whatever the code under test does."""
    if event == "socket.connect" and _guarding.is_set():
        address = arguments[1]
        if isinstance(address, tuple) and not str(address[0]).startswith("127."):
            _attempts.append(str(address[0]))
            raise PermissionError("a test tried to leave the loopback interface")


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def guarded() -> Iterator[None]:
    _attempts.clear()
    _guarding.set()
    yield
    _guarding.clear()


def resolver(*answers: str):
    def resolve(host: str, port: int) -> Sequence[str]:
        return answers

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::", "ff02::1", "192.0.2.1", "not an address", "",
    ],
)  # fmt: skip
def test_no_policy_reaches_an_address_that_is_not_public(address: str) -> None:
    for mode in EgressMode:
        with pytest.raises(EgressRefused):
            EgressPolicy(mode).addresses("name.example", 443, resolver(address))


def test_one_private_answer_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(EgressRefused):
        EgressPolicy().addresses("name.example", 443, resolver(PUBLIC, "10.0.0.1"))


def test_public_web_addresses_are_reached_by_policy_only() -> None:
    assert EgressPolicy().addresses("name.example", 443, resolver(PUBLIC)) == (PUBLIC,)
    for mode in (EgressMode.INDEXES, EgressMode.NONE):
        with pytest.raises(EgressRefused):
            EgressPolicy(mode).addresses("name.example", 443, resolver(PUBLIC))


@pytest.mark.parametrize("port", [0, 22, 25, 6379, 8443, 65535])
def test_other_ports_than_the_webs_are_refused(port: int) -> None:
    with pytest.raises(EgressRefused):
        EgressPolicy().addresses("name.example", port, resolver(PUBLIC))


def test_an_allowed_host_is_reached_whatever_its_address_and_only_on_its_port() -> None:
    policy = EgressPolicy(EgressMode.INDEXES, frozenset({"index.example:443"}))
    for spelling in ("index.example", "INDEX.example", "index.example."):
        assert policy.addresses(spelling, 443, resolver("10.0.0.1")) == ("10.0.0.1",)
    with pytest.raises(EgressRefused):
        policy.addresses("index.example", 80, resolver("10.0.0.1"))
    with pytest.raises(EgressRefused):
        policy.addresses("evil.index.example", 443, resolver("10.0.0.1"))


def test_a_policy_survives_its_journey_to_the_child() -> None:
    policy = EgressPolicy(EgressMode.INDEXES, frozenset({"a:1"}), {"b": ("10.0.0.1",)})
    assert EgressPolicy.from_json(policy.to_json()) == policy


@contextmanager
def proxy(directory: Path, policy: EgressPolicy, resolve=None) -> Iterator[Path]:
    """The proxy in this process, so that the guard sees what it does."""
    path = directory / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, make_flags(policy, directory, resolve)), daemon=True)
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def ask(path: Path, text: str) -> str:
    """Everything the proxy says to one request."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(text.encode())
        answer = b""
        while data := client.recv(65536):
            answer += data
            if b"goodbye" in answer:
                break
        return answer.decode("latin-1")


@pytest.mark.parametrize(
    "request_text",
    [
        "CONNECT name.example:443 HTTP/1.1\r\nHost: name.example:443\r\n\r\n",
        "CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT [::ffff:169.254.169.254]:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT 2130706433:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET http://name.example/ HTTP/1.1\r\nHost: index.example\r\n\r\n",
        "GET http://10.0.0.1/ HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n",
        "GET http://index.example@10.0.0.1/ HTTP/1.1\r\nHost: index.example\r\n\r\n",
    ],
)
def test_the_proxy_refuses_before_it_connects(tmp_path: Path, request_text: str) -> None:
    with proxy(tmp_path, EgressPolicy(), resolver("169.254.169.254")) as path:
        answer = ask(path, request_text)
    assert " 200" not in answer
    assert answer.startswith(("HTTP/1.1 403", "HTTP/1.1 502", "HTTP/1.1 400", "")), answer
    assert _attempts == []


def test_the_proxy_connects_to_the_address_it_checked(tmp_path: Path) -> None:
    """A name that answers differently the second time is asked only once."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngoodbye")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        policy = EgressPolicy(EgressMode.INDEXES, frozenset({f"index.example:{port}"}))
        with proxy(tmp_path, policy, rebinding) as path:
            text = ask(path, f"GET http://index.example:{port}/ HTTP/1.1\r\nHost: index.example\r\n\r\n")
        thread.join(5)
    assert "goodbye" in text
    assert asked == ["index.example"]
    assert _attempts == []


@contextmanager
def target(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server of one connection; its ``host:port``."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with server.accept()[0] as connection, suppress(OSError):
                talk(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


def pour(connection: socket.socket, most: int) -> int:
    """How many bytes the other end takes when nobody reads them there: until it takes no more."""
    connection.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < most:
            sent += connection.send(b"x" * 2**16)
    return sent


@pytest.mark.parametrize("way", ["CONNECT {0} HTTP/1.1\r\n\r\n", "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\n\r\n"])
async def test_who_does_not_read_is_not_sent_to_for_long(tmp_path: Path, way: str) -> None:
    poured: list[int] = []
    done = threading.Event()

    def flood(connection: socket.socket) -> None:
        if way.startswith("GET"):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        poured.append(pour(connection, FLOOD))
        done.set()

    with target(flood) as host:
        policy = EgressPolicy(EgressMode.INDEXES, frozenset({host}))
        async with running(policy, tmp_path / "proxy"):
            with closing(socket.socket(socket.AF_UNIX)) as client:
                client.connect(str(tmp_path / "proxy" / "egress"))
                client.sendall(way.format(host).encode())
                assert await asyncio.to_thread(done.wait, 20)
    assert 0 < poured[0] < FLOOD


async def test_a_server_that_does_not_read_is_not_sent_to_for_long(tmp_path: Path) -> None:
    done = threading.Event()
    with target(lambda _: done.wait(20)) as host:
        policy = EgressPolicy(EgressMode.INDEXES, frozenset({host}))
        async with running(policy, tmp_path / "proxy"):
            with closing(socket.socket(socket.AF_UNIX)) as client:
                client.connect(str(tmp_path / "proxy" / "egress"))
                client.sendall(f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
                assert b" 200 " in await asyncio.to_thread(client.recv, 65536)
                assert 0 < await asyncio.to_thread(pour, client, FLOOD) < FLOOD
                done.set()


def request(host: str, size: int) -> bytes:
    return f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size


def test_requests_have_a_limit_of_their_own_and_not_all_of_a_connection_together(tmp_path: Path, monkeypatch) -> None:
    def answer(connection: socket.socket) -> None:
        while heard := connection.recv(2**16):
            if heard.endswith(b"x"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    monkeypatch.setattr(egress_memory, "MOST_REQUEST_BYTES", 2**14)
    with (
        target(answer) as host,
        proxy(tmp_path, EgressPolicy(EgressMode.INDEXES, frozenset({host}))) as path,
        closing(socket.socket(socket.AF_UNIX)) as client,
    ):
        client.settimeout(10)
        client.connect(str(path))
        for _ in range(3):
            client.sendall(request(host, 10_000))
            assert client.recv(2**16).endswith(b"ok")
        client.sendall(request(host, 2**15))
        assert client.recv(2**16).startswith(b"HTTP/1.1 413 ")


def test_those_who_never_end_their_large_requests_keep_nobody_from_asking(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(egress_memory, "_room", egress_memory._Room(0))  # they have all of it

    def answer(connection: socket.socket) -> None:
        connection.recv(2**16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngoodbye")

    with target(answer) as host, proxy(tmp_path, EgressPolicy(EgressMode.INDEXES, frozenset({host}))) as path:
        assert ask(path, request(host, 2**15).decode()).startswith("HTTP/1.1 413 ")
        assert "goodbye" in ask(path, f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")


async def test_the_childs_socket_is_ours_alone_and_ends_with_the_block(tmp_path: Path) -> None:
    # Longer than the 108 bytes a socket's path may have.
    directory = tmp_path / ("long" * 30)
    async with running(EgressPolicy(EgressMode.NONE), directory) as path:
        assert path.is_socket()
        assert directory.stat().st_mode & 0o077 == 0
