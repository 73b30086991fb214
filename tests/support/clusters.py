"""Dask clusters without a hub: sessions that only hold their lock, a gateway that only listens, clients in Python."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tornado import httpserver, netutil, web
from traitlets.config import Config

from launcher.builders.process.sandbox import Sandbox
from launcher.builders.process.store import EnvironmentMeta
from launcher.config import Settings
from launcher.config_files import read_settings
from launcher.dask.base import CERTIFICATE, PRIVATE_KEY, ClusterOrder, LiveSession
from launcher.dask.certificates import new_keypair
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME, SessionRecord, SessionRecords, is_held
from tests.support.running import ROOT

WHEELHOUSE = ROOT / ".cache" / "wheelhouse"
UV = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
PATIENCE = 30


def make_environment(directory: Path, *packages: str) -> Path:
    """A virtual environment with packages of the wheelhouse, as builds leave one: ``directory/venv`` and its meta."""
    directory.mkdir(parents=True)
    python = directory / "venv" / "bin" / "python"
    venv = ["venv", "--quiet", "--python", sys.executable, str(directory / "venv")]
    subprocess.run([UV, *venv], check=True)
    if packages:
        install = ["pip", "install", "--quiet", "--no-index", "--find-links", str(WHEELHOUSE), "--python", str(python)]
        subprocess.run([UV, *install, *packages], check=True)
    return describe_environment(directory, packages)


def describe_environment(directory: Path, packages: tuple[str, ...] = ()) -> Path:
    """What builds write down about ``directory/venv``."""
    python = directory / "venv" / "bin" / "python"
    prefix = str(python.resolve().parents[1])
    meta = EnvironmentMeta("kernel", "3.11", str(python.resolve()), (prefix,), "", packages, False, 0)
    (directory / "meta.json").write_text(json.dumps(asdict(meta)))
    return directory


def settings_of(
    state: Path, server_environment: Path, traits: Mapping[str, Any] | None = None, **dask: Any
) -> Settings:
    """Settings as `launcher.enable` makes them; ``traits`` are of other sections."""
    config = Config(dict(traits or {}))
    config.Launcher.state_directory = str(state)
    config.Launcher.server_environment = str(server_environment)
    config.Launcher.dask = True
    config.LauncherDask.update(dask)
    return read_settings(config)


@dataclass
class FakeSession:
    """A session of which there is nothing but what others rely on: its record, its files, its lock."""

    record: SessionRecord
    process: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        return Path(self.record.home)

    def give_home(self) -> None:
        """What was put into the home since is the session's own too."""
        if self.record.owner is not None:
            for path in self.home.rglob("*"):
                os.chown(path, *self.record.owner)

    def leave_variables(self, **variables: str) -> None:
        self.leave(json.dumps(variables))

    def leave(self, text: str) -> None:
        Path(self.record.run_directory, VARIABLES_NAME, "environment.json").write_text(text)

    def end(self) -> None:
        if self.process.poll() is None:
            for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
                os.kill(int(child), 9)
        self.process.wait()


@contextmanager
def fake_session(
    state: Path, place: Path, *, user: str = "rosa", server_name: str = "", environment: str | None = None, **more: Any
) -> Iterator[FakeSession]:
    """A live session with an empty home."""
    run, home = place / "run", place / "home"
    (run / VARIABLES_NAME).mkdir(parents=True)
    (run / ALIVE_NAME).touch()
    home.mkdir()
    record = SessionRecord(
        **{
            "user": user,
            "server_name": server_name,
            "environment": environment,
            "home": str(home),
            "run_directory": str(run),
            "owner": None,
            "repository": "",
            "dask": True,
            "personal": True,
            **more,
        }
    )
    sandbox = Sandbox(read_write=((run, "/run/launcher"),), directories=("/run",), lock_file="/run/launcher/alive")
    process = subprocess.Popen(sandbox.argv(["/bin/sleep", "600"]), start_new_session=True)
    session = FakeSession(record, process)
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_held(run / ALIVE_NAME):
            assert time.monotonic() < deadline, "the session did not start"
            time.sleep(0.005)
        if record.owner is not None:
            for path in (home, run / ALIVE_NAME, run / VARIABLES_NAME):
                os.chown(path, *record.owner)
        SessionRecords(state).write(record)
        yield session
    finally:
        session.end()


