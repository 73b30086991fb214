"""The gateway's backend in the test's own process: real rows and loops, with clusters that are only noted down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from traitlets.config import Config

from launcher.config_files import read_settings
from launcher.dask.authenticator import GatewayUser
from launcher.dask.backend import LauncherBackend
from launcher.dask.base import SCHEDULER, ClusterOrder, LiveSession, ProcessEnded, WorkerOrder
from launcher.dask.gateway import configuration


@dataclass
class NotedClusters:
    """A `launcher.dask.base.ClusterRuntime` of which nothing runs."""

    live: list[LiveSession]
    started: dict[str, ClusterOrder] = field(default_factory=dict)
    workers: dict[str, set[str]] = field(default_factory=dict)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    def sessions(self, user: str) -> list[LiveSession]:
        return [one for one in self.live if one.user == user]

    def is_live(self, user: str, server_name: str) -> bool:
        return any(one.server_name == server_name for one in self.sessions(user))

    async def setup(self, on_end: Callable[[ProcessEnded], None]) -> None:
        self.on_end = on_end
        self.may_end.set()

    async def close(self) -> None:
        pass

    async def start_cluster(self, order: ClusterOrder) -> None:
        self.started[order.name] = order
        self.workers[order.name] = set()

    def is_port_of(self, cluster: str, port: int) -> bool:
        return True

    async def start_worker(self, cluster: str, worker: WorkerOrder) -> None:
        self.workers[cluster].add(worker.name)

    async def stop_worker(self, cluster: str, worker: str) -> None:
        self.workers.get(cluster, set()).discard(worker)

    async def stop_cluster(self, cluster: str) -> None:
        await self.may_end.wait()
        self.started.pop(cluster, None)
        self.workers.pop(cluster, None)

    async def running(self, cluster: str) -> frozenset[str]:
        return frozenset({SCHEDULER, *self.workers[cluster]} if cluster in self.started else ())

    async def clusters(self) -> frozenset[str]:
        return frozenset(self.started)

    def log_names(self, cluster: str) -> list[str]:
        return []

    def read_log(self, cluster: str, process: str, *, limit: int) -> str:
        return ""

    def remove_logs(self, cluster: str) -> None:
        pass


class Scheduler:
    """What a gateway asks of a scheduler, answered as the test says: ``answer`` may be replaced."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.answer: Callable[[web.Request], Any] = self._agree
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._any)
        self.server = TestServer(application, host="127.0.0.1")

    async def _any(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            self.told.append(await request.json())
        response: web.StreamResponse = await self.answer(request)
        return response

    @staticmethod
    async def _agree(_: web.Request) -> web.Response:
        return web.Response()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"


@dataclass
class RunningBackend:
    """A backend and the clusters that it believes to have."""

    backend: LauncherBackend
    runtime: NotedClusters

    def user(self, name: str = "rosa", *groups: str) -> GatewayUser:
        return GatewayUser(name, list(groups), admin=False, session=None)

    async def start(self, scheduler: Scheduler, name: str = "rosa", *groups: str, **options: Any) -> Any:
        """The row of a cluster that runs."""
        cluster = await self.backend.start_cluster(self.user(name, *groups), options)
        row = self.backend.db.get_cluster(cluster)
        await self.until(lambda: cluster in self.runtime.started)
        await self.heartbeat(row, scheduler)
        async with asyncio.timeout(10):
            await row.ready
        return row

    async def heartbeat(self, row: Any, scheduler: Scheduler, **more: Any) -> None:
        message = {
            "scheduler_address": "tls://127.0.0.1:1",
            "dashboard_address": scheduler.address,
            "api_address": scheduler.address,
            "count": row.count,
            "active_workers": [],
            "closing_workers": [],
            "closed_workers": [],
            **more,
        }
        await self.backend.on_cluster_heartbeat(row.name, message)

    async def scale(self, row: Any, count: int) -> None:
        await self.backend.forward_message_to_scheduler(row.to_model(), {"op": "scale", "count": count})

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - rows tell nobody that they changed
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running_backend(state: Path, *people: str, **dask: Any) -> AsyncIterator[RunningBackend]:
    """A backend whose ``people`` have one session each; keywords are traits of `LauncherDask`."""
    config = Config()
    config.Launcher.state_directory = str(state)
    config.Launcher.dask = True
    config.LauncherDask.update(dask)
    settings = read_settings(config)
    assert settings.dask is not None
    backend = LauncherBackend(config=configuration(settings, settings.dask, "/services/dask-gateway"))
    backend.gateway_address = "127.0.0.1:1"
    runtime = NotedClusters([LiveSession(one, "", "server", "Regular session") for one in people or ("rosa",)])
    backend.settings, backend.runtime = settings.dask, runtime
    await backend.setup(web.Application())
    try:
        yield RunningBackend(backend, runtime)
    finally:
        await backend.cleanup()
