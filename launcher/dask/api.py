"""What the gateway's REST API has beyond upstream's: clusters with everything about them, stopping, logs.

Below ``/api/v1/launcher/``. A person sees their own clusters; an admin's own token reaches everybody's.
"""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from typing import Any

from aiohttp import web
from dask_gateway_server.routes import api_handler

from launcher.dask import limits
from launcher.dask.base import SCHEDULER
from launcher.dask.config import DaskSettings
from launcher.dask.description import describe

_LOG_BYTES = 256 * 1024
_PROCESS = re.compile(rf"{SCHEDULER}|[0-9a-f]{{32}}")
_by_cluster: ContextVar[bool | None] = ContextVar("by_cluster", default=None)


def reason_of_request(settings: DaskSettings) -> str:
    """Why a cluster ends when nobody said so: its owner wants that, or it told us itself that it is idle."""
    by_cluster = _by_cluster.get()
    if by_cluster:
        return f"It was idle for {settings.idle_timeout_seconds / 60:g} minutes."
    return "" if by_cluster is None else "It was stopped."


@web.middleware
async def remember_who_asks(request: web.Request, handler: Any) -> web.StreamResponse:
    """Tell a cluster's own wish to end from a person's: both are a DELETE."""
    token = _by_cluster.set(request.headers.get("Authorization", "").startswith("token ") and _is_upstream(request))
    try:
        response: web.StreamResponse = await handler(request)
    finally:
        _by_cluster.reset(token)
    return response


def _is_upstream(request: web.Request) -> bool:
    return "/launcher/" not in request.path


def routes() -> list[web.RouteDef]:
    """Every route of ours."""
    prefix = "/api/v1/launcher/clusters"
    authenticated = {"user_authenticated": True}
    return [
        web.get(prefix, api_handler(_list, **authenticated)),
        web.delete(prefix + "/{cluster_name}", api_handler(_stop, **authenticated)),
        web.get(prefix + "/{cluster_name}/logs", api_handler(_logs, **authenticated)),
        web.get(prefix + "/{cluster_name}/logs/{process}", api_handler(_log, **authenticated)),
    ]


def _cluster(request: web.Request) -> Any:
    """The cluster a request is about. 404 when there is none, or none this person may know of."""
    cluster = request.app["backend"].db.get_cluster(request.match_info["cluster_name"])
    if cluster is None or not request["user"].has_permissions(cluster):
        raise web.HTTPNotFound(reason="There is no such cluster.")
    return cluster


async def _list(request: web.Request) -> web.Response:
    backend, user = request.app["backend"], request["user"]
    everybody = backend.db.name_to_cluster.values()
    found = [cluster for cluster in everybody if user.has_permissions(cluster)]
    found.sort(key=lambda cluster: cluster.start_time, reverse=True)
    views = (describe(cluster, backend.session, backend.proxy.prefix) for cluster in found)
    mine = [one for one in backend.room.held() if one.user == user.name]
    return web.json_response(
        {
            "clusters": await asyncio.gather(*views),
            "limits": limits.limits_of(user.groups, backend.settings),
            "used": limits.used(mine),
        }
    )


async def _stop(request: web.Request) -> web.Response:
    cluster, user = _cluster(request), request["user"]
    by = "It was stopped." if cluster.username == user.name else f"{user.name} stopped it."
    await request.app["backend"].stop_cluster(cluster.name, reason=by)
    return web.Response(status=204)


async def _logs(request: web.Request) -> web.Response:
    return web.json_response({"logs": request.app["backend"].runtime.log_names(_cluster(request).name)})


async def _log(request: web.Request) -> web.Response:
    cluster, process = _cluster(request), request.match_info["process"]
    if not _PROCESS.fullmatch(process):
        raise web.HTTPNotFound(reason="There is no such log.")
    text = await asyncio.to_thread(request.app["backend"].runtime.read_log, cluster.name, process, limit=_LOG_BYTES)
    return web.Response(text=text, content_type="text/plain", headers={"X-Content-Type-Options": "nosniff"})
