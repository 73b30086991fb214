"""Who is looking at a dashboard: the Hub's login, whose cluster it is, and how an admin looks without being harmed.

A dashboard is HTML that its owner's programs wrote, on the Hub's origin. An admin who opens somebody's gets it below
an address with a *view* in it: a short-lived, signed statement "this admin may see this cluster". The view stands in
for cookies, so that the page can be put into a sandbox of the browser, where the Hub's origin and cookies are out of
its reach. The page can read the view in its own address; all it opens is the page itself.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt
from jupyterhub.services.auth import HubOAuth, HubOAuthenticated, UserNotAllowed
from jupyterhub.utils import get_browser_protocol
from tornado.web import HTTPError, RequestHandler

from launcher.dask.dashboard_pages import SayingHandler
from launcher.dask.reverse_proxy import Dashboard, checked_tail
from launcher.errors import (
    BadRequest,
    ClusterNotFound,
    CrossSiteRefused,
    HubUnavailable,
    LoginRequired,
    NotAllowed,
    RequestTooLarge,
)
from launcher.web.headers import host_of_origin

if TYPE_CHECKING:
    from launcher.dask.dashboards import DashboardParts

VIEW_SECONDS = 3600
_MAX_URL_BYTES = 16 * 2**10
_TOKEN = re.compile(r"(?:token|bearer)\s+([\x21-\x7e]{1,1024})", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HOST_COOKIE = "dask-dashboards-host"
_SESSION_SCOPE = "access:servers!server="


@dataclass(frozen=True)
class Viewer:
    """Somebody the Hub knows. admin: of the Hub, and not merely a session of an admin.

    by_header: with a token of their own in the request, so no browser's cookie is involved.
    """

    name: str
    admin: bool
    by_header: bool

    def may_see(self, dashboard: Dashboard) -> bool:
        """Owners see their own, admins all."""
        return self.admin or self.name == dashboard.owner


class Views:
    """Signs and reads views."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, cluster: str, viewer: str) -> str:
        """A view of this cluster for `VIEW_SECONDS`; characters that need no encoding in an address."""
        claims = {"sub": cluster, "for": viewer, "exp": int(time.time()) + VIEW_SECONDS}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def read(self, view: str, cluster: str) -> str | None:
        """The admin it was made for; None when it is forged, too old or for something else."""
        try:
            claims = jwt.decode(view, self._secret, algorithms=["HS256"], options={"require": ["exp", "sub", "for"]})
        except jwt.InvalidTokenError:
            return None
        return str(claims["for"]) if claims["sub"] == cluster else None


class IdentifiedHandler(HubOAuthenticated, RequestHandler):  # type: ignore[misc]  # jupyterhub has no types
    """Knows who asks, with the application's HubOAuth."""

    viewer: Viewer | None = None

    @property
    def parts(self) -> DashboardParts:
        """The parts made by `make_dashboards`."""
        parts: DashboardParts = self.application.settings["parts"]
        return parts

    @property
    def hub_auth(self) -> HubOAuth:
        """The application's HubOAuth, not the process-wide one."""
        return self.parts.hub_auth

    async def identify(self) -> Viewer:
        """Who asks. Raises LoginRequired, NotAllowed, HubUnavailable. A wrong token never falls back to the cookie."""
        authorization = self.request.headers.get("Authorization")
        try:
            if authorization is not None:
                token = _TOKEN.fullmatch(authorization.strip())
                # not from the cache: a revoked token ends at once, and made-up tokens do not fill the memory
                model = token and await self.hub_auth.user_for_token(token[1], use_cache=False, sync=False)
            else:
                model = await self.hub_auth.get_user(self, sync=False)
        except HTTPError as error:
            raise HubUnavailable("JupyterHub does not answer.", hint="Try again in a moment.", retry_after=5) from error
        if not model:
            raise LoginRequired(
                "You are not logged in.", hint="Log in, or send `Authorization: token` with a token of your Hub user."
            )
        return self._viewer(model, by_header=authorization is not None)

    def _viewer(self, model: dict[str, Any], *, by_header: bool) -> Viewer:
        try:
            self.check_hub_user(model)
        except UserNotAllowed as error:
            raise NotAllowed("You may not use Dask on this hub.", hint="Ask the operator of this hub.") from error
        if model["kind"] != "user":
            raise NotAllowed("Dashboards are for people, not for services.", hint="Use the token of a Hub user.")
        # A session's token is in the hands of whatever runs there: it sees what is its person's, nobody else's.
        of_session = any(scope.startswith(_SESSION_SCOPE) for scope in model.get("scopes", ()))
        return Viewer(model["name"], admin=bool(model.get("admin")) and not of_session, by_header=by_header)


