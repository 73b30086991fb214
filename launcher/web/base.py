"""What every handler shares: who is asking, what may be asked, the headers, and one way to say no."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from jupyterhub.services.auth import HubOAuth, HubOAuthenticated, UserNotAllowed
from jupyterhub.utils import get_browser_protocol
from tornado.web import HTTPError, MissingArgumentError, RequestHandler

from launcher.errors import (
    BadRequest,
    CrossSiteRefused,
    HubUnavailable,
    LauncherError,
    LoginRequired,
    MethodNotAllowed,
    NotAllowed,
    NotFound,
    RequestTooLarge,
)
from launcher.log import without_credentials
from launcher.models import Person, Username
from launcher.web.headers import PAGE_POLICY, SECURITY_HEADERS, host_of_origin
from launcher.web.share import ShareKeys
from launcher.web.tokens import BuildTokens, TokenSubject

if TYPE_CHECKING:
    from launcher.web.settings import WebParts, WebSettings

log = structlog.get_logger("launcher.web")

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}")


@dataclass(frozen=True)
class Visitor:
    """Somebody logged in, and how: ``by_header`` is an API client with its own token, otherwise a browser's cookie."""

    person: Person
    hub_token: str
    by_header: bool


class BaseHandler(HubOAuthenticated, RequestHandler):  # type: ignore[misc]  # jupyterhub has no types
    """Identifies the visitor in `prepare` without blocking, refuses cross-site changes, and renders errors."""

    identifies: ClassVar[bool] = True
    visitor: Visitor | None = None

    @property
    def parts(self) -> WebParts:
        """The parts given to `make_application`."""
        parts: WebParts = self.application.settings["parts"]
        return parts

    @property
    def web(self) -> WebSettings:
        """The web's settings."""
        return self.parts.settings

    @property
    def tokens(self) -> BuildTokens:
        """The build tokens."""
        tokens: BuildTokens = self.application.settings["build_tokens"]
        return tokens

    @property
    def share_keys(self) -> ShareKeys:
        """The keys of builds that are shown to others."""
        keys: ShareKeys = self.application.settings["share_keys"]
        return keys

    def was_shown(self, build_id: str) -> bool:
        """Whether the query holds the key of this build: somebody who may see it showed it to this person."""
        return self.share_keys.opens(self.first_argument("key"), build_id)

    @property
    def hub_auth(self) -> HubOAuth:
        """The application's HubOAuth, not the process-wide one."""
        return self.application.settings["hub_auth"]

    def initialize(self) -> None:
        """Tornado's hook before anything else of a request."""
        self.request_id = secrets.token_hex(6)

    def set_default_headers(self) -> None:
        """Safe headers on every answer, errors included."""
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    async def prepare(self) -> None:
        """Size, method, identity, same site: in this order, before any method of a handler."""
        if len(self.request.uri or "") > self.web.max_url_bytes:
            raise RequestTooLarge("The address is too long.", hint="Shorten the path or its parameters.")
        if len(self.request.body) > self.web.max_body_bytes:
            raise RequestTooLarge("The request body is too long.")
        if self.request.method not in self.known_methods():
            raise MethodNotAllowed("This address does not know this method.")
        if self.identifies:
            self.visitor = await self._identify()
            self.current_user = self.visitor
        if self.request.method not in _SAFE_METHODS and not (self.visitor and self.visitor.by_header):
            self.check_same_site()

    async def _identify(self) -> Visitor | None:
        """The visitor, or None. A token in the header that is wrong never falls back to the cookie."""
        header_token = self.hub_auth.get_token(self, in_cookie=False)
        if "Authorization" in self.request.headers and not (header_token and _TOKEN.fullmatch(header_token)):
            return None
        try:
            if header_token:
                # not from the cache: a revoked token ends at once, and made-up tokens do not fill the memory
                model = await self.hub_auth.user_for_token(header_token, use_cache=False, sync=False)
            else:
                model = await self.hub_auth.get_user(self, sync=False)
        except HTTPError as error:
            raise HubUnavailable("JupyterHub does not answer.", hint="Try again in a moment.", retry_after=5) from error
        if model is None:
            return None
        try:
            self.check_hub_user(model)
        except UserNotAllowed as error:
            raise NotAllowed("You may not use this service.", hint="Ask the operator of this hub.") from error
        if model["kind"] != "user":
            raise NotAllowed("Only people can launch, not services.", hint="Use the token of a Hub user.")
        token: str = header_token or self.hub_auth.get_token(self)
        return Visitor(_person(model), token, by_header=bool(header_token))

    def require_visitor(self) -> Visitor:
        """The visitor. Raises LoginRequired."""
        if self.visitor is None:
            raise LoginRequired(
                "You are not logged in.", hint="Log in, or send `Authorization: token` with a token of your Hub user."
            )
        return self.visitor

    def check_same_site(self) -> None:
        """Only pages of ours may change something with a cookie: where it came from, then the Hub's XSRF token.

        Raises CrossSiteRefused.
        """
        site = self.request.headers.get("Sec-Fetch-Site", "same-origin")
        origin = self.request.headers.get("Origin")
        if site not in {"same-origin", "none"} or (
            origin is not None and host_of_origin(origin) not in self._own_hosts()
        ):
            raise CrossSiteRefused("This request came from another site.", hint="Start from our own page.")
        try:
            self.check_xsrf_cookie()
        except (HTTPError, MissingArgumentError) as error:
            raise CrossSiteRefused("This page is out of date.", hint="Load the page again, then repeat.") from error

    def _own_hosts(self) -> set[str]:
        return {self.request.host.lower()} | ({host_of_origin(self.web.public_url)} if self.web.public_url else set())

    def token_subject(self, spec_path: str, person: Person) -> TokenSubject:
        """What a build token of this request is bound to."""
        origin = self.request.headers.get("Origin")
        host = self.request.host.lower() if origin is None else host_of_origin(origin)
        if self.web.public_url and host == self.request.host.lower():
            host = host_of_origin(self.web.public_url)  # a proxy may have changed Host
        return TokenSubject(spec_path=spec_path, origin=host, username=person.name)

    @property
    def public_origin(self) -> str:
        """``scheme://host`` for absolute URLs in answers to API clients."""
        if self.web.public_url:
            return self.web.public_url.rstrip("/")
        return f"{get_browser_protocol(self.request)}://{self.request.host}"

    def raw_tail(self, route: str) -> str:
        """The path after ``<prefix><route>``, exactly as sent: percent-encoding is part of a spec."""
        return self.request.path[len(self.web.service_prefix + route) :]

    def first_argument(self, name: str) -> str | None:
        """The first value of a query parameter as it is, None when it is missing. Raises BadRequest for bad UTF-8."""
        values = self.request.query_arguments.get(name)
        if not values:
            return None
        try:
            return values[0].decode()
        except UnicodeDecodeError as error:
            raise BadRequest(f"The parameter `{name}` is not valid UTF-8.") from error

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado's hook: any exception becomes the same shape."""
        error = public_error(status_code, kwargs.get("exc_info", (None, None, None))[1])
        self.set_status(error.http_status)
        if error.retry_after is not None:
            self.set_header("Retry-After", str(error.retry_after))
        if isinstance(error, MethodNotAllowed):
            self.set_header("Allow", ", ".join(self.known_methods()))
        self.render_error(error)

    def known_methods(self) -> list[str]:
        """The HTTP methods this handler has."""
        unimplemented = RequestHandler._unimplemented_method  # noqa: SLF001 - tornado marks missing methods with it
        return [m for m in self.SUPPORTED_METHODS if getattr(type(self), m.lower()) is not unimplemented]

    def render_error(self, error: LauncherError) -> None:
        """Write the error; JSON here, a page in page handlers."""
        self.finish({"error": {**error.to_dict(), "id": self.request_id}})

    def set_page_headers(self) -> None:
        """Headers of an HTML page."""
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Content-Security-Policy", PAGE_POLICY)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log trouble of ours with its id; never the URL's query or headers, they may hold secrets."""
        if not isinstance(value, LauncherError | HTTPError):
            log.error("request_failed", id=self.request_id, path=log_text(self.request.path), exc_info=(typ, value, tb))


