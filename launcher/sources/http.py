"""A small HTTP client for the hosts of repositories: GET only, checked and pinned addresses, every amount capped."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import ssl
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.iostream import IOStream
from tornado.netutil import Resolver
from tornado.simple_httpclient import HTTPStreamClosedError, HTTPTimeoutError, SimpleAsyncHTTPClient
from tornado.tcpclient import TCPClient

from launcher.errors import RepositoryNotFound, SourceInvalid, SourceTooLarge, SourceUnavailable
from launcher.sources.addresses import AddressPolicy, WebAddress, refused

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NOT_MODIFIED = 304
_MAX_UNFRAMED_BODY = 8_000_000
"""Bytes of a body without an announced end; tornado holds such a body in memory."""
_CHUNK = 65_536  # tornado's own
_UNLIMITED = 2**62
_REDIRECT_BODY = 65_536  # what may be said beside a redirect; nobody keeps it
_SECRET_HEADERS = frozenset({"authorization", "private-token", "cookie"})


@dataclass(frozen=True)
class HttpResponse:
    """What a host answered. ``url`` is where it came from after redirects, header names are lower-case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises SourceInvalid."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise SourceInvalid("The host did not answer with what was asked for.") from None

    @property
    def retry_after(self) -> int | None:
        """Seconds the host asks to wait, when it says so in seconds."""
        value = self.headers.get("retry-after", "")
        return int(value) if value.isascii() and value.isdigit() and len(value) < 8 else None  # noqa: PLR2004


class _PinnedResolver(Resolver):
    """Answers with the addresses that were checked, and with nothing else."""

    def initialize(self, *, host: str, port: int, addresses: list[str]) -> None:
        self._pinned = (host, port)
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        if (host, port) != self._pinned:
            raise OSError("not the address that was checked")
        pairs = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in self._addresses]
        return [(kind, (address, port)) for kind, address in pairs if family in (socket.AF_UNSPEC, kind)]


