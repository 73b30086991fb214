"""The real handlers, on a free port of this process, as a service of a real JupyterHub."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from jupyterhub.services.auth import HubOAuth
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from launcher.builders.fake import FakeBuilder
from launcher.builds import BuildLogs, BuildQueue
from launcher.hub.homes import project_directory
from launcher.hub.preset import ACTIVITY_SCOPE, OAUTH_SCOPES
from launcher.policy.culling import CullPolicy
from launcher.policy.sizes import MachineSizes
from launcher.policy.trust import TrustPolicy
from launcher.retention.catalogue import EnvironmentCatalogue
from launcher.retention.collector import Collector
from launcher.retention.parts import RetentionParts
from launcher.retention.policy import RetentionPolicy
from launcher.sessions.clusters import Clusters
from launcher.sessions.flights import Flights
from launcher.sessions.history import BuildHistory
from launcher.sessions.mine import MyLaunches
from launcher.sessions.new_session import NewSession
from launcher.sessions.parts import LaunchParts
from launcher.sessions.project_homes import ProjectHomes
from launcher.sessions.rebuild import Rebuilds
from launcher.sessions.session_offer import RegularSessions
from launcher.store import Store
from launcher.tickets import TicketSigner
from launcher.web.application import make_application
from launcher.web.settings import WebParts, WebSettings
from tests.support.hub import RunningHub
from tests.support.languages import languages
from tests.support.scripted_launches import ScriptedLaunches, ScriptedSources

SERVICE_TOKEN = "binder-service-token-0123456789ab"
SECRET = b"a build token secret of the tests"
PREFIX = "/services/binder/"

_SERVICE = """
c.Authenticator.admin_users = {{"olga"}}
c.JupyterHub.allow_named_servers = True
c.Spawner.cmd = [{python!r}, "-c", {session!r}]
c.JupyterHub.services.append({{
    "name": "binder", "url": "http://127.0.0.1:{port}", "api_token": "{token}", "oauth_no_confirm": True,
    "oauth_client_allowed_scopes": {scopes!r}}})
