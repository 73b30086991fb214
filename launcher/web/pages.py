"""Server-rendered pages: templates, errors as pages, and what stands at addresses that are no route."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, PackageLoader, select_autoescape
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from launcher.errors import CrossSiteRefused, LauncherError, NotFound, OperatorError
from launcher.models import Spec
from launcher.web.assets import Assets
from launcher.web.base import BaseHandler
from launcher.web.words import words_of

_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain_text(text: str) -> str:
    """A build's words without terminal control sequences."""
    return _TERMINAL.sub("", text)


def breakable(text: str) -> Markup:
    """A name that may break after its slashes on a narrow screen."""
    return Markup("/<wbr>").join(text.split("/"))


def readable_spec(text: str) -> str:
    """A spec for people: without percent-encoding, and without characters that would not show."""
    return "".join(character for character in unquote(text) if character.isprintable())


def t(key: str, **values: Any) -> Markup:
    """A word of the page's language for a template; what is filled in is text unless it is markup already."""
    words = words_of()
    safe = {name: value if isinstance(value, int | float) else escape(value) for name, value in values.items()}
    return Markup(words.filled(escape(words.entry(key, values.get("count", 0))), safe))  # noqa: S704 - all of it is escaped


def page_data(name: str, value: Any) -> Markup:
    """Data for the page's scripts, in an element that no browser runs."""
    element = Markup('<script type="application/json" id="data-{}">{}</script>')
    return element.format(name, htmlsafe_json_dumps(value))


_templates = Environment(
    loader=PackageLoader("launcher.web"),
    autoescape=select_autoescape(default=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals |= {
    "t": t,
    "page_data": page_data,
    "words_for": lambda *groups: words_of().groups(groups),
    "language": words_of().language,
    "direction": words_of().direction,
}
_templates.filters["plain_text"] = plain_text
_templates.filters["breakable"] = breakable
_templates.filters["readable_spec"] = readable_spec


class PageHandler(BaseHandler):
    """A handler whose answers, errors included, are pages."""

    def render_page(self, template: str, **variables: Any) -> None:
        """Finish with a template."""
        self.set_page_headers()
        page = _templates.get_template(template).render(
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
        self.render_page(
            "errors.html", codes=[(error.code, _meaning(error)) for error in _public_errors(LauncherError)]
        )


def _public_errors(root: type[LauncherError]) -> Iterator[type[LauncherError]]:
    if issubclass(root, OperatorError):
        return  # said to operators, where they are
    yield root
    for error in root.__subclasses__():
        yield from _public_errors(error)


def _meaning(error: type[LauncherError]) -> str:
    return " ".join((error.__doc__ or "").split())
