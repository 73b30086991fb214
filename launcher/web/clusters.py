"""The pages of Dask clusters: which there are, what they wrote, and the button that stops one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus

from tornado.web import authenticated

from launcher.errors import DaskNotAllowed, NotFound
from launcher.sessions.clusters import ClusterList, Clusters
from launcher.web.base import BaseHandler
from launcher.web.clusters_words import ClusterWords, kind_of_tag, short_environment
from launcher.web.pages import NavigatedHandler

REFRESH_SECONDS = 10


def clusters_of(handler: BaseHandler) -> Clusters:
    """What to ask about clusters. Raises NotFound on a hub without Dask."""
    clusters = handler.parts.clusters
    if clusters is None:
        raise NotFound("This hub has no Dask clusters.", hint="An operator can switch Dask on: `c.Launcher.dask`.")
    return clusters


class ClustersPageHandler(NavigatedHandler):
    """``/clusters``."""

    @authenticated
    async def get(self) -> None:
        """The clusters of the person who asks, or everybody's for an admin; why there are none."""
        visitor, refusal = self.require_visitor(), None
        found = ClusterList((), {}, {})
        try:
            found = await clusters_of(self).all(visitor.person, visitor.hub_token)
        except DaskNotAllowed as error:
            refusal = error
            self.set_status(error.http_status)
        said = ClusterWords(self.words)
        shows_others = any(cluster.user != visitor.person.name for cluster in found.clusters)
        self.render_page(
            "clusters.html",
            live=[cluster for cluster in found.clusters if cluster.is_live],
            ended=[cluster for cluster in found.clusters if not cluster.is_live],
            usage=said.usage(found.limits, found.used),
            refusal=refusal,
            shows_owners=visitor.person.admin or shows_others,
            refresh_seconds=REFRESH_SECONDS,
            now=datetime.now(UTC),
            said=said,
            kind_of_tag=kind_of_tag,
            short_environment=short_environment,
            xsrf_token=self.xsrf_for_forms(),
        )


class StopClusterHandler(NavigatedHandler):
    """``/clusters/<name>/stop``: the button."""

    async def post(self, name: str) -> None:
        """Stop it and go back to the clusters, or with ``back=mine`` to my launches."""
        visitor = self.require_visitor()
        await clusters_of(self).stop(visitor.person, visitor.hub_token, name)
        page = "" if self.get_body_argument("back", "") == "mine" else "clusters"
        self.redirect(self.web.service_prefix + page, status=HTTPStatus.SEE_OTHER)


class ClusterLogPageHandler(NavigatedHandler):
    """``/clusters/<name>/logs/<process>``."""

    @authenticated
    async def get(self, name: str, process: str) -> None:
        """The end of what a process wrote, also when its cluster is over."""
        await self.show(name, process)

    async def show(self, name: str, process: str | None) -> None:
        """Finish with a log; the first one when none is asked for. Raises ClusterNotFound, NotFound."""
        visitor, clusters = self.require_visitor(), clusters_of(self)
        who = visitor.person, visitor.hub_token
        names, everything = await asyncio.gather(clusters.log_names(*who, name), clusters.all(*who))
        if process is not None and process not in names:
            raise NotFound("This cluster has no such log.", hint="Open its logs from the page of clusters.")
        shown = process or next(iter(names), None)
        self.render_page(
            "cluster_log.html",
            name=name,
            cluster=next((cluster for cluster in everything.clusters if cluster.name == name), None),
            names=names,
            shown=shown,
            text=await clusters.log(*who, name, shown) if shown else "",
            said=ClusterWords(self.words),
            kind_of_tag=kind_of_tag,
        )


class ClusterLogsPageHandler(ClusterLogPageHandler):
    """``/clusters/<name>/logs``."""

    @authenticated
    async def get(self, name: str) -> None:
        """The scheduler's log, and links to the others."""
        await self.show(name, None)
