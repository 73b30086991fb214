"""My launches, the launcher's home page: what runs, what is built, what was used, and the buttons beside it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus

from tornado.web import authenticated

from launcher.models import RepositoryId, Trust
from launcher.sessions.clusters import OwnClusters, own_clusters
from launcher.sessions.history import OPEN
from launcher.web.clusters_words import ClusterWords, kind_of_tag
from launcher.web.mine_api import send_archive
from launcher.web.pages import NavigatedHandler

_REFRESH_SECONDS = 10
_CLUSTERS_SECONDS = 1.0


class HomeHandler(NavigatedHandler):
    """``/``."""

    @authenticated
    async def get(self) -> None:
        """My launches, and the form that makes one more."""
        visitor, mine = self.require_visitor(), self.parts.mine
        sessions, clusters = await asyncio.gather(mine.sessions(visitor.person, visitor.hub_token), self._clusters())
        running = frozenset(session.server_name for session in sessions)
        builds = self.parts.history.page(visitor.person, statuses=OPEN, own=True, limit=20).builds
        changing = bool(builds) or any(session.state != "ready" for session in sessions)
        changing = changing or any(cluster.status != "running" for cluster in clusters.clusters)
        self.render_page(
            "home.html",
            sessions=sessions,
            builds=builds,
            clusters=clusters,
            said=ClusterWords(self.words),
            kind_of_tag=kind_of_tag,
            now=datetime.now(UTC),
            repositories=await mine.repositories(visitor.person, running),
            trust=Trust,
            providers=self.parts.sources.describe(),
            dask_choice=self.parts.launches.can_choose_dask(visitor.person),
            refresh_seconds=_REFRESH_SECONDS if changing else None,
            xsrf_token=self.xsrf_for_forms(),
        )

    async def _clusters(self) -> OwnClusters:
        """Clusters of this person; Dask that is slow or away costs a moment and no more."""
        visitor, clusters = self.require_visitor(), self.parts.clusters
        if clusters is None:
            return OwnClusters()
        return await own_clusters(clusters, visitor.person, visitor.hub_token, seconds=_CLUSTERS_SECONDS)


class _ButtonHandler(NavigatedHandler):
    """A form of the page, which leads back to it."""

    def back(self) -> None:
        """To my launches, or to the page of a new session when the form was on that."""
        page = "new" if self.get_body_argument("back", "") == "new" else ""
        self.redirect(self.web.service_prefix + page, status=HTTPStatus.SEE_OTHER)


class StopSessionHandler(_ButtonHandler):
    """``/sessions/stop``."""

    async def post(self) -> None:
        """Stop the session ``server``, "" for the regular one, and go back."""
        visitor = self.require_visitor()
        await self.parts.mine.stop(visitor.person, visitor.hub_token, self.get_body_argument("server"))
        self.back()


class KeepAliveHandler(_ButtonHandler):
    """``/sessions/keep``."""

    async def post(self) -> None:
        """Count the session ``server`` as used now, and go back to my launches."""
        visitor = self.require_visitor()
        await self.parts.mine.keep_alive(visitor.person, visitor.hub_token, self.get_body_argument("server"))
        self.back()


class DistrustHandler(_ButtonHandler):
    """``/trust/take-back``."""

    async def post(self) -> None:
        """Trust ``repository`` no longer and go back to my launches."""
        repository = RepositoryId(self.get_body_argument("repository"))
        self.parts.mine.distrust(self.require_visitor().person, repository)
        self.back()


class DownloadHomeHandler(NavigatedHandler):
    """``/project-homes/<server>/download``."""

    @authenticated
    async def get(self, server_name: str) -> None:
        """All files of the project home as a gzipped tar."""
        await send_archive(self, server_name)


class DeleteHomeHandler(_ButtonHandler):
    """``/project-homes/<server>/delete``."""

    @authenticated
    async def get(self, server_name: str) -> None:
        """Ask, and say what would be gone."""
        row, size = await self.parts.mine.home(self.require_visitor().person, server_name)
        self.render_page("delete_home.html", row=row, size=size, xsrf_token=self.xsrf_for_forms())

    async def post(self, server_name: str) -> None:
        """Delete the project home for good and go back to my launches."""
        visitor = self.require_visitor()
        await self.parts.mine.delete_home(visitor.person, visitor.hub_token, server_name)
        self.back()
