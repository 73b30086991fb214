"""Links and badges for others: the page with the form, and the same for programs. Nothing that is typed is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tornado.web import authenticated

from launcher.errors import BadRequest, LauncherError, RecipeError
from launcher.publish.links import Interface, LinkMaker, Links, Wanted
from launcher.sources.base import spec_at
from launcher.web.api import ApiHandler
from launcher.web.base import BaseHandler
from launcher.web.open_path import parse_open_path
from launcher.web.pages import NavigatedHandler

_CHECK_SECONDS = 8.0  # a repository that takes longer to look at is perhaps just big
_LONGEST = 2048
_FIELDS = ("repository", "ref", "path", "interface", "environment", "environment_ref")


def read_wanted(field: Callable[[str], str]) -> Wanted:
    """What was typed. Raises BadRequest for what no field of ours can hold."""
    values = {name: field(name).strip() for name in _FIELDS}
    if any(len(value) > _LONGEST for value in values.values()):
        raise BadRequest("One of the fields is too long.")
    try:
        interface = Interface(values.pop("interface") or Interface.LAB)
    except ValueError as error:
        known = ", ".join(Interface)
        raise BadRequest("There is no such interface.", hint=f"Use one of {known}.") from error
    return Wanted(interface=interface, **values)


async def make_links(handler: BaseHandler, wanted: Wanted) -> Links:
    """The links to this launcher, as the asking browser reaches it. Raises what says why they cannot work."""
    maker = LinkMaker(
        handler.parts.sources,
        service_url=handler.public_origin + handler.web.service_prefix,
        hub_url=f"{handler.public_origin}{handler.web.hub_base_url}hub/",
    )
    links = await maker.make(wanted)
    parse_open_path(links.query.get)  # a link that its own launch page refuses is none
    return links


async def check_links(handler: BaseHandler, links: Links) -> bool:
    """Whether there was time to see that a launch would work. Raises what says why it would not."""
    visitor = handler.require_visitor()
    spec = spec_at(handler.parts.sources, links.spec)
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            preview = await handler.parts.launches.preview(visitor.person, visitor.hub_token, spec)
    except TimeoutError:
        return False
    if preview.problem is not None:
        raise RecipeError(preview.problem)
    return True


class LinksPageHandler(NavigatedHandler):
    """``/links``."""

    @authenticated
    async def get(self) -> None:
        """The form."""
        self._show(dict.fromkeys(_FIELDS, ""))

    async def post(self) -> None:
        """The links of what was typed, or why there can be none."""
        self.require_visitor()
        typed = {name: self.get_body_argument(name, "") for name in _FIELDS}
        try:
            links = await make_links(self, read_wanted(typed.__getitem__))
            checked = await check_links(self, links)
        except LauncherError as error:
            self.set_status(error.http_status)
            return self._show(typed, problem=error)
        return self._show(typed, links=links, checked=checked)

    def _show(
        self,
        typed: Mapping[str, str],
        *,
        links: Links | None = None,
        checked: bool = True,
        problem: LauncherError | None = None,
    ) -> None:
        self.render_page(
            "links.html",
            typed=typed,
            links=links,
            checked=checked,
            problem=problem,
            interfaces=[interface.value for interface in Interface],
            badge=f"{self.web.service_prefix}badge_logo.svg",
            xsrf_token=self.xsrf_for_forms(),
        )


class LinksHandler(ApiHandler):
    """``/api/v1/links``."""

    async def post(self) -> None:
        """Links and badges of a repository, however it is named; with ``check``, only if a launch would work."""
        self.require_visitor()
        body = self.read_json()
        if any(not isinstance(body.get(name, ""), str) for name in _FIELDS):
            raise BadRequest("Every field of a link is a text.")
        links = await make_links(self, read_wanted(lambda name: body.get(name, "")))
        checked = await check_links(self, links) if body.get("check") is True else False
        self.finish({"links": links.to_json(), "checked": checked})
