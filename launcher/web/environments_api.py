"""Environments for programs, with a Hub token only."""

from __future__ import annotations

from http import HTTPStatus

from launcher.errors import BadRequest, NotFound
from launcher.models import BuildId, EnvironmentKey
from launcher.retention.catalogue import EnvironmentCatalogue, EnvironmentPage
from launcher.web.api import TokenHandler
from launcher.web.base import BaseHandler

LONGEST_SEARCH = 200


def catalogue_of(handler: BaseHandler) -> EnvironmentCatalogue:
    """What to ask. Raises NotFound where there is none."""
    if handler.parts.environments is None:
        raise NotFound("There is no list of environments here.")
    return handler.parts.environments


def rebuildable(handler: BaseHandler, page: EnvironmentPage) -> frozenset[EnvironmentKey]:
    """The environments of a page that the visitor may have made anew."""
    rebuilds, keys = handler.parts.rebuilds, [environment.row.key for environment in page.environments]
    return rebuilds.allowed(handler.require_visitor().person, keys) if rebuilds is not None else frozenset()


async def rebuild(handler: BaseHandler, key: str) -> BuildId:
    """Have an environment made anew; the id of the build. Raises what `Rebuilds.rebuild` does, and RateLimited."""
    if handler.parts.rebuilds is None:
        raise NotFound("There are no environments to be rebuilt here.")
    person = handler.require_visitor().person
    handler.application.settings["launch_rate"].take(person.name)
    return await handler.parts.rebuilds.rebuild(person, EnvironmentKey(key))


class EnvironmentsHandler(TokenHandler):
    """``/api/v1/environments``."""

    async def get(self) -> None:
        """Environments with what they take, last used first, page by page: for admins all, for others their own."""
        limit = self.first_argument("limit") or "50"
        if not limit.isascii() or not limit.isdigit():
            raise BadRequest("`limit` must be a number.")
        page = await catalogue_of(self).page(
            self.require_token().person,
            search=(self.first_argument("search") or "")[:LONGEST_SEARCH],
            after=self.first_argument("after"),
            limit=int(limit[:6]),
        )
        may = rebuildable(self, page)
        environments = [{**one.to_json(), "may_rebuild": one.row.key in may} for one in page.environments]
        self.finish({"environments": environments, "total": page.total, "next": page.following})


class EnvironmentHandler(TokenHandler):
    """``/api/v1/environments/<key>``."""

    async def delete(self, key: str) -> None:
        """Remove it, unless a session, a build or a pin keeps it; for admins."""
        await catalogue_of(self).remove(self.require_token().person, EnvironmentKey(key))
        self.set_status(HTTPStatus.NO_CONTENT)


class EnvironmentRebuildHandler(TokenHandler):
    """``/api/v1/environments/<key>/rebuild``."""

    async def post(self, key: str) -> None:
        """Make it anew: 202 with the build; the old one can be used meanwhile, and for ever if that fails."""
        person = self.require_token().person
        build = self.parts.history.one(person, await rebuild(self, key))
        self.set_status(HTTPStatus.ACCEPTED)
        self.finish({"build": build.to_json()})


class EnvironmentPinHandler(TokenHandler):
    """``/api/v1/environments/<key>/pin``."""

    async def post(self, key: str) -> None:
        """Keep it whatever its age and the room on the disk; for admins."""
        await self._pin(key, pinned=True)

    async def delete(self, key: str) -> None:
        """Let it go with age again; for admins."""
        await self._pin(key, pinned=False)

    async def _pin(self, key: str, *, pinned: bool) -> None:
        await catalogue_of(self).pin(self.require_token().person, EnvironmentKey(key), pinned=pinned)
        self.set_status(HTTPStatus.NO_CONTENT)
