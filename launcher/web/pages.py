"""Server-rendered pages: templates, errors as pages, and what stands at addresses that are no route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from launcher.errors import CrossSiteRefused, LauncherError, NotFound, OperatorError
from launcher.models import Spec
from launcher.web.assets import Assets
from launcher.web.base import BaseHandler
from launcher.web.rendering import render
from launcher.web.words import Words


class PageHandler(BaseHandler):
    """A handler whose answers, errors included, are pages."""

    @property
    def words(self) -> Words:
        """The words of the language that the browser asks for."""
        return self.web.languages.best(self.request.headers.get("Accept-Language", ""))

    def render_page(self, template: str, **variables: Any) -> None:
        """Finish with a template, in the visitor's language."""
        self.set_page_headers()
        self.add_header("Vary", "Accept-Language")
        page = render(
            self.words,
            template,
            prefix=self.web.service_prefix,
            hub_home=self.web.hub_base_url + "hub/home",
            banner=self.web.banner,
            assets=self.assets,
            visitor=self.visitor,
            version=self.web.version,
            has_clusters=self.parts.clusters is not None,
            **{**self.web.template_variables, **variables},
        )
        self.finish(page)

    @property
    def assets(self) -> Assets:
        """The files of the front end."""
        assets: Assets = self.application.settings["assets"]
        return assets

    def render_error(self, error: LauncherError) -> None:
        """A page, or JSON for those who accept nothing else."""
        accept = self.request.headers.get("Accept", "")
        if "application/json" in accept and "text/html" not in accept:
            super().render_error(error)
        else:
            self.render_page("error.html", error=error, id=self.request_id)

    def xsrf_for_forms(self) -> str:
        """The token that every form of this page sends back."""
        token = self.xsrf_token
        return token.decode() if isinstance(token, bytes) else str(token)

    def display_name(self, provider: str) -> str:
        """What people call a provider: ``GitHub`` for ``gh``."""
        names = {str(entry["id"]): str(entry["displayName"]) for entry in self.parts.sources.describe()}
        return names.get(provider, provider)

    def title(self, spec: Spec) -> str:
        """BinderHub's page title for a spec."""
        return f"{self.display_name(spec.provider)}: {spec.raw}"


class NavigatedHandler(PageHandler):
    """A page for people only. Code of a session runs in the browser on our own origin: it may not read or say yes."""

    async def prepare(self) -> None:
        """Refuse what a script asked for."""
        if self.request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate":
            raise CrossSiteRefused("This page does not answer to scripts.", hint="Open it as a page of its own.")
        await super().prepare()


class NotFoundHandler(PageHandler):
    """Every address that is no route: JSON below ``api/``, a page elsewhere."""

    identifies = False

    async def prepare(self) -> None:
        """Say so, whatever the method."""
        raise NotFound("There is nothing at this address.", hint="Check the link, or start from the home page.")

    def render_error(self, error: LauncherError) -> None:
        """The API's shape for API addresses."""
        if self.request.path.startswith(self.web.service_prefix + "api/"):
            BaseHandler.render_error(self, error)
        else:
            super().render_error(error)


class AboutHandler(PageHandler):
    """``/about``: what runs here."""

    identifies = False

    async def get(self) -> None:
        """Name and version."""
        self.render_page("about.html")


class ErrorCodesHandler(PageHandler):
    """``/errors``: where the code of a failure leads."""

    identifies = False

    async def get(self) -> None:
        """Every code that people can meet, and what it means."""
        self.render_page("errors.html", codes=[error.code for error in public_errors(LauncherError)])


def public_errors(root: type[LauncherError]) -> Iterator[type[LauncherError]]:
    """The errors that people can meet, from the tree's root down."""
    if issubclass(root, OperatorError):
        return  # said to operators, where they are
    yield root
    for error in root.__subclasses__():
        yield from public_errors(error)
