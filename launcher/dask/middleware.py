"""Around every request of the gateway's API: upstream's handlers answer what they did not expect with a bare 500."""

from __future__ import annotations

import json
from typing import Any

import structlog
from aiohttp import web

from launcher.errors import BadRequest, LauncherError, LoginRequired
from launcher.store.problems import translated

log = structlog.get_logger(__name__)
_NO_OBJECT = "The body of this request must be a JSON object."


@web.middleware
async def speak_in_sentences(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer requests that are none, and what only the operator can mend, with ``{"error": sentence}``."""
    try:
        await _check(request)
        with translated():
            response: web.StreamResponse = await handler(request)
    except json.JSONDecodeError:
        return _answer(BadRequest(_NO_OBJECT), 422)
    except LoginRequired as error:
        return _answer(error, web.HTTPUnauthorized.status_code)
    except LauncherError as error:
        if error.http_status >= web.HTTPInternalServerError.status_code:
            log.exception("dask_gateway.request_failed", code=error.code)
        return _answer(error, error.http_status)
    return response


async def _check(request: web.Request) -> None:
    """Raises BadRequest, LoginRequired."""
    authorization = request.headers.get("Authorization")
    if authorization is not None and " " not in authorization.strip():
        raise LoginRequired("The header Authorization must be a word and a token of the hub.")
    if not request.can_read_body:
        return
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise BadRequest(_NO_OBJECT)


def _answer(error: LauncherError, status: int) -> web.Response:
    # clients show their token to an answer that asks for it in this way
    headers = {"WWW-Authenticate": "jupyterhub"} if status == web.HTTPUnauthorized.status_code else {}
    return web.json_response({"error": f"{error.message} {error.hint}".strip()}, status=status, headers=headers)
