"""The proxy that sessions share: one process for a policy, as long as somebody uses it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from launcher.builders.uv.egress import EgressMode, EgressPolicy
from launcher.hub.container.egress import SharedEgress
from tests.support.running import eventually


def processes(directory: Path) -> list[psutil.Process]:
    found = (process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"])
    ours = [process for process in found if process.info["cmdline"][-1].startswith(str(directory))]
    return [process for process in ours if process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "egress"
    eventually(lambda: not processes(tmp_path / "egress"), what="the end of the proxy")


def ask(egress: SharedEgress, url: str) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(egress.socket))
        connection.sendall(f"GET {url} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode().split("\r\n")[0]


def listens(egress: SharedEgress) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(egress.socket)) == 0


async def test_one_serves_everybody_with_its_policy_and_ends_with_its_last_user(directory: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as allowed:
        threading.Thread(target=allowed.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{allowed.server_port}"
        policy = EgressPolicy(EgressMode.INTERNET, frozenset({address}))
        one, other = SharedEgress(directory, policy), SharedEgress(directory, policy)
        await one.ensure()
        await other.ensure()
        assert len(processes(directory)) == 1
        assert ask(one, f"http://{address}/").endswith("200 OK")
        assert " 403 " in ask(one, "http://127.0.0.1:9/")
        one.release()
        assert " 403 " in ask(other, "http://169.254.169.254/latest/meta-data")
        other.release()
        allowed.shutdown()


async def test_one_that_was_killed_is_started_again(directory: Path) -> None:
    egress = SharedEgress(directory, EgressPolicy(EgressMode.NONE))
    await egress.ensure()
    (process,) = processes(directory)
    process.kill()
    eventually(lambda: not listens(egress), what="its end")  # its threads may outlive what the process table says
    await egress.ensure()
    assert " 403 " in ask(egress, "http://10.0.0.1/")
    egress.release()
