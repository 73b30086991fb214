"""JupyterHub's spawn form as the launcher's own: people meet one form everywhere, and one place decides what may be.

The Hub's process shows what the service made, and hands over what was chosen: it never decides what a choice means.
Choices are flat texts in ``user_options``, whether they come from the form, from the Hub's API, or from what the Hub
remembers of the last start; the service looks at them again at every start.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from jupyterhub.scopes import get_scopes_for
from jupyterhub.utils import maybe_future
from tornado import web
from traitlets import HasTraits, default

from launcher.config import Settings
from launcher.errors import BadRequest, HubUnavailable, LauncherError, SessionStartFailed
from launcher.hub.ask import Asker, Refused
from launcher.hub.progress import StartProgress
from launcher.hub.spawner import as_http_error, http_error, person_of
from launcher.models import HomeKind, LaunchPlan
from launcher.sealed import SealedTalk
from launcher.sessions.names import is_launch_server
from launcher.sessions.session_choices import FIELDS, IMAGE, SessionChoices

_FORM_SECONDS = 8
_CHECK_SECONDS = 20
_NEWS_SECONDS = 30
_PATIENCE_SECONDS = 20
"""How long a start waits for a service that is being restarted."""
_LONGEST_SHOWN, _LONGEST_READ = 2000, 2100
"""Characters of what was typed that a form shows again, and that are looked at: more than any choice may have."""
# English, as all the Hub's own pages are: the other languages are the service's, which is not there.
_SILENT = """<div class="alert alert-warning" role="status">
<p>The launcher does not answer just now, so there is nothing to choose from.</p>
<p class="mb-0">Start gives you the standard session; or load this page again in a moment.</p>
</div>"""
_FROM_A_LINK = "A link cannot choose what your session runs: choose here. Nothing was started."


@dataclass
class _Attempt:
    """A form that was sent, in the request that shows it again when something is wrong with it."""

    options: Mapping[str, str]
    problem: Mapping[str, Any] | None = None


_attempt: ContextVar[_Attempt | None] = ContextVar("launcher_spawn_form", default=None)


class FormFirst(Exception):
    """JupyterHub shows the form, with this sentence, instead of starting what a link asks for."""

    jupyterhub_message = _FROM_A_LINK


class SessionFormMixin(HasTraits):
    """In front of a runtime's mixin: regular sessions start from the launcher's form."""

    # What the classes behind bring.
    name: str
    user: Any
    handler: Any
    log: Any
    user_options: dict[str, Any]
    start_timeout: Any
    launch_settings: Settings
    options_form: Any
    _progress: StartProgress | None
    _service_path: Any
    _service_url: Any
    _base_url: str

    _languages = ""
    _checked: tuple[dict[str, str], str] | None = None
    _usual_start_timeout: int | None = None

    @default("options_form")
    def _default_options_form(self) -> Any:
        return self.session_form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self.choices_of_form

    async def session_form(self, _: Any) -> str:
        """The form as HTML, with what was typed when it is shown again; "" for sessions of repositories."""
        if is_launch_server(self.name):
            return ""
        if self.handler is not None:
            self._languages = self.handler.request.headers.get("Accept-Language", "")[:200]
        attempt = _attempt.get()
        body: dict[str, Any] = {"languages": self._languages}
        if attempt is not None:
            typed = {name: text[:_LONGEST_SHOWN] for name, text in attempt.options.items()}
            body |= {"options": typed, "problem": attempt.problem}
        try:
            return str((await self._asker().ask("form", body, seconds=_FORM_SECONDS))["html"])
        except (HubUnavailable, Refused) as error:
            self.log.warning("The launcher's spawn form for %s is not to be had: %s", self.user.name, error)
            return _SILENT

    def choices_of_form(self, form: Mapping[str, list[str]]) -> Awaitable[dict[str, str]]:
        """What of a form that was sent becomes ``user_options``. Raises HTTPError with words for a bad choice."""
        attempt = _Attempt({name: form[name][0][:_LONGEST_READ] for name in FIELDS if form.get(name)})
        # Set before the first await: JupyterHub shows the form again in the same request, not in the same task.
        _attempt.set(attempt)
        return self._check(attempt)

    async def _check(self, attempt: _Attempt) -> dict[str, str]:
        try:
            options = flat_options(attempt.options)
            if options:
                self._checked = (options, secrets.token_hex(16))
                await self._asker().ask("check", self._start_body(*self._checked), seconds=_CHECK_SECONDS)
        except Refused as error:
            attempt.problem = error.told
            raise _as_http_error(error, in_form=True) from error
        except LauncherError as error:
            attempt.problem = error.to_dict()
            raise as_http_error(error) from error
        return options

    def options_from_query(self, query_data: dict[str, list[str]]) -> dict[str, Any]:
        """Anybody can write a link to the Hub's spawn page, which would start at once: it shows the form instead.

        Nothing of it is filled in either: what runs beside a person's files is for them to choose. Where the operator
        has another form, links go on to mean what they mean there, without our choices.
        """
        if self.options_form == self.session_form:
            raise FormFirst
        others = {name: values for name, values in query_data.items() if name not in FIELDS}
        options: dict[str, Any] = super().options_from_query(others)  # type: ignore[misc]
        return options

    async def regular_plan(self) -> LaunchPlan | None:
        """What a regular session starts, by its ``user_options``; None for the standard one.

        An environment that is not there is built meanwhile. Raises LauncherError; HTTPError with the service's words.
        """
        options = flat_options(self.user_options)
        start = secrets.token_hex(16)
        if self._checked is not None and self._checked[0] == options:
            start = self._checked[1]  # the form has it going already
        self._checked = None
        if not options:  # needs nobody's judgement: a hub goes on while its launcher is away
            return None
        try:
            async with asyncio.timeout(build_patience(self.launch_settings)):
                return await self._follow(self._start_body(options, start))
        except Refused as error:
            raise _as_http_error(error) from error
        except TimeoutError as error:
            raise SessionStartFailed(
                "The environment was not ready in time.", hint="Its build goes on: start again in a while."
            ) from error

    async def _follow(self, body: dict[str, Any]) -> LaunchPlan:
        """The plan, with all that is said before it passed on."""
        after = 0
        while True:
            answer = await self._asker().ask(
                "plan", {**body, "after": after}, seconds=_NEWS_SECONDS, patience=_PATIENCE_SECONDS
            )
            for line in answer["said"]:
                self._tell(line)
            after = answer["after"]
            if answer["plan"] is not None:
                plan = LaunchPlan.from_json(answer["plan"])
                if (plan.user, plan.server_name) != (self.user.name, self.name):
                    raise SessionStartFailed("The launcher answered for another session.", hint="Try again.")
                self.plan_has_dask = plan.home is HomeKind.PERSONAL  # if the person's rights have it
                return plan

    def _tell(self, line: Mapping[str, Any]) -> None:
        if self._progress is None:
            return
        text, href = str(line["text"]), line.get("href")
        link = f' <a href="{escape(href)}" target="_blank" rel="noopener">{escape(line["label"])}</a>' if href else ""
        self._progress.tell(text, escape(text) + link if link else "")

    def _start_body(self, options: dict[str, str], start: str) -> dict[str, Any]:
        return {"options": options, "start": start, "languages": self._languages}

    def _asker(self) -> Asker:
        person = replace(person_of(self.user), scopes=self._scopes_of_dask())
        talk = SealedTalk(self.launch_settings.ticket_secret)
        return Asker(self._service_url(), talk, person, self.name)

    def _scopes_of_dask(self) -> frozenset[str]:
        """The rights of the person that the service's answers depend on."""
        dask = self.launch_settings.dask
        if dask is None:
            return frozenset()
        return frozenset(get_scopes_for(self.user.orm_user)) & {"access:services", dask.scope}

    async def _run_apply_user_options(self, user_options: dict[str, Any]) -> None:
        """Keep our options out of the operator's own handling of options, which would warn about them."""
        others = {name: value for name, value in user_options.items() if name not in FIELDS}
        await super()._run_apply_user_options(others)  # type: ignore[misc]

    async def run_pre_spawn_hook(self) -> None:
        """The operator's hook; then, as the Hub reads the limit right before it starts, more time where we build."""
        await maybe_future(super().run_pre_spawn_hook())  # type: ignore[misc]
        self._usual_start_timeout = self._usual_start_timeout or self.start_timeout
        if self.user_options.keys() & set(FIELDS):
            self.start_timeout = self._usual_start_timeout + build_patience(self.launch_settings)

    async def start(self) -> Any:
        """As the runtime does, whose own patience is the usual one."""
        if self._usual_start_timeout is not None:
            self.start_timeout, self._usual_start_timeout = self._usual_start_timeout, None
        return await super().start()  # type: ignore[misc]


def flat_options(options: Mapping[str, Any]) -> dict[str, str]:
    """The choices in what the Hub has of a form, a request or an earlier start; nothing else of it.

    Raises BadRequest for choices that are no texts. A lone ``image`` chooses that image.
    """
    found = {name: options[name] for name in FIELDS if name in options}
    for name, value in found.items():
        if not isinstance(value, str):
            raise BadRequest(f"The option {name} must be a text.")
    if found.get(IMAGE) and "environment" not in found:
        found["environment"] = IMAGE
    return SessionChoices.from_fields(lambda name: found.get(name, "")).to_fields()


def build_patience(settings: Settings) -> int:
    """Seconds that a start may take longer than the Hub allows, because something is fetched and built before it."""
    return settings.source_timeout_seconds + 2 * settings.build_timeout_seconds


def _as_http_error(error: Refused, *, in_form: bool = False) -> web.HTTPError:
    told, html = error.told, ""
    words = f"{told['message']} {told['hint']}".strip()
    if in_form and "summary" in told:
        words = told["summary"]
    elif link := told.get("link"):
        html = f'{escape(words)} <a href="{escape(link["href"])}">{escape(link["label"])}</a>'
    return http_error(told["status"], told["code"], words, html)