class HttpClient:
    """GET requests to addresses a link may name.

    Redirects are followed by hand (at most five) and every hop is checked like the first; secret headers never go to
    another host. ``timeout`` (seconds) bounds a whole call with its redirects, ``max_bytes`` the body.
    """

    def __init__(
        self,
        addresses: AddressPolicy,
        *,
        timeout: float = 30.0,
        max_bytes: int = 10_000_000,
        user_agent: str = "jupyterhub-launcher",
    ) -> None:
        self.addresses = addresses
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._user_agent = user_agent
        self._remembered: OrderedDict[tuple[str, str], HttpResponse] = OrderedDict()

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - one deadline for all hops, kept here
    ) -> HttpResponse:
        """The host's answer, whatever 1xx-4xx status it has.

        Raises AddressRefused, SourceUnavailable (no answer, not in time, 5xx), SourceTooLarge.
        """
        body = io.BytesIO()
        limit = self._max_bytes if max_bytes is None else max_bytes
        response = await self._follow(url, dict(headers or {}), body, limit, timeout)
        return HttpResponse(response.url, response.status, response.headers, body.getvalue())

    async def get_json(self, url: str, *, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of a 200 answer.

        Raises RepositoryNotFound for 401, 403, 404 and 410, else as `get`; SourceInvalid when it is not JSON.
        """
        response = await self.get(url, headers={"Accept": "application/json", **(headers or {})})
        raise_for_status(response)
        return response.json()

    async def get_revalidated(self, url: str, *, headers: Mapping[str, str] | None = None) -> HttpResponse:
        """Like `get`, asking only whether the remembered answer still holds (ETag); at most 1024 are remembered."""
        sent = dict(headers or {})
        key = (url, repr(sorted(sent.items())))
        known = self._remembered.get(key)
        if known is not None:
            sent["If-None-Match"] = known.headers["etag"]
        response = await self.get(url, headers=sent)
        if response.status == _NOT_MODIFIED and known is not None:
            self._remembered.move_to_end(key)
            return HttpResponse(known.url, known.status, {**known.headers, **response.headers}, known.body)
        if "etag" in response.headers:
            self._remembered[key] = response
            while len(self._remembered) > 1024:  # noqa: PLR2004
                self._remembered.popitem(last=False)
        return response

    async def download(
        self,
        url: str,
        path: Path,
        *,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - one deadline for all hops, kept here
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Save the body of a 200 answer in a new file and return its size; a failed download leaves no file.

        Raises as `get_json`; FileExistsError when ``path`` exists.
        """
        with _new_file(path) as file:
            response = await self._follow(url, dict(headers or {}), file, max_bytes, timeout)
            raise_for_status(response)
            return file.tell()

    async def _follow(
        self, url: str, headers: dict[str, str], sink: IO[bytes], limit: int, seconds: float | None
    ) -> HttpResponse:
        try:
            async with asyncio.timeout(self._timeout if seconds is None else seconds) as deadline:
                for _ in range(MAX_REDIRECTS + 1):
                    address = self.addresses.check_url(url)
                    remaining = (deadline.when() or 0) - asyncio.get_running_loop().time()
                    response = await self._request(address, headers, sink, limit, max(remaining, 0.001))
                    if response.status not in _REDIRECTS or "location" not in response.headers:
                        return response
                    url = _joined(response.url, response.headers["location"])
                    headers = _headers_for(url, address, headers)
        except TimeoutError:
            raise SourceUnavailable("The host did not answer in time.", hint="Try again in a minute.") from None
        raise SourceUnavailable("The host redirects too often.")

    async def _request(
        self, address: WebAddress, headers: dict[str, str], sink: IO[bytes], limit: int, seconds: float
    ) -> HttpResponse:
        pinned = await self.addresses.resolve(address.host, address.port)
        resolver = _PinnedResolver(host=address.host, port=address.port, addresses=pinned)
        client = SimpleAsyncHTTPClient(
            force_instance=True,
            resolver=resolver,
            max_body_size=_UNLIMITED,  # the meter limits: it can tell a body too large from a connection cut short
            max_buffer_size=min(limit, _MAX_UNFRAMED_BODY) + _CHUNK,
        )
        client.tcp_client = connection = _Connection(resolver)
        meter = _Meter(limit, sink, connection)
        request = HTTPRequest(
            address.url,
            headers=HTTPHeaders({"User-Agent": self._user_agent, **headers}),
            follow_redirects=False,
            decompress_response=False,  # a small answer may unpack to a huge one
            connect_timeout=seconds,
            request_timeout=seconds,
            header_callback=meter.header,
            streaming_callback=meter.chunk,
        )
        fetching = client.fetch(request, raise_error=False)
        fetching.add_done_callback(_retrieve)
        try:
            response = await asyncio.shield(fetching)  # a cancelled one ends with its connection, quietly
        except (HTTPClientError, OSError, ssl.SSLError, ValueError) as error:
            raise meter.error(error) from None
        finally:
            connection.cut()  # tornado would read on when the task that waits is cancelled
            client.close()
        if response.error is not None and not isinstance(response.error, HTTPClientError):
            raise meter.error(response.error)
        if meter.too_large:  # a body that ends with the connection: tornado does not hold it to max_body_size
            raise meter.error(None)
        if response.code >= 599 and not response.headers:  # noqa: PLR2004 - tornado's own failure, not the host's
            raise meter.error(response.error)
        if response.code >= 500:  # noqa: PLR2004
            raise SourceUnavailable("The host has trouble of its own.", hint="Try again in a minute.")
        received = {name.lower(): value for name, value in response.headers.get_all()}
        return HttpResponse(address.url, response.code, received, b"")


def _retrieve(fetching: asyncio.Future[HTTPResponse]) -> None:
    """Nobody waits any more for a request that was cancelled; asyncio would complain about its exception."""
    if not fetching.cancelled():
        fetching.exception()


class _Connection(TCPClient):
    """Remembers the connection it makes, so that it can be cut."""

    _stream: IOStream | None = None

    async def connect(self, *arguments: Any, **options: Any) -> IOStream:
        self._stream = await super().connect(*arguments, **options)
        return self._stream

    def cut(self) -> None:
        if self._stream is not None:
            self._stream.close()


class _Meter:
    """Counts a body while it arrives, cuts it when it is too large, and knows afterwards why it stopped."""

    def __init__(self, limit: int, sink: IO[bytes], connection: _Connection) -> None:
        self._limit = limit
        self._sink: IO[bytes] | None = sink
        self._connection = connection
        self._count = 0
        self._unframed = False
        self.too_large = False

    def header(self, line: str) -> None:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name.startswith("http/"):
            self._unframed = True
            if any(f" {status}" in name for status in _REDIRECTS):
                self._limit, self._sink = max(self._limit, _REDIRECT_BODY), None
        elif name in {"content-length", "transfer-encoding"}:
            self._unframed = False
        if name == "content-length" and value.isascii() and value.isdigit() and int(value[:19]) > self._limit:
            self._refuse()  # nineteen digits are more than any limit, and quick to read

    def chunk(self, data: bytes) -> None:
        self._count += len(data)
        if self._count > self._limit:
            self._refuse()
        elif self._sink is not None:
            self._sink.write(data)

    def _refuse(self) -> None:
        self.too_large = True
        self._connection.cut()

    def error(self, cause: BaseException | None) -> SourceTooLarge | SourceUnavailable:
        if self.too_large or (self._unframed and isinstance(cause, HTTPStreamClosedError)):
            return SourceTooLarge("The host sends more than is accepted.")
        if isinstance(cause, HTTPTimeoutError):
            return SourceUnavailable("The host did not answer in time.", hint="Try again in a minute.")
        if isinstance(cause, ssl.SSLError):
            return SourceUnavailable("No secure connection could be made to the host.")
        return SourceUnavailable("The host could not be reached.", hint="Try again in a minute.")


def raise_for_status(response: HttpResponse) -> None:
    """Nothing for 200; RepositoryNotFound for 401, 403, 404 and 410; SourceUnavailable for the rest."""
    if response.status == 200:  # noqa: PLR2004
        return
    if response.status in (401, 403, 404, 410):
        raise RepositoryNotFound("There is nothing public at this address.", hint="Check the link for a typing error.")
    raise SourceUnavailable(
        "The host did not give what was asked for.",
        hint="Try again in a minute.",
        retry_after=response.retry_after,
    )


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise refused() from None


def _headers_for(url: str, previous: WebAddress, headers: dict[str, str]) -> dict[str, str]:
    """The headers for a redirect: secrets stay with the host they were meant for."""
    if url.startswith(f"{previous.scheme}://{previous.authority}/"):
        return headers
    return {name: value for name, value in headers.items() if name.lower() not in _SECRET_HEADERS}


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file to write, gone again when the block fails."""
    with path.open("xb") as file:
        try:
            yield file
        except BaseException:
            path.unlink()
            raise
