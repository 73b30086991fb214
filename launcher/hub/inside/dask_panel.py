"""JupyterLab's Dask panel: its buttons and lists, answered by Dask-Gateway with the session's own token.

The panel asks the session's server for ``dask/clusters``, ``dask/dashboard-check/…`` and ``dask/dashboard/<id>/…``. It
is shown all clusters of the person, also those made in code. Dashboards are not proxied: a browser is sent on to the
address that asks for the Hub's login.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, TypeVar, cast
from urllib.parse import urlsplit

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado import web

from .gateway import Gateway, GatewayProblem

_ID = r"(?P<cluster>[0-9a-f]{32})"
_PATH = r"(?P<path>(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*/?)"  # of a page of a dashboard; no segment is ".."
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_LIVE = ("starting", "running")
_REFUSALS = frozenset({403, 422})  # the gateway's "this session may not"
_Method = TypeVar("_Method", bound=Callable[..., Any])


def _for_the_person(method: _Method) -> _Method:
    """Serve nobody who is not logged in, or whom the Hub does not let into this session."""
    return cast("_Method", web.authenticated(authorized(method)))


def load(application: Any) -> None:
    """Add the panel's addresses to a Jupyter server whose environment names a gateway."""
    gateway = Gateway.from_environment()
    base = re.escape(application.web_app.settings["base_url"].rstrip("/"))
    public = re.escape(gateway.public_path)
    options = {"gateway": gateway}
    handlers = [
        (rf"{base}/dask/clusters/?", ClustersHandler, options),
        (rf"{base}/dask/clusters/{_ID}", ClusterHandler, options),
        (rf"{base}/dask/dashboard-check/(?P<url>.+)", DashboardCheckHandler, options),
    ]
    # The second is how the panel's JavaScript joins the server's address and the path of a client's dashboard_link.
    for dashboard in (rf"{base}/dask/dashboard/{_ID}", rf"{base}/*{public}/clusters/{_ID}"):
        handlers.append((rf"{dashboard}/individual-plots\.json", PlotsHandler, options))
        handlers.append((rf"{dashboard}{_PATH}", DashboardHandler, options))
    application.web_app.add_handlers(".*$", handlers)


class _PanelHandler(APIHandler):  # type: ignore[misc]  # Jupyter Server is not where types are checked
    """What the handlers of the panel share. Errors are ``{"message": sentence}``, which the panel shows."""

    auth_resource = "dask"
    _track_activity = False  # an open panel asks every few seconds; that is nobody's work

    def initialize(self, gateway: Gateway) -> None:
        """Take the gateway this session has."""
        self.gateway = gateway

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say the gateway's own sentence."""
        problem = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(problem, GatewayProblem):
            self.set_status(problem.status)
            self.finish(json.dumps({"message": str(problem)}))
        else:
            super().write_error(status_code, **kwargs)

    def log_exception(self, *error: Any) -> None:
        """A refusal is no fault of this server: one line instead of a traceback."""
        if isinstance(error[1], GatewayProblem):
            self.log.info("Dask: %s", error[1])
        else:
            super().log_exception(*error)

    async def find(self, cluster: str) -> dict[str, Any]:
        """One live cluster in the gateway's words."""
        for found in await self.gateway.clusters():
            if found["name"] == cluster and found["status"] in _LIVE:
                return found
        raise GatewayProblem(404, "This cluster does not run any more.")

    async def model_of(self, cluster: str) -> dict[str, Any]:
        """What the panel shows of one cluster."""
        return _model(await self.find(cluster), self.gateway)


class ClustersHandler(_PanelHandler):
    """The list of clusters, and the button for a new one."""

    @_for_the_person
    async def get(self) -> None:
        """Every live cluster of the person, the newest first; none when this session may have none."""
        try:
            clusters = await self.gateway.clusters()
        except GatewayProblem as problem:
            if problem.status not in _REFUSALS:  # the button for a new cluster tells why
                raise
            clusters = []
        self.finish(json.dumps([_model(one, self.gateway) for one in clusters if one["status"] in _LIVE]))

    @_for_the_person
    async def put(self) -> None:
        """Make a cluster and answer when it runs."""
        cluster = await self.gateway.create()
        await self.gateway.wait_until_it_runs(cluster)
        self.finish(json.dumps(await self.model_of(cluster)))


