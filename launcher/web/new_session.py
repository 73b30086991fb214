"""``/new``: a new regular session. The form, and the page that shows how it starts.

A GET of the form starts nothing: a link may fill it in, never send it, and what somebody trusts is never filled in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from tornado.web import authenticated

from launcher.errors import BadRequest, LauncherError
from launcher.sessions.base import LaunchEvent
from launcher.sessions.new_session import NewSessionRequest
from launcher.sessions.session_choices import SessionChoices
from launcher.web.progress import ProgressHandler
from launcher.web.told import Told, first_event, last_event, listen

_REFRESH_SECONDS = 5


def choices_query(choices: SessionChoices, **more: str) -> str:
    """A query string that keeps what was chosen."""
    fields = {**dict(sorted(choices.to_fields().items())), **more}
    return "?" + urlencode(fields, quote_via=quote) if fields else ""


def subject_of(choices: SessionChoices) -> str:
    """What the build token of a new session is bound to. No launch has such a spec: those hold no question mark."""
    return "new" + (choices_query(choices) or "?")


class _NewSessionHandler(ProgressHandler):
    """What both pages need."""

    def choices_of_address(self) -> SessionChoices:
        """What the query string chooses. Raises BadRequest."""
        return replace(SessionChoices.from_fields(lambda name: self.first_argument(name) or ""), trust=False)

    async def show_form(self, choices: SessionChoices, problem: Mapping[str, Any] | None = None) -> None:
        """The form with what was typed, and what is wrong with it."""
        visitor = self.require_visitor()
        running = await self.parts.new_session.running(visitor.person, visitor.hub_token)
        self.render_page(
            "new_session.html",
            offer=self.parts.new_session.offer(visitor.person),
            running=running,
            choices=choices,
            problem=problem,
            refresh_seconds=_REFRESH_SECONDS if running is not None and running.pending else None,
            xsrf_token=self.xsrf_for_forms(),
        )

    async def show_refusal(self, choices: SessionChoices, event: LaunchEvent) -> None:
        """The form with why it was refused, at the field that it is about."""
        self.set_status(int(event.data.get("status_code", HTTPStatus.BAD_REQUEST)))
        await self.show_form(choices, {"field": "", **event.data, "message": event.message.strip()})

    def request_of(self, choices: SessionChoices, *, follows: bool = False) -> NewSessionRequest:
        """The visitor's wish."""
        visitor = self.require_visitor()
        return NewSessionRequest(visitor.person, visitor.hub_token, choices, follows=follows)


class NewSessionPageHandler(_NewSessionHandler):
    """``/new``."""

    @authenticated
    async def get(self) -> None:
        """The form, perhaps filled in by the address; with the session that runs already."""
        try:
            choices = self.choices_of_address()
        except BadRequest:
            choices = SessionChoices()
        await self.show_form(choices)

    async def post(self) -> None:
        """Start, and lead to the page that shows it; or say at its field what cannot be."""
        visitor = self.require_visitor()
        self.application.settings["launch_rate"].take(visitor.person.name)
        try:
            choices = SessionChoices.from_fields(lambda name: self.get_body_argument(name, ""))
        except LauncherError as error:
            self.set_status(error.http_status)
            return await self.show_form(self._all_but(error.field), error.to_dict())
        start = self.parts.new_session.start(self.request_of(choices))
        told = await listen(start, seconds=self.web.noscript_wait_seconds, enough=first_event)
        if told.failed is not None:
            return await self.show_refusal(choices, told.failed)
        token = self.issue_token(subject_of(choices), confirmed=True)
        target = f"{self.web.service_prefix}new/progress{choices_query(choices, build_token=token)}"
        return self.redirect(target, status=HTTPStatus.SEE_OTHER)

    def _all_but(self, refused: str) -> SessionChoices:
        """What was typed into the other fields, if all of that is fine."""
        try:
            return SessionChoices.from_fields(lambda name: "" if name == refused else self.get_body_argument(name, ""))
        except BadRequest:
            return SessionChoices()


class NewSessionProgressHandler(_NewSessionHandler):
    """``/new/progress``: the page that follows the form; its address holds a token of the person's own click."""

    @authenticated
    async def get(self) -> None:
        """How it goes on; without such a token the form."""
        choices = self.choices_of_address()
        if not self.is_confirmed(subject_of(choices)):
            return self.redirect(f"{self.web.service_prefix}new{choices_query(choices)}")
        if self.first_argument("wait") is not None:
            return await self._show_without_script(choices)
        return self._show(choices)

    async def _show_without_script(self, choices: SessionChoices) -> None:
        start = self.parts.new_session.start(self.request_of(choices, follows=True))
        told = await listen(start, seconds=self.web.noscript_wait_seconds, enough=last_event)
        if told.failed is not None:
            return await self.show_refusal(choices, told.failed)
        if told.ready is not None:
            return self.redirect(self.session_path(told.ready), status=HTTPStatus.SEE_OTHER)
        return self._show(choices, told)

    def _show(self, choices: SessionChoices, told: Told | None = None) -> None:
        self.keep_address_secret()
        subject, query = subject_of(choices), choices_query(choices)
        token = self.issue_token(subject, confirmed=True)
        page = self.page_of_progress(
            self.words.t("new.name"),
            subject=subject,
            token=token,
            events=f"api/v1/new-session/events{query}",
            again=f"{self.web.service_prefix}new{query}",
        )
        refresh = f"{self.web.service_prefix}new/progress{choices_query(choices, build_token=token, wait='1')}"
        self.render_page("new_session_progress.html", page=page, told=told, refresh=refresh)
