"""Dask-Gateway's REST API, asked with the visitor's own token. The launcher's service itself may do nothing there."""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from launcher.errors import ClusterNotFound, DaskNotAllowed, DaskUnavailable, LoginRequired
from launcher.models import HomeKind, Person
from launcher.policy.dask import DaskPolicy
from launcher.sessions.clusters import ClusterList, read_list, read_log_names

_REQUEST_SECONDS = 20
_MOST_BYTES = 8 * 2**20
_LOG_BYTES = 256 * 1024
_LONGEST_SENTENCE = 300
_NO_ANSWER = "Dask on this hub does not answer."


class GatewayClusters:
    """`Clusters` over HTTP.

    address: of the gateway as this machine reaches it, ``http://127.0.0.1:PORT/services/dask-gateway``.
    policy: who has Dask; tells the others why not before the gateway is asked.
    """

    def __init__(self, address: str, policy: DaskPolicy) -> None:
        self._address = address.rstrip("/") + "/api/v1/launcher/clusters"
        self._policy = policy
        # not the shared client: its limit on answers is 100 MB
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(
            force_instance=True, max_clients=50, max_body_size=_MOST_BYTES, max_buffer_size=_MOST_BYTES
        )

    async def all(self, person: Person, hub_token: str) -> ClusterList:
        """See `Clusters.all`."""
        response = await self._call("GET", "", person, hub_token)
        try:
            return read_list(json.loads(response.body))
        except (ValueError, RecursionError) as error:
            raise _unavailable() from error

    async def stop(self, person: Person, hub_token: str, name: str) -> None:
        """See `Clusters.stop`."""
        await self._call("DELETE", f"/{quote(name, safe='')}", person, hub_token)

    async def log_names(self, person: Person, hub_token: str, name: str) -> tuple[str, ...]:
        """See `Clusters.log_names`."""
        response = await self._call("GET", f"/{quote(name, safe='')}/logs", person, hub_token)
        try:
            return read_log_names(json.loads(response.body))
        except (ValueError, RecursionError) as error:
            raise _unavailable() from error

    async def log(self, person: Person, hub_token: str, name: str, process: str) -> str:
        """See `Clusters.log`."""
        path = f"/{quote(name, safe='')}/logs/{quote(process, safe='')}"
        response = await self._call("GET", path, person, hub_token)
        return bytes(response.body or b"")[-_LOG_BYTES:].decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    async def _call(self, method: str, path: str, person: Person, hub_token: str) -> HTTPResponse:
        """One successful request. Raises the errors of `Clusters`."""
        refusal = self._policy.refusal(person, HomeKind.PERSONAL)
        if refusal:
            raise DaskNotAllowed(refusal, hint="If you were given Dask since you logged in, log out and in again.")
        request = HTTPRequest(
            self._address + path,
            method=method,
            headers={"Authorization": f"token {hub_token}"},
            follow_redirects=False,
            connect_timeout=_REQUEST_SECONDS,
            request_timeout=_REQUEST_SECONDS,
        )
        try:
            response = await self._client.fetch(request, raise_error=False)
        except (HTTPClientError, OSError) as error:
            raise _unavailable() from error
        if response.code in {HTTPStatus.OK, HTTPStatus.NO_CONTENT}:
            return response
        raise _error_of(response)


def _unavailable(sentence: str = "") -> DaskUnavailable:
    return DaskUnavailable(sentence or _NO_ANSWER, hint="Clusters go on running. Try again in a moment.", retry_after=5)


def _error_of(response: HTTPResponse) -> Exception:
    """Our error for a refusal of the gateway, with its sentence. A 404 that is not its own means that it is not up."""
    sentence = _sentence(response)
    if response.code == HTTPStatus.UNAUTHORIZED:
        return LoginRequired("Your login has ended.", hint="Log in again.")
    if response.code == HTTPStatus.NOT_FOUND and sentence:
        return ClusterNotFound(
            "There is no such cluster.", hint="It may be somebody else's, or have ended more than a day ago."
        )
    if response.code in {HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY} and sentence:
        return DaskNotAllowed(sentence)
    return _unavailable(sentence if response.code == HTTPStatus.SERVICE_UNAVAILABLE else "")


def _sentence(response: HTTPResponse) -> str:
    """The gateway's own words, as one line; "" when there are none."""
    try:
        sentence = json.loads(response.body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    text = sentence[:_LONGEST_SENTENCE] if isinstance(sentence, str) else ""
    return "".join(character if character.isprintable() else " " for character in text)
