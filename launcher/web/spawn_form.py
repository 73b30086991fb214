"""What the service tells the Hub's process about its spawn form: the form, whether choices are good, and their plan.

Nobody is logged in here and no cookie is looked at: who asks is the Hub, by the seal of its questions, and for whom it
asks is in them. See `launcher.sealed`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import structlog
from tornado.web import RequestHandler

from launcher.errors import BuildError, ConfirmationRequired, LauncherError
from launcher.models import BuildId, LaunchPlan
from launcher.sealed import ASK_PATH, Once, Question, SealedTalk
from launcher.sessions.new_session import NewSession
from launcher.sessions.session_choices import SessionChoices
from launcher.sessions.spawn_starts import Line, News, SpawnStarts
from launcher.sessions.tasks import Say
from launcher.web.base import public_error
from launcher.web.rendering import plain_text, render
from launcher.web.words import Languages, Words

log = structlog.get_logger("launcher.web")
_CHECK_SECONDS = 15
_NEWS_SECONDS = 15
_LONGEST_LINE = 200


@dataclass(frozen=True)
class SpawnFormParts:
    """What the answers are made of. address: the service's prefix."""

    talk: SealedTalk
    once: Once
    session: NewSession
    starts: SpawnStarts
    languages: Languages
    address: str


class SealedHandler(RequestHandler):
    """``POST api/v1/spawn-form/<purpose>``: one sealed question, one sealed answer."""

    purpose: ClassVar[str]

    def initialize(self, parts: SpawnFormParts) -> None:
        """Take the parts it works with."""
        self.parts = parts

    def check_xsrf_cookie(self) -> None:
        """No cookie is looked at: the seal is the credential."""

    async def post(self) -> None:
        """The answer; 403 without a word for what the Hub did not ask, or asked before."""
        self.set_header("Cache-Control", "no-store")
        question = self.parts.talk.read(self.request.body, self.purpose)
        self.parts.once.take(question)
        try:
            body = await self.answer(question)
        except LauncherError as error:
            body = {"error": self.told(question, error)}
        except Exception:  # the Hub shows words, whatever happened
            number = secrets.token_hex(6)
            log.exception("spawn_form_failed", id=number, purpose=self.purpose)
            hint = f"Tell the people who run this hub, with the number {number}."
            body = {"error": self.told(question, LauncherError("Something went wrong inside the launcher.", hint=hint))}
        self.set_header("Content-Type", "application/octet-stream")
        self.finish(self.parts.talk.answer(question, body))

    async def answer(self, question: Question) -> dict[str, Any]:
        """The answer's body. Raises LauncherError."""
        raise NotImplementedError

    def words(self, question: Question) -> Words:
        """The language of the person's browser."""
        return self.parts.languages.best(str(question.body.get("languages", "")))

    def told(self, question: Question, error: LauncherError) -> dict[str, Any]:
        """An error for the Hub's pages."""
        del question
        return {**error.to_dict(), "status": error.http_status}

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado's hook: the shape of all errors."""
        error = public_error(status_code, kwargs.get("exc_info", (None, None, None))[1])
        self.set_status(error.http_status)
        self.finish({"error": error.to_dict()})

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """A question that is not the Hub's is nothing to be traced."""
        if not isinstance(value, LauncherError):
            super().log_exception(typ, value, tb)


class FormHandler(SealedHandler):
    """The form as HTML for the Hub's page; ``options`` and ``problem`` of one that was sent and is not good."""

    purpose = "form"

    async def answer(self, question: Question) -> dict[str, Any]:
        """``html``."""
        options: Mapping[str, str] = question.body.get("options", {})
        offer = self.parts.session.offer(question.person)
        html = render(
            self.words(question),
            "hub_form.html",
            offer=offer,
            choices=choices_of(options) if options else SessionChoices(),
            problem=question.body.get("problem"),
            prefix=self.parts.address,
        )
        return {"html": html}


class CheckHandler(SealedHandler):
    """Whether the ``options`` are good, as far as that can be said soon; the start goes on under its name."""

    purpose = "check"
    _build_id: BuildId | None = None

    async def answer(self, question: Question) -> dict[str, Any]:
        """Nothing, or the error."""
        await self.news(question, after=0, seconds=_CHECK_SECONDS)
        return {}

    async def news(self, question: Question, *, after: int, seconds: float) -> News:
        """News of the start that the question is about. Raises what its plan could not be made for."""
        choices, person = choices_of(question.body["options"]), question.person

        async def make_plan(say: Say) -> LaunchPlan:
            return await self.parts.session.plan(person, choices, say)

        start = self.parts.starts.of(person.name, self.start_name(question), make_plan)
        try:
            return await start.news(after, seconds=seconds)
        except Exception:
            self._build_id = start.build_id
            self.parts.starts.forget(person.name, self.start_name(question))
            raise

    def start_name(self, question: Question) -> str:
        """What the start is called: of this server only."""
        return f"{question.server_name}/{question.body['start']}"

    def told(self, question: Question, error: LauncherError) -> dict[str, Any]:
        """With the way to the build that it is about, or to where a repository can be trusted.

        ``summary``: what stands above a form that shows the error at its field.
        """
        told = super().told(question, error)
        if error.field:
            told["summary"] = self.words(question).t("hub_form.marked")
        if self._build_id is not None and isinstance(error, BuildError):
            told["link"] = self.link_to_build(self._build_id, self.words(question))
        if isinstance(error, ConfirmationRequired):  # only pages of ours know that the person themselves says so
            told["link"] = {"href": f"{self.parts.address}new", "label": self.words(question).t("hub_form.trust")}
        return told

    def link_to_build(self, build_id: BuildId, words: Words) -> dict[str, str]:
        """``href`` and ``label``."""
        return {"href": f"{self.parts.address}builds/{build_id}", "label": words.t("hub_form.build")}


class PlanHandler(CheckHandler):
    """What is said on the way to the plan of the ``options`` from ``after`` on, and then the plan."""

    purpose = "plan"

    async def answer(self, question: Question) -> dict[str, Any]:
        """``said``, the next ``after``, and ``plan``, None as long as there is none."""
        news = await self.news(question, after=int(question.body["after"]), seconds=_NEWS_SECONDS)
        if news.plan is not None:
            self.parts.starts.forget(question.person.name, self.start_name(question))
        words = self.words(question)
        return {
            "said": [self._said(line, words) for line in news.lines],
            "after": news.after,
            "plan": replace(news.plan, server_name=question.server_name).to_json() if news.plan is not None else None,
        }

    def _said(self, line: Line, words: Words) -> dict[str, Any]:
        """A line for the Hub's page of a start that goes on, with the way to the build it is about."""
        text = {"text": plain_text(line.text)[:_LONGEST_LINE]}
        return text if line.build_id is None or line.of_log else {**text, **self.link_to_build(line.build_id, words)}


def choices_of(options: Mapping[str, str]) -> SessionChoices:
    """The choices in flat options; what the person says about trust is for our own pages, not for the Hub's."""
    return replace(SessionChoices.from_fields(lambda name: options.get(name, "")), trust=False)


def sealed_routes(parts: SpawnFormParts) -> list[tuple[Any, ...]]:
    """Tornado's route tuples."""
    handlers = (FormHandler, CheckHandler, PlanHandler)
    return [(parts.address + ASK_PATH + handler.purpose, handler, {"parts": parts}) for handler in handlers]
