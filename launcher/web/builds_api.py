"""Builds for programs: which there were, one of them, its end."""

from __future__ import annotations

from http import HTTPStatus

from launcher.errors import BadRequest
from launcher.models import BuildId, BuildStatus
from launcher.sessions.history import MOST, OPEN, BuildPage
from launcher.web.api import ApiHandler
from launcher.web.base import BaseHandler

_LARGEST = 2**31 - 1
_LONGEST_TEXT = 200


def asked_page(handler: BaseHandler, *, limit: int = MOST) -> BuildPage:
    """The page of builds that the query asks for: ``status``, ``text``, ``repository``, ``own``, ``before``, ``limit``.

    Raises BadRequest for a value that means nothing.
    """
    words = [handler.first_argument(name) or "" for name in ("text", "repository")]
    return handler.parts.history.page(
        handler.require_visitor().person,
        statuses=asked_statuses(handler.first_argument("status") or ""),
        text=" ".join(word.strip() for word in words if word.strip())[:_LONGEST_TEXT],
        before=asked_number(handler, "before"),
        limit=asked_number(handler, "limit") or limit,
        own=handler.first_argument("own") in {"1", "true", "yes"},
    )


def asked_statuses(text: str) -> tuple[BuildStatus, ...]:
    """``open``, or statuses with commas between them; "" is all. Raises BadRequest."""
    if text == "open":
        return OPEN
    try:
        return tuple(BuildStatus(word.strip()) for word in text.split(",") if word.strip())
    except ValueError as error:
        known = ", ".join(status.value for status in BuildStatus)
        raise BadRequest("No build has such a status.", hint=f"Use open, or some of {known}.") from error


def asked_number(handler: BaseHandler, name: str) -> int | None:
    """A whole number from 1 in the query, None when it is missing. Raises BadRequest."""
    text = handler.first_argument(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) <= _LARGEST and len(text) <= len(str(_LARGEST))):
        raise BadRequest(f"`{name}` must be a whole number from 1.")
    return int(text)


class BuildsHandler(ApiHandler):
    """``GET /api/v1/builds``."""

    async def get(self) -> None:
        """Builds this person asked for, newest first, with filters and page by page."""
        page = asked_page(self)
        self.finish({"builds": [build.to_json() for build in page.builds], "before": page.before})


class OneBuildHandler(ApiHandler):
    """``/api/v1/builds/<id>``."""

    async def get(self, build_id: str) -> None:
        """One build that this person may see, or was shown with ``?key=``."""
        person, shared = self.require_visitor().person, self.was_shown(build_id)
        found = self.parts.history.one(person, BuildId(build_id), shared=shared)
        self.finish({"build": found.to_json()})

    async def delete(self, build_id: str) -> None:
        """Cancel it."""
        await self.parts.launches.cancel_build(self.require_visitor().person, BuildId(build_id))
        self.set_status(HTTPStatus.NO_CONTENT)


class ShareBuildHandler(ApiHandler):
    """``/api/v1/builds/<id>/share``."""

    async def get(self, build_id: str) -> None:
        """The key that shows the build to others, and the address of its page with it."""
        self.parts.history.one(self.require_visitor().person, BuildId(build_id))
        key = self.share_keys.key(build_id)
        page = f"{self.public_origin}{self.web.service_prefix}builds/{build_id}?key={key}"
        self.finish({"share": {"key": key, "url": page}})
