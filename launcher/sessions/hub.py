"""JupyterHub's REST API, asked with the visitor's own token. The launcher's service itself holds no scope.

Facts: a flat body of ``POST /users/:name/servers/:server`` becomes ``user_options`` on JupyterHub 4, 5 and 6.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.queues import Queue

from launcher.errors import HubUnavailable, LoginRequired, NotAllowed, SessionStartFailed

_REQUEST_SECONDS = 60
_SPAWN_SECONDS = 600
_HTTP_BAD_REQUEST = 400
_HTTP_UNAUTHORIZED = 401
_HTTP_FORBIDDEN = 403
_HTTP_NOT_FOUND = 404
_HTTP_CONFLICT = 409


@dataclass(frozen=True)
class Server:
    """A named server as the Hub's user model shows it. ``url`` is a path, ``/user/name/server/``."""

    name: str
    url: str
    ready: bool
    pending: str | None


@dataclass(frozen=True)
class HubSession:
    """A server that is not stopped. ``state``: ready, starting or stopping; ``name`` is "" for the default server."""

    name: str
    url: str
    state: str
    started: datetime | None
    last_activity: datetime | None


class HubClient:
    """Calls the Hub for one visitor.

    ``api_url`` is ``JUPYTERHUB_API_URL``; ``token`` the visitor's OAuth or API token.
    """

    def __init__(self, api_url: str, token: str) -> None:
        self._api_url = api_url.rstrip("/")
        self._token = token

    async def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, seconds: float = _REQUEST_SECONDS
    ) -> HTTPResponse:
        """One request; HTTP errors come back as responses, transport trouble as HubUnavailable."""
        request = HTTPRequest(
            self._api_url + path,
            method=method,
            headers={"Authorization": f"token {self._token}", "Content-Type": "application/json"},
            body=json.dumps(body) if body is not None else None,
            allow_nonstandard_methods=True,
            request_timeout=seconds,
        )
        try:
            response = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (HTTPClientError, OSError) as error:
            raise HubUnavailable("JupyterHub does not answer.", hint="Try again in a moment.") from error
        if response.code == _HTTP_UNAUTHORIZED:
            raise LoginRequired("Your login has ended.", hint="Log in again.")
        if response.code >= 500 or response.code == 599:  # noqa: PLR2004 - 599 is tornado's own "no answer"
            if method == "POST" and path.startswith("/users/"):
                return response
            raise HubUnavailable("JupyterHub does not answer.", hint="Try again in a moment.")
        return response

    async def server(self, user: str, name: str) -> Server | None:
        """The person's server of this name, running or pending; None when it is stopped or was never there."""
        model = (await self._servers(user)).get(name)
        if model is None or not (model.get("ready") or model.get("pending")):
            return None
        return Server(name, model["url"], bool(model.get("ready")), model.get("pending"))

    async def sessions(self, user: str) -> tuple[HubSession, ...]:
        """Every server of the person that runs, starts or stops, the default one too."""
        servers = await self._servers(user)
        return tuple(
            _hub_session(name, model)
            for name, model in servers.items()
            if model.get("ready") or model.get("pending") in _STATES
        )

    async def _servers(self, user: str) -> dict[str, dict[str, Any]]:
        response = await self._call("GET", f"/users/{quote(user)}")
        servers: dict[str, dict[str, Any]] | None = None
        if response.code == 200:  # noqa: PLR2004
            servers = json.loads(response.body).get("servers")  # left out for a token that may not see them
        if servers is None:
            raise HubUnavailable("JupyterHub does not show your servers to the launcher.", hint="Log in again.")
        return servers

    async def start(self, user: str, name: str, user_options: dict[str, Any]) -> None:
        """Ask for the server; returns when the Hub says it runs or has begun. Raises SessionStartFailed."""
        path = f"/users/{quote(user)}/servers/{quote(name)}"
        response = await self._call("POST", path, user_options, seconds=_SPAWN_SECONDS)
        if response.code >= _HTTP_BAD_REQUEST:
            raise SessionStartFailed(_hub_message(response), hint=_START_HINTS.get(response.code, _START_HINT))

    async def progress(self, user: str, name: str) -> AsyncIterator[dict[str, Any]]:
        """The Hub's own progress events of a pending start, until ``ready`` or ``failed``. Pushed, not polled."""
        lines: Queue[str | None] = Queue()
        buffer = ""

        def on_chunk(chunk: bytes) -> None:
            nonlocal buffer
            *complete, buffer = (buffer + chunk.decode("utf-8", "replace")).split("\n")
            for line in complete:
                lines.put_nowait(line)

        request = HTTPRequest(
            f"{self._api_url}/users/{quote(user)}/servers/{quote(name)}/progress",
            headers={"Authorization": f"token {self._token}"},
            streaming_callback=on_chunk,
            request_timeout=_SPAWN_SECONDS,
        )
        fetching = AsyncHTTPClient().fetch(request, raise_error=False)
        fetching.add_done_callback(lambda _: lines.put_nowait(None))
        while (line := await lines.get()) is not None:
            if line.startswith("data: "):
                event: dict[str, Any] = json.loads(line[6:])
                yield event
                if event.get("ready") or event.get("failed"):
                    return

    async def stop(self, user: str, name: str) -> None:
        """Stop the server if it runs. Raises HubUnavailable when the Hub does not do it now."""
        response = await self._call("DELETE", f"/users/{quote(user)}/servers/{quote(name)}")
        if response.code >= _HTTP_BAD_REQUEST and response.code != _HTTP_NOT_FOUND:
            raise HubUnavailable("JupyterHub could not stop the session now.", hint="Try again in a moment.")

    async def note_activity(self, user: str, name: str) -> None:
        """Say that the server, and so its person, is active now.

        Raises NotAllowed for a token without ``users:activity``, and HubUnavailable when the Hub does not take it.
        """
        moment = datetime.now(UTC).isoformat()
        body = {"last_activity": moment, "servers": {name: {"last_activity": moment}}}
        response = await self._call("POST", f"/users/{quote(user)}/activity", body)
        if response.code in {_HTTP_FORBIDDEN, _HTTP_NOT_FOUND}:
            raise NotAllowed(
                "Your login may not keep sessions alive.", hint="Log out of JupyterHub and in again, then repeat."
            )
        if response.code >= _HTTP_BAD_REQUEST:
            raise HubUnavailable("JupyterHub did not note that your session is used.", hint="Try again in a moment.")

    async def access_token(self, user: str, name: str, *, seconds: int) -> str | None:
        """A short-lived token that opens this one server and nothing else; None when our token may not make one.

        jupyterhub/binderhub issue 1836 asks for exactly this instead of a made-up token.
        """
        scope = f"access:servers!server={user}/{name}"
        body = {"expires_in": seconds, "note": "launcher: opens one session", "scopes": [scope]}
        response = await self._call("POST", f"/users/{quote(user)}/tokens", body)
        return str(json.loads(response.body)["token"]) if response.code in {200, 201} else None


_STATES = {"spawn": "starting", "stop": "stopping"}


def _hub_session(name: str, model: dict[str, Any]) -> HubSession:
    state = _STATES.get(str(model.get("pending")), "ready")
    return HubSession(name, str(model["url"]), state, _time(model.get("started")), _time(model.get("last_activity")))


def _time(text: str | None) -> datetime | None:
    """A moment as the Hub writes it: ISO 8601 in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


_START_HINT = "Open the launch link again; if it happens again, tell the people who run this hub."
_START_HINTS = {
    _HTTP_FORBIDDEN: "Your login may not start servers with the launcher; ask the people who run this hub.",
    _HTTP_NOT_FOUND: "Your login may not start servers with the launcher; ask the people who run this hub.",
    _HTTP_CONFLICT: "Wait until the other start or stop of this session is over, then open the link again.",
}


def _hub_message(response: HTTPResponse) -> str:
    """The Hub's own sentence about a refused start; our words when it has none."""
    fallback = "JupyterHub could not start the session."
    try:
        message = json.loads(response.body)["message"]
    except (ValueError, KeyError, TypeError):
        return fallback
    return str(message)[:500] or fallback
