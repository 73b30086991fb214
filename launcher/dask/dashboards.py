"""The dashboards' guard: the only way to a scheduler's pages, for the cluster's owner and for admins of the Hub.

It listens on the loopback interface. Requests come through the Hub's proxy and through Dask-Gateway's, which keeps
addresses to the byte when the target of a route has the same path as the route: see `dashboard_routes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler
from tornado.web import Application, RequestHandler

from launcher.dask.dashboard_access import IdentifiedHandler, Views
from launcher.dask.dashboard_forward import DashboardHandler
from launcher.dask.dashboard_pages import SayingHandler
from launcher.dask.dashboard_question import DashboardQuestion
from launcher.dask.dashboard_socket import DashboardSocket, ForAWebSocket
from launcher.dask.reverse_proxy import MAX_MESSAGE_BYTES, Dashboard, ReverseProxy
from launcher.errors import LoginRequired, NotAllowed, NotFound
from launcher.web.base import log_text
from launcher.web.headers import host_of_origin

__all__ = ["ClusterDirectory", "Dashboard", "close_dashboards", "dashboard_routes", "make_dashboards"]

log = structlog.get_logger("launcher.dask.dashboards")

_LOGIN_CACHE_SECONDS = 60  # how long a login that the Hub ended may still open pages
_PING_SECONDS = 30


class ClusterDirectory(Protocol):
    """Knows the running clusters."""

    def find(self, name: str) -> Dashboard | None:
        """The dashboard of a running cluster; None when there is none, or not any more."""


@dataclass(frozen=True)
class DashboardParts:
    """What the handlers work with. prefix: of the service, with slashes at both ends."""

    directory: ClusterDirectory
    prefix: str
    hub_base_url: str
    hub_auth: HubOAuth
    public_hosts: frozenset[str]
    proxy: ReverseProxy
    question: DashboardQuestion
    views: Views
    recheck_seconds: float


class CallbackHandler(SayingHandler, IdentifiedHandler, HubOAuthCallbackHandler):  # type: ignore[misc]  # no types
    """The end of the Hub's login."""

    async def prepare(self) -> None:
        """Look without blocking who is here: HubOAuth asks when a login ends a second time."""
        with contextlib.suppress(LoginRequired, NotAllowed):  # then nobody is, which is fine here
            self.viewer = await self.identify()
        self.current_user = self.viewer


class NothingHandler(SayingHandler, RequestHandler):
    """Every other address."""

    def prepare(self) -> None:
        """Say so, whatever the method."""
        raise NotFound("There is nothing at this address.", hint="Check the link.")


def dashboard_routes(prefix: str, port: int) -> list[tuple[str, str]]:
    """Paths and targets for ``Proxy.add_route(kind="PATH", …)`` of a proxy that has the service's prefix itself."""
    here = f"http://127.0.0.1:{port}{prefix.rstrip('/')}"
    return [(path, here + path) for path in ("/clusters", "/oauth_callback")]


def make_dashboards(
    directory: ClusterDirectory,
    *,
    prefix: str,
    hub_base_url: str,
    hub_auth: HubOAuth | None = None,
    public_url: str = "",
    cookie_secret: bytes | None = None,
    recheck_seconds: float = 60,
) -> Application:
    """The guard, for ``tornado.httpserver.HTTPServer`` on a loopback port; `close_dashboards` before the loop ends.

    prefix: ``{base_url}services/dask-gateway/``. hub_auth: by default from ``JUPYTERHUB_*``. public_url: the Hub's own
    address for people, when proxies in front hide it. cookie_secret: kept from start to start, logins survive one.
    recheck_seconds: how often an open websocket's visitor and cluster are looked up again.
    """
    secret = cookie_secret or secrets.token_bytes(32)
    proxy = ReverseProxy()
    parts = DashboardParts(
        directory,
        prefix,
        hub_base_url,
        hub_auth or HubOAuth(allow_token_in_url=False, cache_max_age=_LOGIN_CACHE_SECONDS),
        frozenset({host_of_origin(public_url)} - {""}),
        proxy,
        DashboardQuestion(proxy),
        Views(b"views:" + secret),
        recheck_seconds,
    )
    base = re.escape(prefix)
    cluster = base + r"clusters/[^/]+(?:/.*)?"
    return Application(
        [
            (ForAWebSocket(cluster), DashboardSocket),
            (cluster, DashboardHandler),
            # Dask-Gateway's proxy adds a slash to what matches a route as a whole
            (base + r"oauth_callback/?", CallbackHandler),
        ],
        default_handler_class=NothingHandler,
        log_function=_log_request,
        cookie_secret=secret,
        xsrf_cookies=False,  # HubOAuth checks with its own token, and only when a cookie is what identifies
        websocket_ping_interval=_PING_SECONDS,
        websocket_max_message_size=MAX_MESSAGE_BYTES,
        parts=parts,
    )


async def close_dashboards(application: Application) -> None:
    """End every connection to schedulers; visitors' websockets end with them."""
    parts: DashboardParts = application.settings["parts"]
    await parts.question.close()
    await parts.proxy.close()
    await asyncio.sleep(0)


def _log_request(handler: RequestHandler) -> None:
    """One line for each request; the path without views and without the query, which hold secrets."""
    viewer: Any = getattr(handler, "viewer", None)
    path = re.sub(r"(/clusters/[^/~]*)~[^/]*", r"\1~***", handler.request.path)
    log.info(
        "request",
        method=handler.request.method if handler.request.method in handler.SUPPORTED_METHODS else "other",
        path=log_text(path),
        status=handler.get_status(),
        milliseconds=round(handler.request.request_time() * 1000),
        user=viewer.name if viewer else None,
    )
