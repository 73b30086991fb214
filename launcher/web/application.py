"""All routes, and the tornado application they make."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.web import Application, RequestHandler

from launcher.web.api import BuildTokenHandler, LaunchesHandler, PreviewHandler
from launcher.web.assets import built_assets
from launcher.web.base import BaseHandler, log, log_text
from launcher.web.build import BuildHandler
from launcher.web.build_log import BuildEventsHandler, BuildLogHandler
from launcher.web.builds import BuildPageHandler, BuildsPageHandler, CancelBuildHandler
from launcher.web.builds_api import BuildsHandler, OneBuildHandler, ShareBuildHandler
from launcher.web.clusters import ClusterLogPageHandler, ClusterLogsPageHandler, ClustersPageHandler, StopClusterHandler
from launcher.web.clusters_api import ClusterHandler, ClusterLogHandler, ClusterLogsHandler, ClustersHandler
from launcher.web.documents_page import DocumentsHandler
from launcher.web.environments_api import EnvironmentHandler, EnvironmentPinHandler, EnvironmentsHandler
from launcher.web.launch_page import LaunchPageHandler
from launcher.web.limits import LaunchRate, StreamSlots
from launcher.web.links import FileHandler, GoHandler, LegacyRedirectHandler
from launcher.web.login import OAuthCallbackHandler
from launcher.web.make_links import LinksHandler, LinksPageHandler
from launcher.web.metrics import WebMetrics
from launcher.web.mine import (
    DeleteHomeHandler,
    DistrustHandler,
    DownloadHomeHandler,
    HomeHandler,
    StopSessionHandler,
)
from launcher.web.mine_api import (
    ProjectHomeArchiveHandler,
    ProjectHomeHandler,
    RepositoriesHandler,
    SessionHandler,
    SessionsHandler,
    TrustHandler,
)
from launcher.web.pages import AboutHandler, ErrorCodesHandler, NotFoundHandler
from launcher.web.service import (
    Health,
    HealthHandler,
    LegacyConfigHandler,
    MetricsHandler,
    RepoProvidersHandler,
    VersionsHandler,
)
from launcher.web.settings import WebParts
from launcher.web.share import ShareKeys
from launcher.web.tokens import BuildTokens

_LOGIN_CACHE_SECONDS = 60  # how long a login that the Hub ended may still open pages
_STATIC = str(files("launcher.web") / "static")


class LauncherApplication(Application):
    """Tornado's application, with our limit on bodies whatever server it is put on."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Tornado's hook for each request, before its headers are read."""
        limit: Any = getattr(request_conn, "set_max_body_size", None)
        if limit is not None:
            limit(self.settings["parts"].settings.max_body_bytes)
        return super().start_request(server_conn, request_conn)


def make_application(parts: WebParts) -> LauncherApplication:
    """The launcher's web, for ``tornado.httpserver.HTTPServer``.

    When the service stops, ``settings["stream_slots"].close()`` ends the event streams in order.
    """
    settings = parts.settings
    hub_auth = parts.hub_auth or HubOAuth(allow_token_in_url=False, cache_max_age=_LOGIN_CACHE_SECONDS)
    metrics = WebMetrics()
    return LauncherApplication(
        [*parts.extra_handlers, *_routes(settings.service_prefix)],
        default_handler_class=NotFoundHandler,
        log_function=_log_request,
        cookie_secret=settings.cookie_secret,
        xsrf_cookies=False,  # BaseHandler.prepare checks, after it knows whether a token authenticated the request
        parts=parts,
        assets=built_assets(settings.service_prefix),
        hub_auth=hub_auth,
        build_tokens=BuildTokens(
            settings.build_token_secret,
            previous=settings.previous_token_secrets,
            expires_seconds=settings.build_token_expires_seconds,
        ),
        share_keys=ShareKeys(settings.build_token_secret, settings.previous_token_secrets),
        stream_slots=StreamSlots(settings.streams_per_person, settings.streams_total),
        launch_rate=LaunchRate(settings.launches_per_minute),
        health=Health(tuple(parts.health_checks)),
        metrics=metrics,
    )


def _routes(prefix: str) -> list[tuple[Any, ...]]:
    base = re.escape(prefix)
    one_build = "/([A-Za-z0-9_-]{1,64})"
    build = base + r"api/v1/builds" + one_build
    server = "([A-Za-z0-9._~@-]{0,64})"
    cluster, process = "/([0-9a-f]{32})", "/([0-9a-z]{1,64})"
    environment = "/([0-9a-f]{64})"
    static = {"path": _STATIC}
    return [
        (base, HomeHandler),
        (base + r"about", AboutHandler),
        (base + r"errors", ErrorCodesHandler),
        (base + r"documents/[^/]+/.+", DocumentsHandler),
        (base + r"go", GoHandler),
        (base + r"build/[^/]+/.+", BuildHandler),
        (base + r"v2/[^/]+/.+", LaunchPageHandler),
        (base + r"repo/[^/]+/[^/]+(?:/.*)?", LegacyRedirectHandler),
        (base + r"links", LinksPageHandler),
        (base + r"sessions/stop", StopSessionHandler),
        (base + r"trust/take-back", DistrustHandler),
        (base + r"project-homes/" + server + "/download", DownloadHomeHandler),
        (base + r"project-homes/" + server + "/delete", DeleteHomeHandler),
        (base + r"builds", BuildsPageHandler),
        (base + r"builds" + one_build, BuildPageHandler),
        (base + r"builds" + one_build + "/cancel", CancelBuildHandler),
        (base + r"clusters", ClustersPageHandler),
        (base + r"clusters" + cluster + "/stop", StopClusterHandler),
        (base + r"clusters" + cluster + "/logs", ClusterLogsPageHandler),
        (base + r"clusters" + cluster + "/logs" + process, ClusterLogPageHandler),
        (base + r"oauth_callback", OAuthCallbackHandler),
        (base + r"health", HealthHandler),
        (base + r"versions", VersionsHandler),
        (base + r"metrics", MetricsHandler),
        (base + r"api/repoproviders", RepoProvidersHandler),
        (base + r"_config", LegacyConfigHandler),
        (base + r"(badge\.svg|badge_logo\.svg|logo_social\.png)", FileHandler, static),
        (base + r"assets/images/(badge\.svg|badge_logo\.svg)", FileHandler, static),
        (base + r"static/(.*)", FileHandler, static),
        (base + r"api/v1/preview", PreviewHandler),
        (base + r"api/v1/launches", LaunchesHandler),
        (base + r"api/v1/build-token", BuildTokenHandler),
        (base + r"api/v1/builds", BuildsHandler),
        (build, OneBuildHandler),
        (build + r"/log", BuildLogHandler),
        (build + r"/events", BuildEventsHandler),
        (build + r"/share", ShareBuildHandler),
        (base + r"api/v1/links", LinksHandler),
        (base + r"api/v1/sessions", SessionsHandler),
        (base + r"api/v1/sessions/" + server, SessionHandler),
        (base + r"api/v1/repositories", RepositoriesHandler),
        (base + r"api/v1/trust", TrustHandler),
        (base + r"api/v1/project-homes/" + server, ProjectHomeHandler),
        (base + r"api/v1/project-homes/" + server + "/archive", ProjectHomeArchiveHandler),
        (base + r"api/v1/environments", EnvironmentsHandler),
        (base + r"api/v1/environments" + environment, EnvironmentHandler),
        (base + r"api/v1/environments" + environment + "/pin", EnvironmentPinHandler),
        (base + r"api/v1/clusters", ClustersHandler),
        (base + r"api/v1/clusters" + cluster, ClusterHandler),
        (base + r"api/v1/clusters" + cluster + "/logs", ClusterLogsHandler),
        (base + r"api/v1/clusters" + cluster + "/logs" + process, ClusterLogHandler),
    ]


def _log_request(handler: RequestHandler) -> None:
    """One line for each request; the path only, since queries hold tokens and OAuth codes."""
    status = int(handler.get_status())
    metrics: WebMetrics = handler.application.settings["metrics"]
    metrics.requests.labels(status=f"{status // 100}xx").inc()
    log.info(
        "request",
        id=getattr(handler, "request_id", None),
        method=handler.request.method if handler.request.method in handler.SUPPORTED_METHODS else "other",
        path=log_text(handler.request.path),
        status=status,
        milliseconds=round(handler.request.request_time() * 1000),
        user=handler.visitor.person.name if isinstance(handler, BaseHandler) and handler.visitor else None,
    )
