"""What every cluster runtime must do, with real sandboxes and real Dask. The gateway is a listener of the test."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import websocket

from launcher.config import Settings
from launcher.dask.base import SCHEDULER, ClusterOrder, ProcessEnded, WorkerOrder
from launcher.dask.nurseries.runtime import NurseryClusters
from launcher.errors import ClusterStartFailed
from tests.support.clusters import (
    FakeSession,
    GatewayListener,
    describe_environment,
    fake_session,
    gateway_listener,
    make_environment,
    order,
    run_client,
    settings_of,
    worker_arguments,
)
from tests.support.engine import base_image, container_engine
from tests.support.fixtures import require
from tests.support.grounds import ContainerGround, ProcessGround
from tests.support.running import SERVER_ENVIRONMENTS, eventually

__all__ = ["base_image", "container_engine"]
SERVER_ENVIRONMENT = SERVER_ENVIRONMENTS["hub6"]
MIB = 2**20
LATER = "lambda: __import__('threading').Timer(0.2, lambda: __import__('os')._exit({status})).start()"
"""Ends the process, but answers first."""


@dataclass
class Running:
    """A cluster whose scheduler has sent its first heartbeat."""

    bench: Bench
    order: ClusterOrder
    heartbeat: dict[str, Any]

    @property
    def name(self) -> str:
        return self.order.name

    @property
    def token(self) -> dict[str, str]:
        return {"Authorization": f"token {self.order.variables['DASK_GATEWAY_API_TOKEN']}"}

    async def allow_workers(self) -> None:
        """Say that many are wanted: the gateway's part of the scheduler ends what nobody wants."""
        url = f"{self.heartbeat['api_address']}/api/comm"
        order = {"op": "scale", "count": 100}
        answer = await asyncio.to_thread(requests.post, url, json=order, headers=self.token, timeout=20)
        answer.raise_for_status()

    async def worker(self, memory_bytes: int = 1024 * MIB) -> str:
        name = secrets.token_hex(16)
        arguments = worker_arguments(self.heartbeat["scheduler_address"], name, memory_bytes)
        await self.bench.runtime.start_worker(self.name, WorkerOrder(name, arguments, memory_bytes, 1))
        return name

    async def run(self, code: str, *, workers: int = 1) -> Any:
        scheduler = self.heartbeat["scheduler_address"]
        return await run_client(self.bench.python, self.order, scheduler, code, workers=workers)

    async def outcomes(self, *functions: str) -> list[Any]:
        """What expressions that are functions return on a worker; the name of the error if they raise one."""
        wanted = ", ".join(f"outcome({function})" for function in functions)
        return await self.run(f"import os, sys\nprint(json.dumps([{wanted}]))")

    async def get(self, path: str, *, address: str = "", **headers: str) -> requests.Response:
        url = f"{address or self.heartbeat['dashboard_address']}{path}"
        return await asyncio.to_thread(requests.get, url, headers=headers, timeout=20)


@dataclass
class Bench:
    """The runtime under test, and what is around it."""

    state: Path
    settings: Settings
    listener: GatewayListener
    ground: ProcessGround | ContainerGround
    python: Path = SERVER_ENVIRONMENT / "bin" / "python"
    ended: asyncio.Queue[ProcessEnded] = field(default_factory=asyncio.Queue)
    names: list[str] = field(default_factory=list)
    runtime: NurseryClusters = field(init=False)
    sessions: ExitStack = field(default_factory=ExitStack)

    async def begin(self) -> None:
        """A gateway starts."""
        self.runtime = self.gateway(gateway_patience_seconds=0.5)
        await self.runtime.setup(self.ended.put_nowait)

    def gateway(self, **more: float) -> NurseryClusters:
        return NurseryClusters(self.settings, self.ground.sandboxes(self.settings), **more)

    def session(self, **more: Any) -> FakeSession:
        place = self.state.parent / f"session-{secrets.token_hex(4)}"
        return self.sessions.enter_context(fake_session(self.state, place, **{**self.ground.session(), **more}))

    def order(self, session: FakeSession, **more: Any) -> ClusterOrder:
        made = order(session, self.listener.url, **more)
        self.names.append(made.name)
        return made

    async def start(self, session: FakeSession, **more: Any) -> Running:
        made = self.order(session, **more)
        await self.runtime.start_cluster(made)
        cluster = Running(self, made, await self.listener.heartbeat(made.name))
        await cluster.allow_workers()
        return cluster

    def processes(self, cluster: str) -> list[psutil.Process]:
        """The outermost processes of a cluster."""
        return self.ground.processes(cluster)

    def programs(self, cluster: str) -> list[str]:
        """Names of all processes of a cluster."""
        names = []
        for root in self.processes(cluster):
            with suppress(psutil.Error):  # one of them ended meanwhile
                names += [one.name() for one in [root, *root.children(recursive=True)]]
        return names

    def left(self, cluster: str) -> bool:
        return bool(self.processes(cluster)) or (self.state / "dask" / "clusters" / cluster).exists()

    async def end(self) -> None:
        for name in self.names:
            await self.runtime.stop_cluster(name)
        await self.runtime.close()
        await self.listener.close()
        self.sessions.close()


