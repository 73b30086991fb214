"""Which engine is used, and what is said when there is none."""

import os
import queue
import socket
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from traitlets.config import Config

from launcher.config_files import read_settings
from launcher.engine.find import find_engine, look_for_engine
from launcher.engine.service import OwnEngine
from launcher.errors import EngineUnavailable, LauncherError
from launcher.runtimes import wait_for_runtime


@contextmanager
def listener(path: Path, answer: bytes = b"HTTP/1.0 200 OK\r\n\r\nOK"):
    """Somebody who answers one thing at a unix socket."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"unix://{path}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    """Variables of an ordinary user on a machine where no engine is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    if any(Path(path).exists() for path in ("/run/docker.sock", "/var/run/docker.sock")):
        pytest.skip("this machine has a docker for everybody")
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "r")}


def test_the_setting_is_first(tmp_path):
    with listener(tmp_path / "a.sock") as a, listener(tmp_path / "b.sock") as b:
        assert find_engine(a, tmp_path, {"DOCKER_HOST": b}).url == a
        assert find_engine("", tmp_path, {"DOCKER_HOST": b}).url == b


def test_a_named_engine_that_does_not_answer_is_an_error_and_no_other_is_taken(tmp_path):
    with (
        listener(tmp_path / "docker.sock"),
        pytest.raises(EngineUnavailable, match=r"engine named by .* is not there"),
    ):
        find_engine(f"unix://{tmp_path}/gone.sock", tmp_path, {"XDG_RUNTIME_DIR": str(tmp_path)})


def test_an_engine_elsewhere_is_refused_because_sessions_see_directories_of_this_machine(tmp_path):
    with pytest.raises(EngineUnavailable, match="DOCKER_HOST does not name a socket"):
        find_engine("", tmp_path, {"DOCKER_HOST": "tcp://192.0.2.1:2375"})


def test_what_answers_must_be_an_engine(tmp_path):
    with (
        listener(tmp_path / "a.sock", b"HTTP/1.0 404 Not Found\r\n\r\n") as a,
        pytest.raises(EngineUnavailable) as raised,
    ):
        find_engine(a, tmp_path, {})
    assert "as an engine does" in raised.value.message


def test_podman_of_this_user_comes_before_docker(tmp_path, nothing):
    runtime = tmp_path / "r"
    with listener(runtime / "docker.sock") as docker:
        assert look_for_engine("", tmp_path / "state", nothing).url == docker
        with listener(runtime / "podman" / "podman.sock") as podman:
            assert look_for_engine("", tmp_path / "state", nothing).url == podman


def test_without_any_it_says_what_to_install(tmp_path, nothing):
    with pytest.raises(EngineUnavailable) as raised:
        find_engine("", tmp_path / "state", nothing)
    assert "apt-get install podman" in raised.value.hint


def test_an_engine_of_our_own_that_was_used_stays_the_one(tmp_path, nothing, monkeypatch):
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\n")
    podman.chmod(0o700)
    own = tmp_path / "state" / "engine"
    with listener(tmp_path / "r" / "docker.sock") as docker:
        assert look_for_engine("", tmp_path / "state", nothing).url == docker
        own.mkdir(parents=True)
        (own / "storage.conf").touch()
        assert look_for_engine("", tmp_path / "state", nothing).own == OwnEngine(own)


def test_our_own_engine_says_why_it_does_not_start(tmp_path, monkeypatch):
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\necho the kernel is too old >&2; exit 1\n")
    podman.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    own = OwnEngine(tmp_path / "engine")
    with pytest.raises(EngineUnavailable) as raised:
        own.ensure()
    own.run.rmdir()
    assert raised.value.hint == "Podman says: the kernel is too old"
    assert not own.exists()


def test_a_service_waits_for_an_engine_that_starts_after_it_and_says_so_once(tmp_path):
    config = Config({"Launcher": {"runtime": "container", "state_directory": str(tmp_path / "state")}})
    config.LauncherContainers.engine = f"unix://{tmp_path}/late.sock"
    heard: queue.Queue[LauncherError] = queue.Queue()
    waiting = threading.Thread(
        target=wait_for_runtime, args=(read_settings(config), heard.put), kwargs={"pause_seconds": 0.01}, daemon=True
    )
    waiting.start()
    assert "is not there" in heard.get(timeout=60).message
    with listener(tmp_path / "late.sock"):
        waiting.join(60)
        assert not waiting.is_alive()
    assert heard.empty()
