"""Passing requests and websockets on to a scheduler's HTTP server: which bytes go through, and which headers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

import aiohttp
from tornado.httputil import HTTPHeaders
from yarl import URL

from launcher.errors import BadRequest, DaskUnavailable

MAX_MESSAGE_BYTES = 20 * 2**20
"""Longest websocket message either way; bokeh's own default."""
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # JupyterLab, on the same origin, shows dashboards in panes
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
}
_CONNECT_SECONDS = 15
_SILENCE_SECONDS = 120  # of an upstream that owes us bytes
_HEARTBEAT_SECONDS = 30
_CONNECTIONS_PER_CLUSTER = 256  # every open plot is a websocket
# Lists of what may pass, not of what may not: a header that somebody trusts tomorrow is not forwarded today.
_REQUEST_HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Bokeh-Session-Id",
    "Cache-Control",
    "Content-Length",
    "Content-Type",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Range",
    "User-Agent",
)
_RESPONSE_HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Expires",
    "Last-Modified",
    "Retry-After",
    "Vary",
)
_RUNS_IN_BROWSERS = ("text/html", "application/xhtml", "image/svg", "text/xml", "application/xml")
_FOREIGN = re.compile(r"[^\x21-\x7e]|[#\\]")  # what a request's target cannot hold, or browsers read differently
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_SHARED_CACHES = re.compile(r"\s*(public|s-maxage|private)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Dashboard:
    """A running cluster's HTTP server. owner: of the Hub; address: ``http://127.0.0.1:port``; token: the cluster's."""

    owner: str
    address: str
    token: str


def checked_tail(tail: str) -> str:
    """The path below a cluster, as it was sent. BadRequest for one that could mean another place to somebody.

    Encoded slashes stay what they are: Dask puts addresses of workers and keys of tasks into one segment.
    """
    segments = tail.split("/")
    if _FOREIGN.search(tail) or any(_CONTROLS.search(unquote(segment)) for segment in segments):
        raise BadRequest("This address has characters that do not belong there.")
    if "" in segments[:-1] or any(unquote(segment) in {".", ".."} for segment in segments):
        raise BadRequest("This address has a path that leads elsewhere.")
    return tail


def request_headers(visitor: Mapping[str, str], token: str) -> dict[str, str]:
    """What the scheduler gets to see of a visitor's headers, and the cluster's token."""
    headers = {name: visitor[name] for name in _REQUEST_HEADERS if name in visitor}
    return {**headers, "Authorization": f"token {token}"}


def response_headers(upstream: Mapping[str, str]) -> HTTPHeaders:
    """What a visitor gets to see of the scheduler's headers, and what makes the page safe. Without ``Location``."""
    headers = HTTPHeaders(SECURITY_HEADERS)
    for name in _RESPONSE_HEADERS:
        if name in upstream and upstream[name].isascii() and upstream[name].isprintable():
            headers[name] = upstream[name]
    kind = upstream.get("Content-Type", "")
    headers["Content-Type"] = kind if kind.isascii() and kind.isprintable() and kind else "application/octet-stream"
    if headers["Content-Type"].lower().startswith(_RUNS_IN_BROWSERS):
        headers["Cache-Control"] = "no-store"
    else:
        wishes = [wish.strip() for wish in upstream.get("Cache-Control", "no-cache").split(",")]
        wishes = [wish for wish in wishes if wish.isascii() and wish.isprintable() and not _SHARED_CACHES.match(wish)]
        headers["Cache-Control"] = ", ".join(["private", *wishes])
    return headers


def public_location(location: str, tail: str, upstream: Dashboard, public_path: str) -> str:
    """A redirect that the scheduler answered for ``tail``, as an address below ``public_path``.

    Raises DaskUnavailable when it leads away from the cluster.
    """
    try:
        parts, own = urlsplit(urljoin(f"{upstream.address}/{tail}", location)), urlsplit(upstream.address)
        if (parts.scheme, parts.netloc) == (own.scheme, own.netloc):
            path = checked_tail(parts.path.lstrip("/"))
            query = f"?{parts.query}" if parts.query and not _FOREIGN.search(parts.query) else ""
            return public_path + path + query
    except (ValueError, BadRequest):
        pass  # said below
    raise DaskUnavailable("The dashboard wanted to send you to another place, which is not allowed.")


class ReverseProxy:
    """One pool of connections to all schedulers. Use and close it on the same event loop."""

    def __init__(self) -> None:
        self._client: aiohttp.ClientSession | None = None

    @property
    def client(self) -> aiohttp.ClientSession:
        """The pool, made on first use: there must be a running loop."""
        if self._client is None:
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, limit_per_host=_CONNECTIONS_PER_CLUSTER),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # bodies pass as they are
                timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._client

    async def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def request(
        self,
        method: str,
        upstream: Dashboard,
        tail: str,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes] | None = None,
    ) -> aiohttp.client._RequestContextManager:
        """Ask ``/<tail>`` of the scheduler, an ``async with``; the answer's body is not read yet.

        Raises aiohttp.ClientError or TimeoutError.
        """
        return self.client.request(
            method,
            URL(f"{upstream.address}/{tail}", encoded=True),
            headers=request_headers(headers, upstream.token),
            data=body,
            allow_redirects=False,
        )

    async def websocket(
        self, upstream: Dashboard, tail: str, headers: Mapping[str, str], protocols: list[str]
    ) -> aiohttp.ClientWebSocketResponse:
        """Open a websocket at ``/<tail>``. Raises aiohttp.ClientError or TimeoutError."""
        passed = request_headers(headers, upstream.token)
        for name in ("Content-Length", "Content-Type", "Accept-Encoding"):
            passed.pop(name, None)
        return await self.client.ws_connect(
            URL(f"{upstream.address}/{tail}", encoded=True),
            protocols=protocols,
            headers=passed,
            heartbeat=_HEARTBEAT_SECONDS,
            max_msg_size=MAX_MESSAGE_BYTES,
        )
