"""The pages of builds: their history with filters, and one build with its log."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import cast
from urllib.parse import urlencode

from tornado.web import authenticated

from launcher.models import BuildId, BuildStatus
from launcher.sessions.base import LaunchEvent, LogBatch, events_of
from launcher.web.builds_api import asked_page
from launcher.web.pages import NavigatedHandler

_BUILDS_OF_A_PAGE = 50
_LOG_LINES = 1000
_REFRESH_SECONDS = 5
_FILTERS = ("status", "text", "own", "before")


class BuildsPageHandler(NavigatedHandler):
    """``/builds``."""

    @authenticated
    async def get(self) -> None:
        """Builds this person asked for, for operators everybody's, with filters and page by page."""
        page = asked_page(self, limit=_BUILDS_OF_A_PAGE)
        asked = {name: value for name in _FILTERS if (value := self.first_argument(name))}
        older = {**asked, "before": str(page.before)} if page.before is not None else None
        self.render_page(
            "builds.html",
            builds=page.builds,
            asked=asked,
            statuses=[status.value for status in BuildStatus],
            older=urlencode(older) if older else None,
            newest=urlencode({name: value for name, value in asked.items() if name != "before"}),
        )


class BuildPageHandler(NavigatedHandler):
    """``/builds/<id>``."""

    @authenticated
    async def get(self, build_id: str) -> None:
        """One build with its log, for those who may see it and those whom they showed it."""
        person, shared = self.require_visitor().person, self.was_shown(build_id)
        build = self.parts.history.one(person, BuildId(build_id), shared=shared)
        key = self.first_argument("key") if shared else None
        page = f"{self.public_origin}{self.web.service_prefix}builds/{build_id}"
        api = f"{self.web.service_prefix}api/v1/builds/{build_id}"
        query = f"?key={key}" if key else ""
        self.render_page(
            "build.html",
            build=build,
            row=build.row,
            log="".join(await self._end_of_log(build_id, shared=shared)),
            live={
                "events": f"{api}/events{query}",
                "text": f"{api}/log{query}",
                "xsrf": self.xsrf_for_forms(),
                "open": build.row.is_open,
                "failure": build.error.message if build.error else None,
            },
            share=f"{page}?key={key or self.share_keys.key(build_id)}",
            refresh_seconds=_REFRESH_SECONDS,
            xsrf_token=self.xsrf_for_forms(),
        )

    async def _end_of_log(self, build_id: str, *, shared: bool) -> deque[str]:
        """The last lines the build wrote."""
        lines: deque[str] = deque(maxlen=_LOG_LINES)
        person = self.require_visitor().person
        log = self.parts.launches.build_log(person, BuildId(build_id), follow=False, shared=shared)
        async with aclosing(cast("AsyncGenerator[LaunchEvent | LogBatch, None]", log)) as events:
            async for said in events:
                lines.extend(event.message for event in events_of(said))
        return lines


class CancelBuildHandler(NavigatedHandler):
    """``/builds/<id>/cancel``."""

    async def post(self, build_id: str) -> None:
        """Cancel the build and go back to its page."""
        await self.parts.launches.cancel_build(self.require_visitor().person, BuildId(build_id))
        self.redirect(f"{self.web.service_prefix}builds/{build_id}", status=HTTPStatus.SEE_OTHER)