in_each_runtime = pytest.mark.parametrize("ground", ["process", "container"], indirect=True)
"""For what a runtime's sandboxes can make different; the rest is the same code for all."""


@pytest.fixture(params=["process"])
def ground(request: pytest.FixtureRequest) -> ProcessGround | ContainerGround:
    require("hub6")
    if request.param == "process":
        return ProcessGround()
    address = request.getfixturevalue("container_engine").url
    return ContainerGround(address, request.getfixturevalue("base_image"))


@pytest.fixture
async def bench(ground: ProcessGround | ContainerGround, tmp_path: Path) -> AsyncIterator[Bench]:
    state = tmp_path / "state"
    state.mkdir()
    listener = gateway_listener()
    more = {"session_grace_seconds": 0, "api_port": listener.port}
    bench = Bench(state, settings_of(state, SERVER_ENVIRONMENT, ground.traits(), **more), listener, ground)
    await bench.begin()
    yield bench
    await bench.end()


def environment(bench: Bench, make: Callable[[Path], object]) -> str:
    """An environment that builds would have left, made by ``make(directory)``; its reference."""
    reference = secrets.token_hex(32)
    directory = bench.state / "environments" / reference
    directory.parent.mkdir(exist_ok=True)
    make(directory)
    return reference


def like_the_server(directory: Path) -> None:
    directory.mkdir()
    (directory / "venv").symlink_to(SERVER_ENVIRONMENT)
    describe_environment(directory)