class ClusterHandler(_PanelHandler):
    """One cluster."""

    @_for_the_person
    async def get(self, cluster: str) -> None:
        """What the panel shows of it."""
        self.finish(json.dumps(await self.model_of(cluster)))

    @_for_the_person
    async def patch(self, cluster: str) -> None:
        """Scale it: to a number of workers, or adaptively between two."""
        wish = self.get_json_body()
        if not isinstance(wish, dict):
            raise GatewayProblem(400, "This is not a number of workers.")
        adapt = wish.get("adapt")
        between = isinstance(adapt, dict) and (_count(adapt.get("minimum")), _count(adapt.get("maximum")))
        count = 0 if between else _count(wish.get("workers"))
        if (await self.find(cluster))["status"] == "starting":  # then there is nobody yet who could scale it
            await self.gateway.wait_until_it_runs(cluster)
        if between:
            await self.gateway.adapt(cluster, *between)
        else:
            await self.gateway.scale(cluster, count)
        self.finish(json.dumps(await self.model_of(cluster)))

    @_for_the_person
    async def delete(self, cluster: str) -> None:
        """End it."""
        await self.gateway.stop(cluster)
        self.set_status(204)
        self.finish()


class DashboardCheckHandler(_PanelHandler):
    """Whether there is a dashboard behind an address, and which plots it has.

    Only dashboards of this gateway are asked, at the address that this server knows itself: the address in the request
    is whatever some page put there. A dashboard on the session's own loopback (`LocalCluster`) is inactive here,
    because a browser could not reach it either.
    """

    @_for_the_person
    async def get(self, url: str) -> None:
        """Always an answer: what does not answer is inactive."""
        found = re.search(
            rf"(?:^|/)(?:dask/dashboard|{self.gateway.public_path[1:]}/clusters)/{_ID}(?:/|$)", _path(url)
        )
        plots = await self.gateway.plots(found["cluster"]) if found else None
        answer = {"url": url, "isActive": plots is not None, "plots": plots or {}}
        if found and plots is not None:
            answer["effectiveUrl"] = f"dask/dashboard/{found['cluster']}"
        self.finish(json.dumps(answer))


class PlotsHandler(_PanelHandler):
    """The plots of a dashboard. The panel asks for them with a token that is good for this session's server only."""

    @_for_the_person
    async def get(self, cluster: str) -> None:
        """Title -> path; 404 when there is no dashboard that answers."""
        plots = await self.gateway.plots(cluster)
        if plots is None:
            raise GatewayProblem(404, "There is no dashboard of this cluster at the moment.")
        self.finish(json.dumps(plots))


class DashboardHandler(JupyterHandler):  # type: ignore[misc]  # as above
    """The panes of the panel, sent on to where the dashboard asks for the Hub's login."""

    auth_resource = "dask"

    def initialize(self, gateway: Gateway) -> None:
        """Take the gateway this session has."""
        self.gateway = gateway

    @_for_the_person
    def get(self, cluster: str, path: str) -> None:
        """Redirect, with the query kept."""
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(f"{self.gateway.public_path}/clusters/{cluster}{path}{query}")


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _count(value: Any) -> int:
    """A number of workers as the panel sends it; an empty field arrives as null. Limits are the gateway's business."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise GatewayProblem(400, "The number of workers must be a whole number.")
    return value


def _model(cluster: dict[str, Any], gateway: Gateway) -> dict[str, Any]:
    """A cluster in the panel's words."""
    starting = " (starting)" if cluster["status"] == "starting" else ""
    model = {
        "id": cluster["name"],
        "name": f"{cluster['title'] or 'Cluster'} {cluster['name'][:8]}{starting}",
        "scheduler_address": gateway.scheduler_address(cluster["name"]),
        "dashboard_link": cluster["dashboard"] or "",
        "workers": cluster["workers"],
        "cores": cluster["cores"],
        "memory": _size(cluster["memory"]),
        "started": cluster["started"],
    }
    if cluster["maximum"] is not None:
        model["adapt"] = {"minimum": cluster["minimum"] or 0, "maximum": cluster["maximum"]}
    return model


def _size(count: float) -> str:
    """Bytes for people, such as ``4.00 GiB``."""
    for unit in _UNITS[:-1]:
        if count < 1024:  # noqa: PLR2004 - of one unit in the next
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} {_UNITS[-1]}"