def is_yes(value: str | None) -> bool:
    """Whether a query parameter or form field says yes. Anything unexpected is a no: links have every shape."""
    return (value or "").lower() in {"1", "true", "yes", "on"}


def _person(model: dict[str, Any]) -> Person:
    return Person(
        name=Username(model["name"]),
        admin=bool(model.get("admin")),
        groups=frozenset(model.get("groups", ())),
        scopes=frozenset(model.get("scopes", ())),
    )


def public_error(status_code: int, error: BaseException | None) -> LauncherError:
    """The error to show for whatever was raised: ours as they are, the rest without their words."""
    if isinstance(error, LauncherError):
        return error
    if isinstance(error, UnicodeDecodeError):
        status_code = HTTPStatus.BAD_REQUEST
    if status_code == HTTPStatus.NOT_FOUND:
        return NotFound("There is nothing at this address.", hint="Check the link, or start from the home page.")
    if status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowed("This address does not know this method.")
    if status_code in {HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED}:
        return NotAllowed("This is not allowed.", hint="Log in again, then repeat.")
    if HTTPStatus.BAD_REQUEST <= status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return BadRequest("The request cannot be understood.")
    return LauncherError("Something went wrong on our side.", hint="Try again; tell the operator the id if it stays.")


def log_text(text: str, limit: int = 200) -> str:
    """Foreign text fit for one log line: capped, without credentials of addresses and control characters."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in without_credentials(text)[:limit])