@in_each_runtime
async def test_a_cluster_computes_and_leaves_nothing_but_its_logs(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    workers = [await cluster.worker(), await cluster.worker()]
    code = "print(json.dumps(client.gather(client.map(lambda x: x * x, range(5)))))"
    assert await cluster.run(code, workers=2) == [0, 1, 4, 9, 16]
    assert await bench.runtime.running(cluster.name) == {SCHEDULER, *workers}
    assert await bench.runtime.clusters() == {cluster.name}

    await bench.runtime.stop_cluster(cluster.name)

    assert await bench.runtime.running(cluster.name) == frozenset()
    assert await bench.runtime.clusters() == frozenset()
    assert not bench.left(cluster.name)
    assert bench.ended.empty(), "what was asked to end is no news"
    assert bench.runtime.log_names(cluster.name) == [SCHEDULER, *sorted(workers)]
    assert "Scheduler at" in bench.runtime.read_log(cluster.name, SCHEDULER, limit=20_000)
    assert "Registered to" in bench.runtime.read_log(cluster.name, workers[0], limit=20_000)
    assert len(bench.runtime.read_log(cluster.name, SCHEDULER, limit=100)) == 100
    bench.runtime.remove_logs(cluster.name)
    assert bench.runtime.log_names(cluster.name) == []
    assert bench.runtime.read_log(cluster.name, SCHEDULER, limit=100) == ""
    await bench.runtime.stop_cluster(cluster.name)  # one that is not there is fine


async def test_a_cluster_runs_in_the_environment_of_its_session(bench: Bench) -> None:
    session = bench.session(environment=environment(bench, like_the_server))
    cluster = await bench.start(session)
    await cluster.worker()
    assert await cluster.outcomes("lambda: __import__('dask').__file__.split('/lib/')[0]") == ["/srv/environment"]


async def test_an_older_dask_works_too(bench: Bench) -> None:
    packages = ("dask==2024.8.0", "distributed==2024.8.0", "dask-gateway")
    reference = environment(bench, lambda directory: make_environment(directory, *packages))
    bench.python = bench.state / "environments" / reference / "venv" / "bin" / "python"
    cluster = await bench.start(bench.session(environment=reference))
    await cluster.worker(256 * MIB)
    versions = await cluster.outcomes("lambda: __import__('distributed').__version__", "lambda: len(bytearray(2**30))")
    assert versions == ["2024.8.0", "MemoryError"]
    assert (await cluster.get("/json/identity.json")).status_code == 403
    assert (await cluster.get("/launcher/status", **cluster.token)).json()["tasks"] == 0
    answer = await cluster.get("/launcher/dashboard", **cluster.token)
    assert answer.json() == {
        "ready": False,
        "error": "The environment of this session has no bokeh package that Dask can use, so there is no dashboard.",
    }


def with_modules(**modules: str) -> Callable[[Path], None]:
    """An environment with nothing but some modules."""

    def make(directory: Path) -> None:
        make_environment(directory)
        for name, text in modules.items():
            path = next((directory / "venv" / "lib").iterdir()) / "site-packages" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return make


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (with_modules(), "no dask and distributed packages"),
        (with_modules(distributed__cli__dask_scheduler="", distributed__cli__dask_worker=""), "no dask-gateway"),
        (with_modules(distributed="import no_such_module"), "cannot be imported"),
        (with_modules(distributed="raise ValueError('old')"), "cannot be imported"),
    ],
)
async def test_an_environment_that_cannot_run_dask_is_a_sentence(
    bench: Bench, make: Callable[[Path], None], sentence: str
) -> None:
    made = bench.order(bench.session(environment=environment(bench, make)))
    with pytest.raises(ClusterStartFailed, match=sentence):
        await bench.runtime.start_cluster(made)
    assert not bench.left(made.name)
    assert "cannot run Dask" in bench.runtime.read_log(made.name, SCHEDULER, limit=2000)
    assert bench.ended.empty()


async def test_a_session_that_has_gone_gets_no_cluster(bench: Bench) -> None:
    session = bench.session()
    made = bench.order(session)
    session.end()
    with pytest.raises(ClusterStartFailed, match="has ended"):
        await bench.runtime.start_cluster(made)
    assert not bench.runtime.is_live("rosa", "")
    assert bench.runtime.sessions("rosa") == []


async def test_an_environment_that_has_gone_is_a_sentence(bench: Bench) -> None:
    made = bench.order(bench.session(environment="f" * 64))
    with pytest.raises(ClusterStartFailed, match="not there any more"):
        await bench.runtime.start_cluster(made)
    assert not bench.left(made.name)


async def test_sessions_are_told_with_what_keeps_them_from_clusters(bench: Bench) -> None:
    bench.session(server_name="")
    bench.session(server_name="a", repository="examples", dask=False)
    bench.session(server_name="b", repository="stranger", dask=False, personal=False)
    found = {one.server_name: one for one in bench.runtime.sessions("rosa")}
    assert list(found) == ["b", "a", ""]
    assert (found[""].refusal, found[""].environment) == ("", "server")
    assert "groups" in found["a"].refusal
    assert "trust" in found["b"].refusal
    assert bench.runtime.sessions("tom") == []
    assert bench.runtime.is_live("rosa", "a")


