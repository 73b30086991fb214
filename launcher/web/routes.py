"""Every address of the service, and who answers there."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from launcher.web.api import BuildTokenHandler, LaunchesHandler, PreviewHandler
from launcher.web.build import BuildHandler
from launcher.web.build_log import BuildEventsHandler, BuildLogHandler
from launcher.web.builds import BuildPageHandler, BuildsPageHandler, CancelBuildHandler
from launcher.web.builds_api import BuildsHandler, OneBuildHandler, ShareBuildHandler
from launcher.web.clusters import ClusterLogPageHandler, ClusterLogsPageHandler, ClustersPageHandler, StopClusterHandler
from launcher.web.clusters_api import ClusterHandler, ClusterLogHandler, ClusterLogsHandler, ClustersHandler
from launcher.web.documents_page import DocumentsHandler
from launcher.web.environments import (
    DeleteEnvironmentHandler,
    EnvironmentsPageHandler,
    PinEnvironmentHandler,
    RebuildEnvironmentHandler,
)
from launcher.web.environments_api import (
    EnvironmentHandler,
    EnvironmentPinHandler,
    EnvironmentRebuildHandler,
    EnvironmentsHandler,
)
from launcher.web.launch_page import LaunchPageHandler
from launcher.web.links import FileHandler, GoHandler, LegacyRedirectHandler
from launcher.web.login import OAuthCallbackHandler
from launcher.web.make_links import LinksHandler, LinksPageHandler
from launcher.web.mine import (
    DeleteHomeHandler,
    DistrustHandler,
    DownloadHomeHandler,
    HomeHandler,
    KeepAliveHandler,
    StopSessionHandler,
)
from launcher.web.mine_api import (
    ProjectHomeArchiveHandler,
    ProjectHomeHandler,
    RepositoriesHandler,
    SessionActivityHandler,
    SessionHandler,
    SessionsHandler,
    TrustHandler,
)
from launcher.web.new_session import NewSessionPageHandler, NewSessionProgressHandler
from launcher.web.new_session_api import NewSessionEventsHandler, NewSessionHandler
from launcher.web.pages import AboutHandler, ErrorCodesHandler
from launcher.web.service import (
    HealthHandler,
    LegacyConfigHandler,
    MetricsHandler,
    RepoProvidersHandler,
    VersionsHandler,
)

_STATIC = str(files("launcher.web") / "static")
_BUILD = "/([A-Za-z0-9_-]{1,64})"
_SERVER = "/([A-Za-z0-9._~@-]{0,64})"
_ENVIRONMENT = "/([0-9a-f]{64})"
_CLUSTER = "/([0-9a-f]{32})"
_PROCESS = "/([0-9a-z]{1,64})"

Route = tuple[Any, ...]


def routes(prefix: str) -> list[Route]:
    """Tornado's route tuples below the service's prefix."""
    base = re.escape(prefix)
    return [*_pages(base), *_about_the_service(base), *_api(base + "api/v1/")]


def _pages(base: str) -> list[Route]:
    """What people look at, and the forms they send."""
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
        (base + r"new", NewSessionPageHandler),
        (base + r"new/progress", NewSessionProgressHandler),
        (base + r"sessions/stop", StopSessionHandler),
        (base + r"sessions/keep", KeepAliveHandler),
        (base + r"trust/take-back", DistrustHandler),
        (base + r"project-homes" + _SERVER + "/download", DownloadHomeHandler),
        (base + r"project-homes" + _SERVER + "/delete", DeleteHomeHandler),
        (base + r"builds", BuildsPageHandler),
        (base + r"builds" + _BUILD, BuildPageHandler),
        (base + r"builds" + _BUILD + "/cancel", CancelBuildHandler),
        (base + r"environments", EnvironmentsPageHandler),
        (base + r"environments" + _ENVIRONMENT + "/pin", PinEnvironmentHandler),
        (base + r"environments" + _ENVIRONMENT + "/rebuild", RebuildEnvironmentHandler),
        (base + r"environments" + _ENVIRONMENT + "/delete", DeleteEnvironmentHandler),
        (base + r"clusters", ClustersPageHandler),
        (base + r"clusters" + _CLUSTER + "/stop", StopClusterHandler),
        (base + r"clusters" + _CLUSTER + "/logs", ClusterLogsPageHandler),
        (base + r"clusters" + _CLUSTER + "/logs" + _PROCESS, ClusterLogPageHandler),
    ]


def _about_the_service(base: str) -> list[Route]:
    """Login, health, versions, badges, files."""
    static = {"path": _STATIC}
    return [
        (base + r"oauth_callback", OAuthCallbackHandler),
        (base + r"health", HealthHandler),
        (base + r"versions", VersionsHandler),
        (base + r"metrics", MetricsHandler),
        (base + r"api/repoproviders", RepoProvidersHandler),
        (base + r"_config", LegacyConfigHandler),
        (base + r"(badge\.svg|badge_logo\.svg|logo_social\.png)", FileHandler, static),
        (base + r"assets/images/(badge\.svg|badge_logo\.svg)", FileHandler, static),
        (base + r"static/(.*)", FileHandler, static),
    ]


def _api(base: str) -> list[Route]:
    """The JSON API."""
    build = base + "builds" + _BUILD
    return [
        (base + r"preview", PreviewHandler),
        (base + r"launches", LaunchesHandler),
        (base + r"build-token", BuildTokenHandler),
        (base + r"builds", BuildsHandler),
        (build, OneBuildHandler),
        (build + r"/log", BuildLogHandler),
        (build + r"/events", BuildEventsHandler),
        (build + r"/share", ShareBuildHandler),
        (base + r"links", LinksHandler),
        (base + r"new-session", NewSessionHandler),
        (base + r"new-session/events", NewSessionEventsHandler),
        (base + r"sessions", SessionsHandler),
        (base + r"sessions" + _SERVER, SessionHandler),
        (base + r"sessions" + _SERVER + "/activity", SessionActivityHandler),
        (base + r"repositories", RepositoriesHandler),
        (base + r"trust", TrustHandler),
        (base + r"project-homes" + _SERVER, ProjectHomeHandler),
        (base + r"project-homes" + _SERVER + "/archive", ProjectHomeArchiveHandler),
        (base + r"environments", EnvironmentsHandler),
        (base + r"environments" + _ENVIRONMENT, EnvironmentHandler),
        (base + r"environments" + _ENVIRONMENT + "/pin", EnvironmentPinHandler),
        (base + r"environments" + _ENVIRONMENT + "/rebuild", EnvironmentRebuildHandler),
        (base + r"clusters", ClustersHandler),
        (base + r"clusters" + _CLUSTER, ClusterHandler),
        (base + r"clusters" + _CLUSTER + "/logs", ClusterLogsHandler),
        (base + r"clusters" + _CLUSTER + "/logs" + _PROCESS, ClusterLogHandler),
    ]
