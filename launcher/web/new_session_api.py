"""A new regular session, for programs: what can be chosen, the start, and how it goes on."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from launcher.errors import BadRequest
from launcher.sessions.hub import Server
from launcher.sessions.new_session import NewSessionRequest
from launcher.sessions.session_choices import FIELDS, LISTED, RECENT, SessionChoices
from launcher.sessions.session_offer import Offer
from launcher.web.api import FIRST_EVENT_SECONDS, TokenHandler, size_json
from launcher.web.launch_stream import LaunchStreamHandler
from launcher.web.new_session import choices_query, subject_of
from launcher.web.told import first_event, listen


class NewSessionHandler(TokenHandler):
    """``/api/v1/new-session``."""

    async def get(self) -> None:
        """What the person may choose for their regular session, and whether it runs."""
        visitor = self.require_token()
        running = await self.parts.new_session.running(visitor.person, visitor.hub_token)
        self.finish({"new_session": offer_json(self.parts.new_session.offer(visitor.person), running)})

    async def post(self) -> None:
        """Start the regular session and answer as soon as it is under way: 202, or the error of what was refused."""
        visitor = self.require_token()
        choices = _choices(self.read_json())
        self.application.settings["launch_rate"].take(visitor.person.name)
        start = self.parts.new_session.start(NewSessionRequest(visitor.person, visitor.hub_token, choices))
        told = await listen(start, seconds=FIRST_EVENT_SECONDS, enough=first_event)
        if told.failed is not None:
            return self.refuse(told.failed)
        self.set_status(HTTPStatus.ACCEPTED)
        events = f"{self.public_origin}{self.web.service_prefix}api/v1/new-session/events{choices_query(choices)}"
        session = {"server_name": "", "phase": told.phase, "build_id": told.build_id, "events_url": events}
        self.finish({"session": session})
        return None


def offer_json(offer: Offer, running: Server | None) -> dict[str, Any]:
    """An offer as JSON values; each ``environment`` is what the field of that name takes."""
    listed = [
        {"environment": f"{LISTED}:{one.name}", "title": one.title, "description": one.description}
        for one in offer.listed
    ]
    recent = [
        {"environment": f"{RECENT}:{one.key}", "title": one.name, "used": one.used.isoformat(timespec="seconds")}
        for one in offer.recent
    ]
    state = {"url": running.url, "state": running.pending or "ready"} if running is not None else None
    return {
        "available": offer.available,
        "sizes": [size_json(size) for size in offer.sizes],
        "environments": listed,
        "recent": recent,
        "images": offer.images,
        "running": state,
    }


def _choices(body: dict[str, Any]) -> SessionChoices:
    """What a program chose. Raises BadRequest."""
    unknown = sorted(set(body) - set(FIELDS))
    if unknown:
        raise BadRequest(f"There is no field `{unknown[0]}`.", hint=f"There are {', '.join(FIELDS)}.")
    texts = {name: value for name, value in body.items() if name != "trust"}
    if not isinstance(body.get("trust", False), bool) or any(not isinstance(text, str) for text in texts.values()):
        raise BadRequest("Every field is a text, and `trust` is true or false.")
    texts["trust"] = "yes" if body.get("trust") else ""
    return SessionChoices.from_fields(lambda name: texts.get(name, ""))


class NewSessionEventsHandler(LaunchStreamHandler):
    """``/api/v1/new-session/events``."""

    async def get(self) -> None:
        """The start that was asked for with the same fields, from its beginning or from ``Last-Event-ID``."""
        visitor = self.stream_visitor()
        choices = SessionChoices.from_fields(lambda name: "" if name == "trust" else self.first_argument(name) or "")
        if not self.confirmed(visitor, subject_of(choices)):
            raise BadRequest("This start was not confirmed.", hint="Send the form of a new session.")
        request = NewSessionRequest(visitor.person, visitor.hub_token, choices, follows=True)
        await self.tell_start(visitor, self.parts.new_session.start(request, after=self.after))
