"""Who asks the gateway, and from which session: told by the Hub for the token that came with the request."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import aiohttp
from aiohttp import web
from dask_gateway_server.auth import JupyterHubAuthenticator, UserCache
from dask_gateway_server.models import User

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")
_KINDS = frozenset({"jupyterhub", "token", "bearer"})
_SERVER_SCOPE = "access:servers!server="
_HUB_SECONDS = 10
CACHE_SECONDS = 30
"""How long an answer of the Hub counts: so long may a token still work after it was revoked."""


class GatewayUser(User):  # type: ignore[misc]  # dask-gateway-server has no types
    """Somebody who may use the gateway.

    session: the name of the server whose token this is ("" for the regular one), None for a token of the person's own.
    Only such a token of an admin reaches other people's clusters: code in an admin's session does not.
    """

    def __init__(self, name: str, groups: list[str], *, admin: bool, session: str | None) -> None:
        super().__init__(name, groups, admin and session is None)
        self.session = session

    def has_permissions(self, cluster: Any) -> bool:
        """Whether this person may see and stop the cluster."""
        return self.admin or bool(cluster.username == self.name)


class _SessionCache(UserCache):  # type: ignore[misc]
    """Answers of the Hub by cookie. Upstream has one for each *person*: one session would speak for the others."""

    def put(self, user: GatewayUser) -> str:
        key = (user.name, user.session)
        cookie = self.name_to_cookie.get(key)
        fresh = cookie is not None and self.cookie_to_user[cookie][0] + self.max_age >= time.monotonic()
        if not fresh:
            self.cookie_to_user.pop(cookie, None)
            cookie = self._new(key, user)
        return str(cookie)

    def get(self, cookie: str) -> GatewayUser | None:
        found = self.cookie_to_user.get(cookie)
        if found is None:
            return None
        since, user = found
        if since + self.max_age >= time.monotonic():
            return user  # type: ignore[no-any-return]
        del self.cookie_to_user[cookie]
        self.name_to_cookie.pop((user.name, user.session), None)
        return None

    def _new(self, key: tuple[str, str | None], user: GatewayUser) -> str:
        cookie = secrets.token_hex(16)
        self.name_to_cookie[key] = cookie
        self.cookie_to_user[cookie] = (time.monotonic(), user)
        return cookie


class SessionAuthenticator(JupyterHubAuthenticator):  # type: ignore[misc]
    """Asks the Hub who a token belongs to; refuses with sentences instead of a bare 401."""

    async def setup(self, app: web.Application) -> None:
        """Start; see upstream."""
        await super().setup(app)
        self.cache = _SessionCache(CACHE_SECONDS)

    async def authenticate_and_handle(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Let the person's request through.

        Upstream believes its cookie more than a token, and lets browsers send it from anywhere. It is there to spare
        clients in Python, which show their token when they are asked only, the question.
        """
        cookie = None if "Authorization" in request.headers else request.cookies.get(self.cookie_name)
        user = self.cache.get(cookie) if cookie is not None else None
        if user is not None:
            request["user"] = user
            return await handler(request)  # type: ignore[no-any-return]
        request["user"] = user = await self.authenticate(request)
        response: web.StreamResponse = await handler(request)
        options: dict[str, Any] = {"httponly": True, "samesite": "Strict", "path": self.parent.backend.proxy.prefix}
        response.set_cookie(self.cookie_name, self.cache.put(user), max_age=CACHE_SECONDS, **options)
        return response

    async def authenticate(self, request: web.Request) -> GatewayUser:
        """The user behind the request.

        Raises aiohttp's 401 without a (living) token, 422 for a token that may not use Dask (which the client turns
        into a ValueError with our sentence), 503 when the Hub does not answer.
        """
        token = _token_of(request)
        if token is None:
            raise _unauthorized("A token of the hub is needed: `Authorization: token`.")
        model = await self._ask_hub(token)
        if model.get("kind") != "user":
            raise _unauthorized("Only people can have clusters, not services.")
        name, scopes, session = str(model["name"]), set(model.get("scopes", [])), _session_of(model)
        may = not scopes.isdisjoint({"access:services", f"access:services!service={self.jupyterhub_service_name}"})
        # The session's own record counts whatever its token may do: operators can give tokens more than we think.
        if refusal := self._refusal_of(name, session) or ("" if may else self._lacks_scope(session)):
            raise web.HTTPUnprocessableEntity(reason=refusal)
        admin = bool(model.get("admin")) and not any(scope.startswith(_SERVER_SCOPE) for scope in scopes)
        return GatewayUser(name, model.get("groups", []), admin=admin, session=session)

    def _refusal_of(self, user: str, session: str | None) -> str:
        """Why this session may have no clusters, a sentence; "" when it may, or when it is none of the launcher's."""
        if session is None:
            return ""
        sessions = self.parent.backend.runtime.sessions(user)
        return next((str(one.refusal) for one in sessions if one.server_name == session), "")

    def _lacks_scope(self, session: str | None) -> str:
        if session is not None:
            return "Dask is not available to you on this hub."
        return f"This token lacks the scope access:services!service={self.jupyterhub_service_name}."

    async def _ask_hub(self, token: str) -> dict[str, Any]:
        """The Hub's model of a token's owner."""
        try:
            async with self.session.get(
                f"{self.jupyterhub_api_url}/user",
                headers={"Authorization": f"token {token}"},
                timeout=aiohttp.ClientTimeout(total=_HUB_SECONDS),
            ) as answer:
                if answer.status in {401, 403, 404}:
                    raise _unauthorized("This token is not one of the hub's, or not any more.")
                answer.raise_for_status()
                model: dict[str, Any] = await answer.json()
                return model
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise web.HTTPServiceUnavailable(reason="JupyterHub does not answer. Try again in a moment.") from error


def _token_of(request: web.Request) -> str | None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if kind.lower() in _KINDS and _TOKEN.fullmatch(token) else None


def _session_of(model: dict[str, Any]) -> str | None:
    """The server a token was made for; None for a token of the person's own.

    A session's token names its server, also where the operator lets it do more.
    """
    owner = f"{_SERVER_SCOPE}{model['name']}/"
    found = [scope.removeprefix(owner) for scope in model.get("scopes", []) if scope.startswith(owner)]
    return found[0] if len(found) == 1 else None


def _unauthorized(reason: str) -> web.HTTPUnauthorized:
    # the client shows its token only to an answer that asks for it in this way
    return web.HTTPUnauthorized(headers={"WWW-Authenticate": "jupyterhub"}, reason=reason)
