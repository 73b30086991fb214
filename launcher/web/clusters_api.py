"""Clusters for programs, with a Hub token only.

Never with a cookie: code of a session runs in browsers on our own origin, and an admin's cookie would open everybody's
clusters to it.
"""

from __future__ import annotations

from http import HTTPStatus

from launcher.web.api import TokenHandler
from launcher.web.clusters import clusters_of


class ClustersHandler(TokenHandler):
    """``/api/v1/clusters``."""

    async def get(self) -> None:
        """The person's own clusters, for admins everybody's; the person's limits and what is used of them."""
        visitor = self.require_token()
        found = await clusters_of(self).all(visitor.person, visitor.hub_token)
        clusters = [cluster.to_json() for cluster in found.clusters]
        self.finish({"clusters": clusters, "limits": dict(found.limits), "used": dict(found.used)})


class ClusterHandler(TokenHandler):
    """``/api/v1/clusters/<name>``."""

    async def delete(self, name: str) -> None:
        """Stop it."""
        visitor = self.require_token()
        await clusters_of(self).stop(visitor.person, visitor.hub_token, name)
        self.set_status(HTTPStatus.NO_CONTENT)


class ClusterLogsHandler(TokenHandler):
    """``/api/v1/clusters/<name>/logs``."""

    async def get(self, name: str) -> None:
        """The processes of which there is a log."""
        visitor = self.require_token()
        names = await clusters_of(self).log_names(visitor.person, visitor.hub_token, name)
        self.finish({"logs": list(names)})


class ClusterLogHandler(TokenHandler):
    """``/api/v1/clusters/<name>/logs/<process>``."""

    async def get(self, name: str, process: str) -> None:
        """The last 256 KiB of a log as plain text that no browser takes for a page."""
        visitor = self.require_token()
        text = await clusters_of(self).log(visitor.person, visitor.hub_token, name, process)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(text)
