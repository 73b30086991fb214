"""Who may ask the gateway, by what a hub says of tokens; the hub is a listener of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from dask_gateway_server.routes import api_handler
from traitlets import Any as AnyTrait
from traitlets.config import LoggingConfigurable

from launcher.dask.authenticator import SessionAuthenticator
from launcher.dask.base import LiveSession
from tests.support.backend import running_backend

pytestmark = pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning")  # upstream's way
DASK = "access:services!service=dask-gateway"
PERSON = {"name": "rosa", "kind": "user", "groups": ["course"], "admin": False}
ADMIN = {**PERSON, "name": "root", "admin": True}
TOKENS = {
    "own": {**PERSON, "scopes": [DASK, "access:servers!user=rosa"]},
    "all": {**PERSON, "scopes": ["access:services"]},
    "without": {**PERSON, "scopes": ["access:servers!user=rosa"]},
    "trusted": {**PERSON, "scopes": [DASK, "access:servers!server=rosa/a"]},
    "stranger": {**PERSON, "scopes": ["access:servers!server=rosa/b"]},
    "stranger-with-more": {**PERSON, "scopes": ["access:services", "access:servers!server=rosa/b"]},
    "stranger-with-most": {**PERSON, "scopes": [DASK, "access:servers!user=rosa", "access:servers!server=rosa/b"]},
    "service": {"name": "cull", "kind": "service", "scopes": ["access:services"]},
    "admin": {**ADMIN, "scopes": ["access:services", "access:servers"]},
    "session-of-admin": {**ADMIN, "scopes": [DASK, "access:servers!server=root/"]},
    "wide-session-of-admin": {**ADMIN, "scopes": [DASK, "access:servers", "access:servers!server=root/"]},
}
SESSIONS = [
    LiveSession("rosa", "a", "e" * 64, "trusted"),
    LiveSession("rosa", "b", "e" * 64, "stranger", "This session runs a repository that you did not say you trust."),
]


class Parent(LoggingConfigurable):
    backend = AnyTrait()


async def model(request: web.Request) -> web.Response:
    found = TOKENS.get(request.headers["Authorization"].removeprefix("token "))
    return web.json_response(found) if found is not None else web.Response(status=403)


async def who(request: web.Request) -> web.Response:
    user = request["user"]
    facts = {"name": user.name, "session": user.session, "admin": user.admin, "groups": sorted(user.groups)}
    return web.json_response(facts)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[TestClient[Any, Any]]:
    hub = web.Application()
    hub.router.add_get("/hub/api/user", model)
    async with TestServer(hub, host="127.0.0.1") as server, running_backend(tmp_path) as running:
        running.runtime.live = SESSIONS
        authenticator = SessionAuthenticator(
            parent=Parent(backend=running.backend),
            jupyterhub_api_token="of-the-service",
            jupyterhub_api_url=str(server.make_url("/hub/api")),
            jupyterhub_service_name="dask-gateway",
        )
        application = web.Application()
        application["authenticator"] = authenticator
        application.router.add_get("/services/dask-gateway/who", api_handler(who, user_authenticated=True))
        await authenticator.setup(application)
        async with TestClient(TestServer(application, host="127.0.0.1")) as client:
            yield client
        await authenticator.cleanup()


async def ask(gateway: TestClient[Any, Any], token: str | None) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"jupyterhub {token}"} if token is not None else {}
    answer = await gateway.get("/services/dask-gateway/who", headers=headers)
    return answer.status, await answer.json()


@pytest.mark.parametrize(
    ("token", "session", "admin"),
    [
        ("own", None, False),
        ("all", None, False),
        ("trusted", "a", False),
        ("admin", None, True),
        ("session-of-admin", "", False),
        ("wide-session-of-admin", "", False),
    ],
)
async def test_a_token_says_who_and_from_which_session(gateway, token, session, admin):
    status, found = await ask(gateway, token)
    assert (status, found["session"], found["admin"], found["groups"]) == (200, session, admin, ["course"])


@pytest.mark.parametrize(
    ("token", "status", "words"),
    [
        ("without", 422, "lacks the scope"),
        ("stranger", 422, "you did not say you trust"),
        ("stranger-with-more", 422, "you did not say you trust"),
        ("stranger-with-most", 422, "you did not say you trust"),
        ("service", 401, "Only people"),
        ("forged", 401, "not one of the hub's"),
        (None, 401, "token of the hub is needed"),
    ],
)
async def test_who_may_not_is_told_why(gateway, token, status, words):
    found = await ask(gateway, token)
    assert found[0] == status
    assert words in found[1]["error"]


async def test_a_token_counts_more_than_a_cookie_and_a_cookie_is_for_its_session(gateway):
    assert (await ask(gateway, "trusted"))[1]["session"] == "a"
    assert (await ask(gateway, None))[1]["session"] == "a"
    assert (await ask(gateway, "own"))[1]["session"] is None
    assert (await ask(gateway, "forged"))[0] == 401
    assert (await ask(gateway, "stranger-with-more"))[0] == 422
    [cookie] = gateway.session.cookie_jar
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/services/dask-gateway", "Strict", True)