@in_each_runtime
async def test_what_the_session_has_arrives_and_what_it_must_not_change_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "of the gateway")
    session = bench.session()
    repository = session.home / "repository"
    repository.mkdir()
    (repository / "analysis.py").write_text("ANSWER = 42\n")
    for name in ("dask", "distributed", "tornado", "click", "json", "launcher"):
        (repository / f"{name}.py").write_text("raise SystemExit('shadowed')\n")
    layer = session.home / ".local/share/launcher/layers/server/lib/python3.11/site-packages"
    layer.mkdir(parents=True)
    (layer / "extra.py").write_text("EXTRA = 'from the layer'\n")
    session.give_home()
    session.leave_variables(
        REPO_DIR="/home/jovyan/repository",
        GREETING="hello",
        HOME="/nowhere",
        PYTHONPATH="/home/jovyan/repository",
        DASK_GATEWAY_API_TOKEN="forged",
        DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION="False",
    )
    cluster = await bench.start(session)
    await cluster.worker()
    assert await cluster.outcomes(
        "lambda: __import__('analysis').ANSWER",
        "lambda: __import__('extra').EXTRA",
        "lambda: os.environ['GREETING']",
        "lambda: [os.environ['HOME'], os.getcwd()]",
        "lambda: os.environ['DASK_GATEWAY_API_TOKEN']",
        "lambda: os.environ['DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION']",
        "lambda: [os.environ.get('PYTHONPATH'), os.environ.get('CANARY')]",
        "lambda: sys.path[-1]",
    ) == [
        42,
        "from the layer",
        "hello",
        ["/home/jovyan", "/home/jovyan/repository"],
        cluster.order.variables["DASK_GATEWAY_API_TOKEN"],
        "True",
        [None, None],
        "/home/jovyan/repository",
    ]


@pytest.mark.parametrize(
    "garbage", ["", "[1, 2]", '{"A": 1, "B=": "x", "": "y", "C": "\\u0000", "D": "\\ud800"}', "[" * 100_000]
)
async def test_variables_that_are_none_do_no_harm(bench: Bench, garbage: str) -> None:
    session = bench.session()
    session.leave(garbage)
    assert (await bench.start(session)).heartbeat["scheduler_address"].startswith("tls://127.0.0.1:")


@in_each_runtime
async def test_workers_see_the_home_and_nothing_of_others(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "canary").write_text("somebody else's")
    session = bench.session()
    cluster = await bench.start(session)
    await cluster.worker()
    assert await cluster.outcomes(
        "lambda: open(os.path.expanduser('~/made'), 'w').write('here')",
        f"lambda: open({str(tmp_path / 'canary')!r}).read()",
        "lambda: open('/run/cluster/dask.pem', 'w')",
        "lambda: sorted(os.listdir('/run/cluster'))",
        "lambda: open('/run/session/variables/environment.json', 'w')",
        "lambda: len(os.listdir('/proc')) < 100 and open('/proc/1/comm').read().strip()",
    ) == [4, "FileNotFoundError", "OSError", list(bench.ground.files), "OSError", bench.ground.first_program]
    assert (session.home / "made").read_text() == "here"


def put_link_in_place_of(path: Path, target: Path | None) -> None:
    moved = path.rename(path.with_name("moved"))
    path.symlink_to(target or moved)


