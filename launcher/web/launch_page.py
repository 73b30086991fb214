"""``/v2/<provider>/<spec>``: says what a launch would do, asks, and shows how it goes on.

A GET starts nothing. The person's click posts the form; the answer carries a build token that says so, and with that
token the page's script opens the event stream. Without JavaScript the same page reloads itself until it is done.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import quote, urlencode

from tornado.web import authenticated

from launcher.errors import LauncherError, RecipeError
from launcher.models import EnvironmentStatus, Spec, Trust
from launcher.sessions.base import LaunchEvent, LaunchRequest, Preview
from launcher.sources.base import spec_at
from launcher.web.base import Visitor, is_yes
from launcher.web.open_path import parse_open_path
from launcher.web.progress import ProgressHandler
from launcher.web.told import Told, first_event, last_event, listen

_SOON_SECONDS = 1.0


@dataclass(frozen=True)
class Click:
    """One person, one link: everything the page works with.

    path: the raw spec as in the URL. with_dask, size: the link, or the form, asks for Dask, or a machine size.
    """

    visitor: Visitor
    path: str
    spec: Spec
    open_path: str
    with_dask: bool = False
    size: str = ""

    def query(self, *, choices: bool = True, **more: str) -> str:
        """A query string that keeps where the link wants to go and, unless a form asks anew, what was chosen."""
        parameters = {"urlpath": self.open_path} if self.open_path else {}
        parameters |= {"dask": "1"} if self.with_dask and choices else {}
        parameters |= {"size": self.size} if self.size and choices else {}
        parameters |= more
        return "?" + urlencode(parameters, quote_via=quote) if parameters else ""


class LaunchPageHandler(ProgressHandler):
    """The page a badge leads to."""

    @authenticated
    async def get(self) -> None:
        """Ask about an unknown repository, go on with the others or with a fresh build token of this page."""
        click = self._click()
        confirmed = self.is_confirmed(click.path)
        if confirmed and self.first_argument("wait") is not None:
            return await self._show_without_script(click)
        if confirmed:
            return self._show_progress(click, confirmed=True, preview=await self._preview_soon(click))
        preview = await self._preview(click)
        if preview.problem is not None or preview.trust is Trust.UNKNOWN:
            return self._ask(click, preview)
        return self._show_progress(click, confirmed=False, preview=preview)

    async def post(self) -> None:
        """A person said yes: begin, and lead to the page that shows it."""
        size = self.get_body_argument("size", "")
        click = replace(self._click(), with_dask=is_yes(self.get_body_argument("dask", "")), size=size)
        self.application.settings["launch_rate"].take(click.visitor.person.name)
        request = self._request(click, trust=self.get_body_argument("trust", "") == "yes")
        launch = self.parts.launches.launch(request)
        told = await listen(launch, seconds=self.web.noscript_wait_seconds, enough=first_event)
        if told.failed is not None:
            return self._show_failure(click, told.failed)
        token = self.issue_token(click.path, confirmed=True)
        return self.redirect(self.request.path + click.query(build_token=token), status=HTTPStatus.SEE_OTHER)

    async def _preview(self, click: Click) -> Preview:
        visitor = click.visitor
        return await self.parts.launches.preview(
            visitor.person, visitor.hub_token, click.spec, with_dask=click.with_dask, size=click.size
        )

    async def _preview_soon(self, click: Click) -> Preview | None:
        """What is being launched, if that is known in a moment: the launch is under way, its page does not wait."""
        try:
            return await asyncio.wait_for(self._preview(click), _SOON_SECONDS)
        except (LauncherError, TimeoutError):
            return None

    def _click(self) -> Click:
        path = self.raw_tail("v2/")
        spec = spec_at(self.parts.sources, path.rstrip("/"))
        with_dask = is_yes(self.first_argument("dask"))
        size = self.first_argument("size") or ""
        return Click(self.require_visitor(), path, spec, parse_open_path(self.first_argument), with_dask, size)

    def _request(self, click: Click, *, trust: bool = False) -> LaunchRequest:
        return LaunchRequest(
            person=click.visitor.person,
            hub_token=click.visitor.hub_token,
            spec=click.spec,
            open_path=click.open_path,
            confirmed=True,
            trust=trust,
            with_dask=click.with_dask,
            size=click.size,
            launch_host=self.public_origin + self.web.service_prefix,
            client_ip=self.request.remote_ip or "",
        )

    def _ask(self, click: Click, preview: Preview) -> None:
        if preview.problem is not None:
            self.set_status(RecipeError.http_status)
        self.render_page(
            "launch.html",
            title=self.title(click.spec),
            click=click,
            preview=preview,
            action=self.request.path + click.query(choices=False),
            again=self.request.path + click.query(),
            xsrf_token=self.xsrf_for_forms(),
        )

    def _show_progress(
        self, click: Click, *, confirmed: bool, preview: Preview | None = None, told: Told | None = None
    ) -> None:
        if confirmed:
            self.keep_address_secret()
        repository = self.parts.sources.repository(click.spec)
        token = self.issue_token(click.path, confirmed=confirmed)
        page = self.page_of_progress(
            repository.display_name,
            subject=click.path,
            token=token,
            events=f"build/{click.path}{click.query()}",
            again=self.request.path + click.query(),
        )
        self.render_page(
            "progress.html",
            title=self.title(click.spec),
            click=click,
            preview=preview,
            repository=repository,
            page=page,
            documents=self._documents(click, preview),
            told=told,
            refresh=self.request.path + click.query(build_token=token, wait="1") if confirmed else None,
            xsrf_token=page["xsrfToken"],
        )

    def _documents(self, click: Click, preview: Preview | None) -> str | None:
        """Where the repository's README is shown; None when there is nothing to wait for, or nothing to show."""
        is_quick = preview is not None and preview.environment is EnvironmentStatus.READY
        if is_quick or self.parts.documents is None:
            return None
        return f"{self.web.service_prefix}documents/{click.path}{click.query(choices=False)}"

    async def _show_without_script(self, click: Click) -> None:
        launch = self.parts.launches.launch(self._request(click))
        told = await listen(launch, seconds=self.web.noscript_wait_seconds, enough=last_event)
        if told.failed is not None:
            return self._show_failure(click, told.failed)
        if told.ready is not None:
            return self.redirect(self.session_path(told.ready, click.open_path), status=HTTPStatus.SEE_OTHER)
        return self._show_progress(click, confirmed=True, told=told)

    def _show_failure(self, click: Click, event: LaunchEvent) -> None:
        self.set_status(int(event.data.get("status_code", HTTPStatus.OK)))
        self.render_page(
            "failed.html",
            title=self.title(click.spec),
            message=event.message.strip(),
            code=event.data.get("code", "internal_error"),
            hint=event.data.get("hint", ""),
            again=self.request.path + click.query(),
        )
