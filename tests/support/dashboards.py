"""The dashboards' guard behind the real proxies: JupyterHub's and Dask-Gateway's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask_gateway_server
import requests
from jupyterhub.services.auth import HubOAuth
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from launcher.dask.dashboards import Dashboard, close_dashboards, dashboard_routes, make_dashboards
from tests.support.hub import RunningHub, free_port
from tests.support.odd_scheduler import OddScheduler
from tests.support.running import eventually

TOKEN = "the-token-of-the-cluster"
SERVICE_TOKEN = "dask-service-token-0123456789abcdef"
BASE_URL = "/jhub/"
PREFIX = f"{BASE_URL}services/dask-gateway/"
HUB_CONFIG = f"""
c.JupyterHub.services.append({{{{
    "name": "dask-gateway", "url": "http://127.0.0.1:{{port}}", "api_token": "{SERVICE_TOKEN}",
    "oauth_no_confirm": True}}}})
c.JupyterHub.load_groups = {{{{"dask": {{{{"users": ["alice", "mallory", "ada"]}}}}}}}}
c.JupyterHub.load_roles.append(
    {{{{"name": "dask", "groups": ["dask"], "scopes": ["access:services!service=dask-gateway"]}}}})
c.Authenticator.admin_users = {{{{"ada"}}}}
"""
_PROXY = Path(dask_gateway_server.__file__).parent / "proxy" / "dask-gateway-proxy"


class Guard:
    """The guard in a thread with its own event loop, and clusters as tests want them."""

    def __init__(self) -> None:
        self.clusters: dict[str, Dashboard] = {}
        self.proxy_port = free_port()
        self.loop = asyncio.new_event_loop()
        self._sockets = bind_sockets(0, "127.0.0.1")
        self.port: int = self._sockets[0].getsockname()[1]
        self.direct = f"http://127.0.0.1:{self.port}"
        self._schedulers: list[OddScheduler] = []
        self._thread = threading.Thread(target=self.loop.run_forever)

    def find(self, name: str) -> Dashboard | None:
        return self.clusters.get(name)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the loop and wait for its result."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def start(self, hub_api_url: str) -> None:
        self._thread.start()
        auth = HubOAuth(
            api_url=hub_api_url,
            api_token=SERVICE_TOKEN,
            base_url=PREFIX,
            hub_prefix=f"{BASE_URL}hub/",
            oauth_client_id="service-dask-gateway",
            oauth_redirect_uri=f"{PREFIX}oauth_callback",
            oauth_authorization_url=f"{BASE_URL}hub/api/oauth2/authorize",
            access_scopes={"access:services!service=dask-gateway", "access:services"},
            allow_token_in_url=False,
            cache_max_age=1,
        )

        def serve() -> None:
            self.application = make_dashboards(
                self, prefix=PREFIX, hub_base_url=BASE_URL, hub_auth=auth, recheck_seconds=0.2
            )
            self._server = HTTPServer(self.application)
            self._server.add_sockets(self._sockets)

        self.call(serve)

    def scheduler(self, name: str, owner: str = "alice") -> OddScheduler:
        """A new cluster with this name."""
        scheduler = OddScheduler()
        self.call(lambda: scheduler.server.add_sockets(scheduler.sockets))
        self._schedulers.append(scheduler)
        self.clusters[name] = Dashboard(owner, scheduler.address, TOKEN)
        return scheduler

    def stop(self) -> None:
        async def close() -> None:
            await close_dashboards(self.application)
            for server in (self._server, *(scheduler.server for scheduler in self._schedulers)):
                server.stop()
                await server.close_all_connections()
            with contextlib.suppress(ImportError):  # JupyterHub 5 has no client of its own
                from jupyterhub.httpclient import JupyterHubHTTPClient

                await JupyterHubHTTPClient.loop_instance().close()

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()


class _Routes(RequestHandler):
    """The part of Dask-Gateway that tells its proxy the routes."""

    def initialize(self, routes: list[tuple[str, str]]) -> None:
        self.routes = routes

    async def get(self) -> None:
        if self.get_query_argument("watch", ""):
            await asyncio.Event().wait()
        routes = [{"kind": "PATH", "path": PREFIX.rstrip("/") + path, "target": to} for path, to in self.routes]
        self.finish(json.dumps({"routes": routes, "id": 1}))


@contextlib.contextmanager
def gateway_proxy(guard: Guard) -> Iterator[None]:
    """Dask-Gateway's own proxy with the guard's routes."""
    sockets = bind_sockets(0, "127.0.0.1")
    api = HTTPServer(Application([(r"/routes", _Routes, {"routes": dashboard_routes(PREFIX, guard.port)})]))
    guard.call(lambda: api.add_sockets(sockets))
    command = [_PROXY, "-address", f"127.0.0.1:{guard.proxy_port}", "-log-level", "error", "-is-child-process"]
    command += ["-api-url", f"http://127.0.0.1:{sockets[0].getsockname()[1]}/routes"]
    proxy = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=sys.stderr, env={"DASK_GATEWAY_PROXY_TOKEN": "token-of-the-proxy"}
    )
    try:
        yield
    finally:
        proxy.terminate()
        proxy.wait(10)
        proxy.stdin.close()
        guard.call(api.stop)
        asyncio.run_coroutine_threadsafe(api.close_all_connections(), guard.loop).result(10)


@contextlib.contextmanager
def running_guard() -> Iterator[tuple[Guard, RunningHub]]:
    """Hub, both proxies and the guard."""
    guard = Guard()
    hub = RunningHub(HUB_CONFIG.format(port=guard.proxy_port), base_url=BASE_URL)
    guard.start(hub.hub_api_url)
    try:
        with gateway_proxy(guard), hub:
            guard.scheduler("probe")
            address = f"{hub.url}services/dask-gateway/clusters/probe/x"
            eventually(lambda: _status(address) == 403, what="the way through both proxies")
            yield guard, hub
    finally:
        guard.stop()


def _status(address: str) -> int:
    return requests.get(address, timeout=10, allow_redirects=False).status_code
