"""The service: wires the parts together, runs until it is told to stop, drains.

JupyterHub starts it as a managed service (``launcher serve``); all it needs is in its environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import RequestHandler

import launcher
from launcher.builders.base import Builder
from launcher.builds import BuildLogs, BuildQueue
from launcher.config import SETTINGS_VARIABLE, Settings
from launcher.errors import BadRequest, ConfigurationInvalid, LauncherError, TicketInvalid
from launcher.hub.homes import project_directory
from launcher.hub.redeem import REDEEM_PATH
from launcher.log import configure_logging
from launcher.models import LaunchPlan
from launcher.policy.culling import CullPolicy
from launcher.retention.catalogue import EnvironmentCatalogue
from launcher.retention.collector import Collector
from launcher.retention.loop import Retention
from launcher.retention.parts import RetentionParts
from launcher.retention.policy import RetentionPolicy
from launcher.runtimes import (
    environment_users,
    machine_sizes,
    make_builder,
    regular_sessions,
    regular_sizes,
    wait_for_runtime,
)
from launcher.sealed import Once, SealedTalk
from launcher.sessions.documents import Documents
from launcher.sessions.flights import Flights
from launcher.sessions.gateway import GatewayClusters
from launcher.sessions.history import BuildHistory
from launcher.sessions.mine import MyLaunches
from launcher.sessions.new_session import NewSession
from launcher.sessions.parts import LaunchParts
from launcher.sessions.project_homes import ProjectHomes
from launcher.sessions.rebuild import Rebuilds
from launcher.sessions.service import LaunchService
from launcher.sessions.spawn_starts import SpawnStarts
from launcher.sources.providers import SourcesConfig
from launcher.sources.registry import RepositorySources
from launcher.store import StateLock, Store
from launcher.supervise import supervise
from launcher.tickets import SEAL_HEADER, TicketSigner, kept_secret
from launcher.translations import read_translations
from launcher.web.application import make_application
from launcher.web.base import public_error
from launcher.web.settings import WebParts, WebSettings
from launcher.web.spawn_form import SpawnFormParts, sealed_routes
from launcher.web.words import Languages

log = structlog.get_logger(__name__)
_TAKE_OVER_SECONDS = 30


@dataclass(frozen=True)
class ServiceAddress:
    """What JupyterHub tells a service about itself (``JUPYTERHUB_*``)."""

    port: int
    prefix: str
    hub_base_url: str
    hub_api_url: str

    @classmethod
    def from_environment(cls) -> ServiceAddress:
        """Read the variables. Raises ConfigurationInvalid when JupyterHub did not start us."""
        try:
            port = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port
            prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
            base, api = os.environ["JUPYTERHUB_BASE_URL"], os.environ["JUPYTERHUB_API_URL"]
        except KeyError as error:
            raise ConfigurationInvalid(
                "`launcher serve` is started by JupyterHub, not by hand.",
                hint="Put `import launcher; launcher.enable(c)` into jupyterhub_config.py, or run `launcher up`.",
            ) from error
        if port is None:
            raise ConfigurationInvalid("JUPYTERHUB_SERVICE_URL has no port.")
        return cls(port, prefix, base, api)


class RedeemHandler(RequestHandler):
    """``POST api/v1/tickets/redeem``: the Hub's spawner exchanges a ticket for its plan, once."""

    def initialize(self, store: Store, signer: TicketSigner) -> None:
        """Take the parts it works with."""
        self._store = store
        self._signer = signer

    def check_xsrf_cookie(self) -> None:
        """No cookie is looked at: the signed ticket is the credential."""

    def post(self) -> None:
        """The plan as JSON. 403 for a ticket that is not good any more, 400 for another body."""
        self.set_header("Cache-Control", "no-store")
        try:
            token, plan = self._redeem()
        except LauncherError as error:
            self.set_status(error.http_status)
            self.finish({"error": error.to_dict()})
            return
        answer = json.dumps(plan.to_json()).encode()
        self.set_header("Content-Type", "application/json")
        self.set_header(SEAL_HEADER, self._signer.seal(token, answer))
        self.finish(answer)

    def write_error(self, status_code: int, **_: object) -> None:
        """Tornado's hook: another method, or trouble of ours, in the shape of all errors."""
        error = public_error(status_code, None)
        self.set_status(error.http_status)
        self.finish({"error": error.to_dict()})

    def _redeem(self) -> tuple[str, LaunchPlan]:
        try:
            body = json.loads(self.request.body)
            token, user, server = (str(body[name]) for name in ("ticket", "user", "server_name"))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadRequest("A ticket, a user and a server name are needed.") from error
        ticket = self._signer.read(token, user=user, server_name=server)
        plan = self._store.redeem_ticket(ticket.jti)
        if plan is None:
            raise TicketInvalid("This start request was used before.", hint="Open the repository's launch link again.")
        return token, plan


def _sources(settings: Settings) -> RepositorySources:
    return RepositorySources(
        SourcesConfig(
            cache_directory=settings.state / "repositories",
            allow_hosts=frozenset(settings.allow_hosts),
            local_directories=tuple(Path(directory) for directory in settings.local_directories),
            fetch_timeout=settings.source_timeout_seconds,
            max_repository_bytes=settings.source_max_bytes,
            github_token=settings.github_token or None,
        )
    )


def _web_settings(settings: Settings, address: ServiceAddress, builder: Builder) -> WebSettings:
    secret = kept_secret(settings.state / "secrets" / "build-token").encode()
    return WebSettings(
        build_token_secret=secret,
        service_prefix=address.prefix,
        hub_base_url=address.hub_base_url,
        public_url=settings.public_url or None,
        cors_origins=settings.cors_origins,
        version=launcher.__version__,
        builder_info={"builder": builder.fingerprint[:16]},
        banner=settings.banner,
        languages=Languages(read_translations(settings.translations_directory)),
    )