def no_such_cluster() -> ClusterNotFound:
    """The same words for a cluster that does not exist and for somebody else's: names cannot be probed."""
    return ClusterNotFound("There is no such cluster, or it is somebody else's.", hint="It may have ended.")


class ClusterHandler(SayingHandler, IdentifiedHandler):
    """Finds the cluster in the address, and lets nobody past but its owner and admins."""

    tail = ""
    query = ""
    cluster = ""
    view = ""
    sandboxed = False
    upstream: Dashboard

    async def admit(self) -> Viewer:
        """Who is let in; sets ``upstream``. Raises a LauncherError, the same for unknown and foreign clusters."""
        uri = self.request.uri or ""
        if len(uri) > _MAX_URL_BYTES:
            raise RequestTooLarge("The address is too long.", hint="Shorten the path or its parameters.")
        path, _, self.query = uri.partition("?")
        self.cluster, _, self.tail = path[len(self.parts.prefix + "clusters/") :].partition("/")
        self.cluster, _, self.view = self.cluster.partition("~")
        if not self.query.isascii() or "#" in self.query or not self.query.isprintable():
            raise BadRequest("This address has characters that do not belong there.")
        self.viewer = viewer = await self.who()
        self.upstream = self.find(self.cluster)
        if not viewer.may_see(self.upstream):
            raise no_such_cluster()
        checked_tail(self.tail)
        self.sandboxed = bool(self.view) or viewer.name != self.upstream.owner
        return viewer

    async def who(self) -> Viewer:
        """The visitor, by the view in the address if there is one."""
        if not self.view:
            return await self.identify()
        name = self.parts.views.read(self.view, self.cluster)
        if name is None:
            raise LoginRequired("This view of a dashboard has expired.", hint="Open the dashboard again.")
        return Viewer(name, admin=True, by_header=False)

    def own_path(self, view: str | None = None) -> str:
        """Where the cluster is, in the view asked for, else in this request's."""
        view = self.view if view is None else view
        return f"{self.parts.prefix}clusters/{self.cluster}{'~' + view if view else ''}/"

    @property
    def target(self) -> str:
        """Path and query for the scheduler, as they came."""
        return self.tail + (f"?{self.query}" if self.query else "")

    def remember_host(self, viewer: Viewer) -> None:
        """Keep the host of the address bar in a cookie, for the websockets of the page that is being opened.

        The Hub's proxy tells it with requests, not with websockets; Dask-Gateway's changes ``Host``.
        """
        host = self.request.headers.get("X-Forwarded-Host", "").partition(",")[0].strip() or self.request.host
        known = f"{viewer.name}@{host.lower()}"
        if self._host_cookie() != known:
            secure = get_browser_protocol(self.request) == "https"
            options: dict[str, Any] = {"path": self.parts.prefix, "httponly": True, "secure": secure}
            self.set_signed_cookie(_HOST_COOKIE, known, expires_days=None, samesite="Strict", **options)

    def check_websocket_origin(self, viewer: Viewer) -> None:
        """Only pages of our own host open websockets with a cookie. Raises CrossSiteRefused.

        Browsers say where a page came from, in one of two headers that no page can change.
        """
        site, origin = self.request.headers.get("Sec-Fetch-Site"), self.request.headers.get("Origin")
        if site is None:
            host = host_of_origin(origin or "")
            same = bool(host) and (host in self.parts.public_hosts or self._host_cookie() == f"{viewer.name}@{host}")
        else:
            same = site == "same-origin"
        if not same:
            raise CrossSiteRefused("This request came from another site.", hint="Load the page again.")
        if self.request.query_arguments.get("token"):  # HubOAuth would take it, and the scheduler would see it
            raise NotAllowed("A token does not belong in an address.", hint="Send `Authorization: token`.")

    def _host_cookie(self) -> str:
        return (self.get_signed_cookie(_HOST_COOKIE) or b"").decode()

    def find(self, cluster: str) -> Dashboard:
        """The dashboard, whoever's it is. Raises ClusterNotFound."""
        dashboard = self.parts.directory.find(cluster) if _NAME.fullmatch(cluster) else None
        if dashboard is None:
            raise no_such_cluster()
        return dashboard