@dataclass
class GatewayListener:
    """Where schedulers send their heartbeats."""

    url: str
    server: httpserver.HTTPServer
    heartbeats: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    asked: int = 0
    """How often somebody asked whether there is a gateway."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, cluster: str, message: dict[str, Any]) -> None:
        self.heartbeats.setdefault(cluster, []).append(message)
        self.heard.set()

    async def questions(self, number: int, *, seconds: float = PATIENCE) -> None:
        """Until it was asked that often whether it is there."""
        async with asyncio.timeout(seconds):
            while self.asked < number:
                self.heard.clear()
                await self.heard.wait()

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    async def close(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()

    async def heartbeat(
        self, cluster: str, fits: Callable[[dict[str, Any]], bool] = lambda _: True, *, seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """The first heartbeat that fits."""
        async with asyncio.timeout(seconds):
            while True:
                for message in self.heartbeats.get(cluster, []):
                    if fits(message):
                        return message
                self.heard.clear()
                await self.heard.wait()


class _Heartbeat(web.RequestHandler):
    def post(self, cluster: str) -> None:
        self.application.settings["listener"].hear(cluster, json.loads(self.request.body))


class _Health(web.RequestHandler):
    def get(self) -> None:
        listener = self.application.settings["listener"]
        listener.asked += 1
        listener.heard.set()


def gateway_listener() -> GatewayListener:
    """A listener on a free port of loopback, in the running loop."""
    [listening] = netutil.bind_sockets(0, "127.0.0.1")
    routes = [(r"/api/v1/clusters/([0-9a-f]+)/heartbeat", _Heartbeat), ("/api/health", _Health)]
    application = web.Application(routes)
    server = httpserver.HTTPServer(application)
    server.add_sockets([listening])
    listener = GatewayListener(f"http://127.0.0.1:{listening.getsockname()[1]}/api", server)
    application.settings["listener"] = listener
    return listener


def order(session: FakeSession, gateway_url: str, *, name: str | None = None, **more: Any) -> ClusterOrder:
    """What the gateway orders, as upstream's backend puts it together."""
    name = name or secrets.token_hex(16)
    cert, key = new_keypair(name)
    record = session.record
    variables = {
        "DASK_GATEWAY_API_URL": gateway_url,
        "DASK_GATEWAY_API_TOKEN": secrets.token_hex(16),
        "DASK_GATEWAY_CLUSTER_NAME": name,
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": CERTIFICATE,
        **{f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY": PRIVATE_KEY for role in ("SCHEDULER", "WORKER")},
        **{f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT": CERTIFICATE for role in ("SCHEDULER", "WORKER")},
    }
    here = "127.0.0.1"
    arguments = ["--protocol", "tls", "--port", "0", "--host", here, "--dashboard-address", f"{here}:0"]
    arguments += ["--preload", "dask_gateway.scheduler_preload", "--dg-api-address", f"{here}:0"]
    arguments += ["--dg-heartbeat-period", "15", "--dg-adaptive-period", "3", "--dg-idle-timeout", "0"]
    return ClusterOrder(
        **{
            "name": name,
            "session": LiveSession(record.user, record.server_name, record.environment or "server", ""),
            "scheduler_arguments": tuple(arguments),
            "variables": variables,
            "certificate": cert,
            "private_key": key,
            "home_writable": True,
            "keep_seconds": 0.0,
            **more,
        }
    )


def worker_arguments(scheduler: str, name: str, memory_bytes: int = 2**30) -> tuple[str, ...]:
    """What the gateway orders for a worker."""
    sizes = ("--nthreads", "1", "--memory-limit", str(memory_bytes))
    return (scheduler, "--dashboard-address", "127.0.0.1:0", "--name", name, *sizes)


_CLIENT = """
import json, sys
from distributed import Client
from distributed.security import Security
scheduler, certificate, key, workers = sys.argv[1:5]
security = Security(tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key, require_encryption=True)
client = Client(scheduler, security=security, timeout=20)
client.wait_for_workers(int(workers), timeout=30)
def outcome(function, *arguments):
    try:
        return client.submit(function, *arguments, pure=False).result(60)
    except Exception as error:
        return type(error).__name__
exec(sys.stdin.read())
client.close()
"""


async def run_client(python: Path, made: ClusterOrder, scheduler: str, code: str, *, workers: int = 1) -> Any:
    """What ``code`` prints as JSON, run with a client of the cluster; ``outcome(function)`` runs one on a worker."""
    return await asyncio.to_thread(_run_client, python, made, scheduler, code, workers)


def _run_client(python: Path, made: ClusterOrder, scheduler: str, code: str, workers: int) -> Any:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "crt").write_bytes(made.certificate)
        (place / "pem").write_bytes(made.private_key)
        command = [str(python), "-c", _CLIENT, scheduler, str(place / "crt"), str(place / "pem"), str(workers)]
        done = subprocess.run(command, input=code, capture_output=True, text=True, cwd=place, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)
