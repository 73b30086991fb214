"""Lets nobody but the gateway look at scheduler and workers: all sessions of a machine share its loopback.

Every request to their HTTP servers needs the cluster's token, websockets included. Put in place before the servers
are made, so that there is no moment without it.
"""

from __future__ import annotations

import hmac
from typing import Any

import distributed.node
from tornado import httputil


class _Guarded(httputil.HTTPMessageDelegate):
    """One request: refused, or handed on as soon as its headers are there."""

    def __init__(self, token: str, application: Any, server_connection: Any, request_connection: Any) -> None:
        self.expected = f"token {token}".encode()
        self.application = application
        self.server_connection = server_connection
        self.request_connection = request_connection
        self.inner: Any = None

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> Any:
        """Decide. The token must be in a header: what is in an address is in histories and logs."""
        given = headers.get_list("Authorization")
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), self.expected):
            answer = httputil.HTTPHeaders({"Content-Length": "0", "Connection": "close"})
            self.request_connection.write_headers(httputil.ResponseStartLine("HTTP/1.1", 403, "Forbidden"), answer)
            self.request_connection.finish()
            return None
        self.inner = self.application.start_request(self.server_connection, self.request_connection)
        return self.inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Any:
        """Hand on."""
        return self.inner.data_received(chunk) if self.inner is not None else None

    def finish(self) -> None:
        """Hand on."""
        if self.inner is not None:
            self.inner.finish()

    def on_connection_close(self) -> None:
        """Hand on."""
        if self.inner is not None:
            self.inner.on_connection_close()


class _Application(httputil.HTTPServerConnectionDelegate):
    """An application behind the guard."""

    def __init__(self, token: str, application: Any) -> None:
        self.token = token
        self.application = application

    def start_request(self, server_conn: object, request_conn: Any) -> httputil.HTTPMessageDelegate:
        """A new request."""
        return _Guarded(self.token, self.application, server_conn, request_conn)

    def on_close(self, server_conn: object) -> None:
        """Hand on."""
        self.application.on_close(server_conn)


def install(token: str) -> None:
    """From now on every HTTP server of a Dask node in this process asks for the token."""
    if not token:
        raise ValueError("a cluster without a token")
    node: Any = distributed.node
    original = node.HTTPServer

    def guarded(application: Any, **options: Any) -> Any:
        return original(_Application(token, application), **options)

    node.HTTPServer = guarded
