"""A service listens, and ends with its Hub, before it has loaded what it needs."""

import contextlib
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from traitlets.config import Config

from launcher.config import SETTINGS_VARIABLE
from launcher.config_files import read_settings
from launcher.ports import free_port, listen_early
from tests.support.running import eventually

HUB = """
import os, socket, subprocess, sys, time
service = subprocess.Popen([sys.executable, "-m", "launcher", "serve"])
address = ("127.0.0.1", int(sys.argv[1]))
while service.poll() is None:
    try:
        socket.create_connection(address).close()
    except OSError:
        time.sleep(0.01)
    else:
        break
print(service.pid, flush=True)
os.kill(os.getpid(), 9)
"""
"""Starts a service, and is killed as soon as it listens."""


def test_who_connects_before_the_service_is_loaded_waits_for_it():
    port = free_port()
    listener = listen_early(f"http://127.0.0.1:{port}/services/binder/")
    with listener, socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"hello")
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(5) == b"hello"


@pytest.mark.parametrize("url", ["", "http://127.0.0.1", "http://192.0.2.1:80", "http://127.0.0.1:99999", "nonsense"])
def test_what_is_no_loopback_address_is_left_to_the_service(url):
    assert listen_early(url) is None


def test_a_port_in_use_is_left_to_the_service():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert listen_early(f"http://127.0.0.1:{taken.getsockname()[1]}") is None


def test_a_service_whose_hub_is_killed_while_it_loads_ends(tmp_path):
    port = free_port()
    settings = read_settings(Config({"Launcher": {"state_directory": str(tmp_path), "ticket_secret": "5" * 64}}))
    environment = {
        **os.environ,
        SETTINGS_VARIABLE: settings.to_json(),
        "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}/",
        "JUPYTERHUB_SERVICE_PREFIX": "/services/binder/",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",
    }
    hub = subprocess.run(
        [sys.executable, "-c", HUB, str(port)],
        check=False,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
    )
    assert hub.returncode == -signal.SIGKILL
    service = int(hub.stdout)
    try:
        eventually(lambda: not runs(service), what="the end of the service")
    finally:
        if runs(service):
            os.kill(service, signal.SIGKILL)


def runs(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    return False
