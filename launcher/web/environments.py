"""The page of environments: one's own, for operators all, and the buttons that keep or remove one."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from tornado.web import authenticated

from launcher.errors import EnvironmentNotFound
from launcher.models import EnvironmentKey
from launcher.web.environments_api import LONGEST_SEARCH, catalogue_of, rebuild, rebuildable
from launcher.web.pages import NavigatedHandler

_ENVIRONMENTS_OF_A_PAGE = 50


class EnvironmentsPageHandler(NavigatedHandler):
    """``/environments``."""

    @authenticated
    async def get(self) -> None:
        """Environments, the last used first, with search and page by page."""
        search = (self.first_argument("search") or "").strip()[:LONGEST_SEARCH]
        after = self.first_argument("after")
        person = self.require_visitor().person
        page = await catalogue_of(self).page(person, search=search, after=after, limit=_ENVIRONMENTS_OF_A_PAGE)
        asked = {"search": search} if search else {}
        self.render_page(
            "environments.html",
            page=page,
            search=search,
            after=after,
            following=urlencode({**asked, "after": page.following}) if page.following else None,
            first=urlencode(asked),
            rebuildable=rebuildable(self, page),
            xsrf_token=self.xsrf_for_forms(),
        )


class _ButtonHandler(NavigatedHandler):
    """A form of the page, which leads back to it."""

    def back(self) -> None:
        """To the environments."""
        self.redirect(f"{self.web.service_prefix}environments", status=HTTPStatus.SEE_OTHER)


class PinEnvironmentHandler(_ButtonHandler):
    """``/environments/<key>/pin``."""

    async def post(self, key: str) -> None:
        """Keep it whatever its age (``pinned=1``), or let it go with age again."""
        pinned = self.get_body_argument("pinned", "") == "1"
        await catalogue_of(self).pin(self.require_visitor().person, EnvironmentKey(key), pinned=pinned)
        self.back()


class RebuildEnvironmentHandler(NavigatedHandler):
    """``/environments/<key>/rebuild``."""

    async def post(self, key: str) -> None:
        """Have it made anew and show the build."""
        self.require_visitor()
        self.redirect(f"{self.web.service_prefix}builds/{await rebuild(self, key)}", status=HTTPStatus.SEE_OTHER)


class DeleteEnvironmentHandler(_ButtonHandler):
    """``/environments/<key>/delete``."""

    @authenticated
    async def get(self, key: str) -> None:
        """Ask, and say what it is."""
        page = await catalogue_of(self).page(self.require_visitor().person, search=key, limit=1)
        found = next((one for one in page.environments if one.row.key == key), None)
        if found is None:
            raise EnvironmentNotFound("There is no such environment.", hint="It may have been removed already.")
        self.render_page(
            "delete_environment.html",
            environment=found,
            row=found.row,
            xsrf_token=self.xsrf_for_forms(),
        )

    async def post(self, key: str) -> None:
        """Remove it and go back to the environments."""
        await catalogue_of(self).remove(self.require_visitor().person, EnvironmentKey(key))
        self.back()