def _clusters(settings: Settings, address: ServiceAddress, parts: LaunchParts) -> GatewayClusters | None:
    """What the web asks about clusters: past the Hub's proxy, which may be slow to know a service that starts."""
    if settings.dask is None:
        return None
    gateway = f"http://127.0.0.1:{settings.dask.port}{address.hub_base_url}services/{settings.dask.service_name}"
    return GatewayClusters(gateway, parts.dask_policy)


async def _hub_answers(hub_api_url: str) -> dict[str, object]:
    """The Hub's entry in ``/health``."""
    response = await AsyncHTTPClient().fetch(f"{hub_api_url}/", raise_error=False)
    return {"service": "JupyterHub API", "ok": response.code == HTTPStatus.OK}


def _collector(settings: Settings, store: Store, builder: Builder, builds: BuildQueue, logs: BuildLogs) -> Collector:
    policy, users = RetentionPolicy.of(settings), environment_users(settings)
    return Collector(RetentionParts(store, builder, builds, logs), policy=policy, users=users)


def _web_parts(
    settings: Settings,
    address: ServiceAddress,
    parts: LaunchParts,
    collector: Collector,
    clusters: GatewayClusters | None,
) -> WebParts:
    flights = Flights(parts.builds)
    redeem = (address.prefix + REDEEM_PATH, RedeemHandler, {"store": parts.store, "signer": parts.signer})
    homes = ProjectHomes(partial(project_directory, settings.state / "projects"))
    mine = MyLaunches(
        parts.store,
        parts.sources,
        settings.trust_policy,
        homes,
        address.hub_api_url,
        sizes=parts.sizes,
        regular_size=regular_sizes(settings),
        culling=CullPolicy(settings.cullers),
    )
    new_session = NewSession(parts, flights, regular_sessions(settings), public_url=settings.public_url)
    web = _web_settings(settings, address, parts.builder)
    talk, starts = SealedTalk(settings.ticket_secret), SpawnStarts(parts.builds)
    form = SpawnFormParts(talk, Once(), new_session, starts, web.languages, address.prefix)
    return WebParts(
        launches=LaunchService(parts, flights, public_url=settings.public_url),
        history=BuildHistory(parts.store),
        mine=mine,
        new_session=new_session,
        sources=parts.sources,
        settings=web,
        clusters=clusters,
        environments=EnvironmentCatalogue(parts.store, collector),
        rebuilds=Rebuilds(parts),
        documents=Documents(parts.sources, settings.trust_policy),
        health_checks=(partial(_hub_answers, address.hub_api_url),),
        extra_handlers=(redeem, *sealed_routes(form)),
    )


@asynccontextmanager
async def running_service(
    settings: Settings, address: ServiceAddress, listener: socket.socket | None = None
) -> AsyncIterator[HTTPServer]:
    """The whole service, listening, until the block ends; then it drains: builds stop and stay in the queue.

    ``listener`` listens at its address already; None has it listen when everything else is there.
    """
    async with AsyncExitStack() as stack:
        lock = StateLock(settings.state, patience_seconds=_TAKE_OVER_SECONDS)
        await asyncio.to_thread(lock.acquire)
        stack.callback(lock.release)
        store = Store.open(settings.store_url)
        stack.callback(store.close)
        store.hold_alone()
        store.purge_expired_tickets()
        builder = make_builder(settings)
        logs = BuildLogs(settings.state / "logs")
        builds = BuildQueue(
            store, builder, logs, concurrency=settings.build_concurrency, max_waiting=settings.build_max_waiting
        )
        collector = _collector(settings, store, builder, builds, logs)
        retention = Retention(collector)
        await retention.start()
        stack.push_async_callback(retention.stop)
        await builds.start()
        stack.push_async_callback(builds.stop)
        sources = _sources(settings)
        signer = TicketSigner(settings.ticket_secret)
        parts = LaunchParts(
            sources,
            builder,
            builds,
            store,
            settings.trust_policy,
            signer,
            address.hub_api_url,
            settings.dask,
            await asyncio.to_thread(machine_sizes, settings),
        )
        clusters = _clusters(settings, address, parts)
        if clusters is not None:
            stack.callback(clusters.close)
        web = _web_parts(settings, address, parts, collector, clusters)
        application = make_application(web)
        server = HTTPServer(application)
        server.add_sockets([listener] if listener else bind_sockets(address.port, "127.0.0.1"))
        stack.push_async_callback(server.close_all_connections)
        stack.callback(application.settings["stream_slots"].close)
        stack.callback(server.stop)
        log.info("service.ready", port=address.port, prefix=address.prefix)
        yield server


async def _serve(settings: Settings, address: ServiceAddress, listener: socket.socket | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running_service(settings, address, listener):
        await stop.wait()


def _say_what_is_missing(error: LauncherError) -> None:
    log.warning("service.waits", message=error.message, hint=error.hint)


def serve(listener: socket.socket | None) -> int:
    """Run the service until SIGTERM or Ctrl-C; killed, it starts again. Raises OperatorError when it cannot start.

    ``listener`` is its socket when it listens already. It stays with the process that starts the service again: who
    asks meanwhile waits for the next one.
    """
    configure_logging()
    settings = Settings.from_json(os.environ.get(SETTINGS_VARIABLE, ""))
    os.environ.pop(SETTINGS_VARIABLE, None)  # children need none of it
    address = ServiceAddress.from_environment()

    def run() -> int:
        wait_for_runtime(settings, _say_what_is_missing)
        asyncio.run(_serve(settings, address, listener))
        return 0

    return supervise(run)