@pytest.mark.parametrize("name", ["variables", "alive"])
async def test_a_link_in_the_run_directory_of_a_session_leads_nowhere(bench: Bench, tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    session = bench.session()
    put_link_in_place_of(Path(session.record.run_directory, name), secret if name == "variables" else None)
    made = bench.order(session)
    with pytest.raises(ClusterStartFailed, match="has ended"):
        await bench.runtime.start_cluster(made)
    assert not bench.left(made.name)


@in_each_runtime
async def test_a_home_can_be_for_reading_only(bench: Bench) -> None:
    session = bench.session()
    (session.home / "data").write_text("numbers")
    cluster = await bench.start(session, home_writable=False)
    await cluster.worker()
    functions = [
        f"lambda: open(os.path.expanduser('~/{name}'), {mode!r}).name" for name, mode in (("data", "r"), ("n", "w"))
    ]
    assert await cluster.outcomes(*functions) == ["/home/jovyan/data", "OSError"]
    assert sorted(path.name for path in session.home.iterdir()) == ["data"]


async def test_a_task_that_takes_too_much_memory_fails_and_the_worker_goes_on(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    worker = await cluster.worker(256 * MIB)
    too_much = "lambda: len(bytearray(1024 * 2**20))"
    assert await cluster.outcomes(too_much, "lambda: len(bytearray(100 * 2**20))") == ["MemoryError", 100 * MIB]
    assert worker in await bench.runtime.running(cluster.name)


async def test_nobody_without_the_token_sees_scheduler_or_workers(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    worker = await cluster.worker()
    await bench.listener.heartbeat(cluster.name)
    await cluster.run("print(1)")  # the worker is there
    for path in ("/status", "/json/identity.json", "/launcher/status", "/launcher/dashboard", "/nothing", "/health"):
        assert (await cluster.get(path)).status_code == 403
        assert (await cluster.get(path, Authorization="token forged")).status_code == 403
        assert (await cluster.get(f"{path}?token={cluster.token['Authorization'][6:]}")).status_code == 403
    status = (await cluster.get("/launcher/status", **cluster.token)).json()
    assert status["idle_seconds"] >= 0
    assert [(one["name"], one["threads"], one["memory_limit"]) for one in status["workers"]] == [
        (worker, 1, 1024 * MIB)
    ]
    identity = (await cluster.get("/json/identity.json", **cluster.token)).json()
    [port] = [one["services"]["dashboard"] for one in identity["workers"].values()]
    of_worker = {"address": f"http://127.0.0.1:{port}"}
    assert (await cluster.get("/health", **of_worker)).status_code == 403
    assert (await cluster.get("/health", **of_worker, **cluster.token)).status_code == 200


async def test_websockets_need_the_token_too(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    address = cluster.heartbeat["dashboard_address"].replace("http", "ws") + "/eventstream"
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        await asyncio.to_thread(websocket.create_connection, address, timeout=20)
    assert refused.value.status_code == 403
    connection = await asyncio.to_thread(websocket.create_connection, address, timeout=20, header=cluster.token)
    assert connection.connected
    connection.close()


async def test_the_dashboard_comes_when_somebody_looks(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    assert (await cluster.get("/status", **cluster.token)).status_code == 404
    answers = await asyncio.gather(*(cluster.get("/launcher/dashboard", **cluster.token) for _ in range(3)))
    assert [answer.json() for answer in answers] == [{"ready": True, "error": ""}] * 3
    page = await cluster.get("/status", **cluster.token)
    assert page.status_code == 200
    assert "bokeh" in page.text
    assert (await cluster.get("/status")).status_code == 403


async def test_everything_listens_on_loopback_only(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    await cluster.worker()
    await cluster.run("print(1)")
    family = [one for root in bench.processes(cluster.name) for one in [root, *root.children(recursive=True)]]
    listening = [c.laddr.ip for one in family for c in one.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize("ground", ["container"], indirect=True)
async def test_a_container_reaches_what_sessions_may_and_its_limits_follow_the_size_of_its_cluster(
    bench: Bench,
) -> None:
    cluster = await bench.start(bench.session())
    alone = bench.ground.memory_limit(cluster.name)
    worker = await cluster.worker(256 * MIB)
    assert bench.ground.memory_limit(cluster.name) - alone == (256 + 256) * MIB
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        ports = (bench.listener.port, somebody.getsockname()[1])
        connect = "lambda: __import__('socket').create_connection(('127.0.0.1', {}), 5) and None"
        interfaces = "lambda: sorted(os.listdir('/sys/class/net'))"
        ask = f"GET http://127.0.0.1:{ports[1]}/ HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n"
        proxy = connect.format("int(os.environ['HTTP_PROXY'].rpartition(':')[2])").removesuffix(" and None")
        proxied = f"lambda: (lambda s: (s.sendall(b'{ask}'), s.recv(12).decode())[1])(({proxy})())"
        found = await cluster.outcomes(
            *map(connect.format, ports), interfaces, proxied, "lambda: len(bytearray(2**30))"
        )
    assert found == [None, "ConnectionRefusedError", ["lo"], "HTTP/1.1 403", "MemoryError"]
    await bench.runtime.stop_worker(cluster.name, worker)
    await asyncio.to_thread(
        eventually, lambda: bench.ground.memory_limit(cluster.name) == alone, what="the end of the worker's room"
    )


async def test_clusters_that_do_not_answer_hold_up_no_gateway_and_can_be_stopped(bench: Bench) -> None:
    silent = [await bench.start(bench.session(server_name=name)) for name in ("a", "b")]
    good = await bench.start(bench.session())
    nurseries = [process for cluster in silent for process in nurseries_of(bench, cluster.name)]
    for nursery in nurseries:
        nursery.suspend()  # as the code of a cluster can do, which has the same user
    await bench.runtime.close()
    bench.runtime = bench.gateway(adoption_seconds=2)
    async with asyncio.timeout(3.5):
        await bench.runtime.setup(bench.ended.put_nowait)
    assert await bench.runtime.running(good.name) == {SCHEDULER}
    await asyncio.gather(*(bench.runtime.stop_cluster(cluster.name) for cluster in silent))
    assert not any(bench.left(cluster.name) for cluster in silent)


async def test_what_is_ordered_while_a_gateway_starts_waits_until_it_knows_what_runs(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    before = {process.pid for process in bench.processes(cluster.name)}
    await bench.runtime.close()
    bench.runtime = bench.gateway()
    again = asyncio.create_task(bench.runtime.start_cluster(cluster.order))  # as the gateway's loops do
    await bench.runtime.setup(bench.ended.put_nowait)
    await again
    assert await bench.runtime.running(cluster.name) == {SCHEDULER}
    assert not before & {process.pid for process in bench.processes(cluster.name)}
    assert bench.ended.empty(), "a cluster that is started anew has not failed"


def nurseries_of(bench: Bench, cluster: str) -> list[psutil.Process]:
    family = [one for root in bench.processes(cluster) for one in root.children(recursive=True)]
    found = {one.pid: one for one in family if any("nursery.py" in word for word in one.cmdline())}
    assert found
    return list(found.values())


async def test_a_second_start_under_one_name_replaces_the_first(bench: Bench) -> None:
    session = bench.session()
    first = await bench.start(session)
    before = {process.pid for process in bench.processes(first.name)}
    await bench.runtime.start_cluster(first.order)
    after = {process.pid for process in bench.processes(first.name)}
    assert before
    assert after
    assert not before & after
    assert bench.ended.empty()


@in_each_runtime
async def test_a_gateway_that_starts_again_finds_its_clusters(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    worker = await cluster.worker()
    assert await cluster.outcomes("lambda: 1") == [1]
    await bench.runtime.close()
    await bench.begin()
    assert await bench.runtime.running(cluster.name) == {SCHEDULER, worker}
    another = await cluster.worker()
    assert (
        await cluster.run("print(json.dumps(len(client.run(os.getpid))))".replace("os", "__import__('os')"), workers=2)
        == 2
    )
    await bench.runtime.stop_worker(cluster.name, worker)
    await bench.runtime.stop_worker(cluster.name, worker)
    await cluster.run("import time\nwhile len(client.scheduler_info()['workers']) > 1: time.sleep(0.05)\nprint(1)")
    assert bench.ended.empty()
    assert another in await bench.runtime.running(cluster.name)
    [root] = [
        one for one in bench.processes(cluster.name) if one.ppid() not in {p.pid for p in bench.processes(cluster.name)}
    ]
    root.kill()
    assert (await asyncio.wait_for(bench.ended.get(), 20)).process == SCHEDULER


async def test_what_ended_while_no_gateway_was_there_is_told_to_the_next(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    worker = await cluster.worker()
    await cluster.outcomes("lambda: 1")
    await bench.runtime.close()
    await cluster.run(
        f"import time\nclient.submit({LATER.format(status=3)}).result()\n"
        "while client.scheduler_info()['workers']: time.sleep(0.05)\nprint(1)"
    )
    await bench.begin()
    ended = await asyncio.wait_for(bench.ended.get(), 20)
    assert (ended.cluster, ended.process) == (cluster.name, worker)
    assert await bench.runtime.running(cluster.name) == {SCHEDULER}


async def test_a_worker_that_ends_by_itself_is_told(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    worker = await cluster.worker()
    program = "lambda: __import__('subprocess').Popen(['/bin/sleep', '600']).pid"
    await cluster.outcomes(program)
    assert "sleep" in bench.programs(cluster.name)
    await cluster.outcomes(LATER.format(status=3))
    ended = await asyncio.wait_for(bench.ended.get(), 20)
    assert (ended.cluster, ended.process) == (cluster.name, worker)
    assert "exit status 3" in ended.reason
    assert await bench.runtime.running(cluster.name) == {SCHEDULER}
    await asyncio.to_thread(
        eventually, lambda: "sleep" not in bench.programs(cluster.name), what="the end of what its tasks started"
    )


@in_each_runtime
async def test_a_cluster_that_is_killed_is_told(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    await cluster.worker()
    for process in bench.processes(cluster.name):
        process.kill()
    ended = await asyncio.wait_for(bench.ended.get(), 20)
    assert (ended.cluster, ended.process) == (cluster.name, SCHEDULER)
    assert "killed" in ended.reason
    assert await bench.runtime.running(cluster.name) == frozenset()
    with pytest.raises(ClusterStartFailed):
        await cluster.worker()
    await bench.runtime.stop_cluster(cluster.name)
    assert not bench.left(cluster.name)


@in_each_runtime
async def test_a_scheduler_that_crashes_takes_its_cluster_along(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    await cluster.worker()
    await cluster.run(f"client.run_on_scheduler({LATER.format(status=7)})\nprint(1)")
    ended = [await asyncio.wait_for(bench.ended.get(), 20)]
    while ended[-1].process != SCHEDULER:
        ended.append(await asyncio.wait_for(bench.ended.get(), 20))
    assert "exit status 7" in ended[-1].reason
    await asyncio.to_thread(eventually, lambda: not bench.processes(cluster.name), what="the end of every process")


@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "crashed"])
async def test_a_worker_that_will_not_end_is_gone_with_its_cluster(bench: Bench, *, crash: bool) -> None:
    cluster = await bench.start(bench.session())
    await cluster.worker()
    freeze = "lambda: __import__('threading').Timer(1, os.kill, (os.getpid(), __import__('signal').SIGSTOP)).start()"
    await cluster.outcomes(freeze)
    outermost = min(bench.processes(cluster.name), key=lambda one: one.pid)
    family = [outermost, *outermost.children(recursive=True)]
    await asyncio.to_thread(
        eventually, lambda: any(one.status() == psutil.STATUS_STOPPED for one in family), what="a frozen worker"
    )
    if crash:
        first_of_the_nursery = min((one for one in family if not one.children()), key=lambda one: one.pid)
        first_of_the_nursery.kill()
        assert (await asyncio.wait_for(bench.ended.get(), 20)).process == SCHEDULER
    await bench.runtime.stop_cluster(cluster.name)
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


@in_each_runtime
async def test_what_a_dead_gateway_began_is_found_and_removed(bench: Bench) -> None:
    cluster = await bench.start(bench.session())
    await bench.runtime.close()
    shutil.rmtree(bench.state / "dask" / "clusters" / cluster.name)
    half = secrets.token_hex(16)
    (bench.state / "dask" / "clusters" / half / "inside").mkdir(parents=True)
    await bench.begin()
    assert await bench.runtime.clusters() == {cluster.name, half}
    for name in (cluster.name, half):
        await bench.runtime.stop_cluster(name)
        assert not bench.left(name)
    assert await bench.runtime.clusters() == frozenset()


async def test_a_cluster_without_session_and_gateway_ends_itself(bench: Bench) -> None:
    session = bench.session()
    cluster = await bench.start(session)
    session.end()
    await bench.listener.questions(8)  # longer than its patience with a gateway that does not answer
    assert SCHEDULER in await bench.runtime.running(cluster.name)
    await bench.listener.close()
    ended = await asyncio.wait_for(bench.ended.get(), 30)
    assert ended.process == SCHEDULER
    assert "the gateway is gone" in bench.runtime.read_log(cluster.name, SCHEDULER, limit=5000)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
async def test_a_cluster_runs_as_the_user_of_its_session(bench: Bench) -> None:
    cluster = await bench.start(bench.session(owner=(0, 0)))
    await cluster.worker()
    assert await cluster.outcomes("os.getuid") == [1000]


async def test_names_that_are_paths_are_refused(bench: Bench) -> None:
    for name in ("..", "a/b", "", "scheduler", "A"):
        with pytest.raises(ValueError, match="not a name"):
            await bench.runtime.stop_cluster(name)
        with pytest.raises(ValueError, match="not a name"):
            bench.runtime.log_names(name)
    with pytest.raises(ValueError, match="not a name"):
        bench.runtime.read_log("a" * 32, "../scheduler", limit=10)