c.JupyterHub.load_roles.append({{"name": "user", "scopes": ["self", "access:services!service=binder"]}})
"""


_SESSION = """
import http.server, os, urllib.parse
address = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(404)
http.server.HTTPServer((address.hostname, address.port), Handler).serve_forever()
"""
"""A session that answers and nothing else; ready in no time."""


class WebThread:
    """The application in a thread with its own event loop, so that tests can use blocking clients."""

    def __init__(self, sockets: list[Any], hub_auth: HubOAuth, directory: Path) -> None:
        self.launches = ScriptedLaunches()
        self.sources = ScriptedSources()
        self.store = Store.open(f"sqlite:///{directory}/launcher.sqlite")
        self.projects = directory / "projects"
        self.policy = TrustPolicy()
        self.culling = CullPolicy()
        self.sizes = MachineSizes()
        self.regular_size = ""  # name of the machine size of everybody's regular session
        self.clusters: Clusters | None = None
        self.in_use: set[str] = set()  # references of environments in which sessions run
        builder, logs = FakeBuilder(), BuildLogs(directory / "logs")
        queue = BuildQueue(self.store, builder, logs)
        signer = TicketSigner(SECRET.decode())
        parts = LaunchParts(self.sources, builder, queue, self.store, self.policy, signer, hub_auth.api_url)
        self.rebuilds = Rebuilds(parts)
        self.new_session = NewSession(parts, Flights(queue), RegularSessions())
        self.collector = Collector(
            RetentionParts(self.store, builder, queue, logs),
            policy=RetentionPolicy(),
            users=lambda: frozenset(self.in_use),
        )
        self.settings = WebSettings(
            build_token_secret=SECRET,
            keepalive_seconds=0.2,
            linger_seconds=0.1,
            noscript_wait_seconds=0.5,
            languages=languages(),
        )
        self._sockets = sockets
        self._hub_auth = hub_auth
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)

    def start(self) -> None:
        self._thread.start()
        self.call(self._serve)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the loop and wait for its result."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(20)

    def _serve(self) -> None:
        self.application = make_application(self.parts())
        self._server = HTTPServer(self.application)
        self._server.add_sockets(self._sockets)

    def parts(self) -> WebParts:
        """The parts as they are now: real ones on a store and directories of this thread, scripted launches."""
        homes = ProjectHomes(partial(project_directory, self.projects))
        return WebParts(
            launches=self.launches,
            history=BuildHistory(self.store),
            mine=MyLaunches(
                self.store,
                self.sources,
                self.policy,
                homes,
                self._hub_auth.api_url,
                sizes=self.sizes,
                regular_size=lambda _: self.regular_size,
                culling=self.culling,
            ),
            new_session=self.new_session,
            sources=self.sources,
            settings=self.settings,
            hub_auth=self._hub_auth,
            clusters=self.clusters,
            environments=EnvironmentCatalogue(self.store, self.collector),
            rebuilds=self.rebuilds,
        )

    def fresh(self, **changes: Any) -> None:
        """New launches, counters and caps, with other settings for one test."""

        def change() -> None:
            self.launches = ScriptedLaunches()
            self.sources.branch = None
            parts = dataclasses.replace(self.parts(), settings=dataclasses.replace(self.settings, **changes))
            self.application.settings.update(make_application(parts).settings)

        self.call(change)

    def stop(self) -> None:
        async def close() -> None:
            self._server.stop()
            await self._server.close_all_connections()
            try:
                from jupyterhub.httpclient import JupyterHubHTTPClient
            except ImportError:  # JupyterHub 5 has no client of its own
                return
            await JupyterHubHTTPClient.loop_instance().close()

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()
        self.store.close()


@pytest.fixture(scope="session")
def web_socket() -> list[Any]:
    return bind_sockets(0, "127.0.0.1")


@pytest.fixture(scope="session")
def planned_hub(web_socket: list[Any]) -> RunningHub:
    """The hub before it runs: its addresses are known, so that the service can be there first."""
    port = web_socket[0].getsockname()[1]
    return RunningHub(
        _SERVICE.format(
            port=port,
            token=SERVICE_TOKEN,
            python=sys.executable,
            session=_SESSION,
            scopes=[*OAUTH_SCOPES, ACTIVITY_SCOPE],
        )
    )


@pytest.fixture(scope="session")
def running_web(
    planned_hub: RunningHub, web_socket: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebThread]:
    auth = HubOAuth(
        api_url=planned_hub.hub_api_url,
        api_token=SERVICE_TOKEN,
        base_url=PREFIX,
        oauth_client_id="service-binder",
        oauth_redirect_uri=f"{PREFIX}oauth_callback",
        access_scopes={"access:services!service=binder", "access:services"},
        allow_token_in_url=False,
    )
    thread = WebThread(web_socket, auth, tmp_path_factory.mktemp("web"))
    thread.start()
    yield thread
    thread.stop()


@pytest.fixture(scope="session")
def hub(planned_hub: RunningHub, running_web: WebThread) -> Iterator[RunningHub]:
    """The hub; it waits at start for its services, so the web runs before it."""
    with planned_hub:
        yield planned_hub


@pytest.fixture
def web(running_web: WebThread) -> WebThread:
    """The running application with nothing remembered from the test before."""
    running_web.fresh()
    return running_web


@pytest.fixture(scope="session")
def base(hub: RunningHub) -> str:
    """The service as a browser sees it, through the proxy, without a slash at the end."""
    return hub.url + PREFIX.strip("/")


@pytest.fixture(scope="session")
def direct(hub: RunningHub, web_socket: list[Any]) -> str:
    """The service without the proxy in front, for what the proxy itself refuses."""
    return f"http://127.0.0.1:{web_socket[0].getsockname()[1]}{PREFIX.rstrip('/')}"


@pytest.fixture(scope="session")
def alice_token(hub: RunningHub) -> str:
    return hub.token_for("alice")


@pytest.fixture
def api(alice_token: str) -> Iterator[requests.Session]:
    """Alice as an API client."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"token {alice_token}"
        yield session


@pytest.fixture(scope="session")
def _alice_cookies(hub: RunningHub, base: str, running_web: WebThread) -> requests.Session:
    session = hub.login_session("alice")
    session.get(f"{base}/", timeout=30)  # walks through the Hub's OAuth
    return session


@pytest.fixture
def browser(_alice_cookies: requests.Session) -> Iterator[requests.Session]:
    """Alice in a browser: cookies of Hub and service, and the headers of a page view."""
    with requests.Session() as session:
        session.cookies.update(_alice_cookies.cookies)
        session.headers.update({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"})
        yield session
