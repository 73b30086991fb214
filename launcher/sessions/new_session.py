"""A new regular session: what a person may choose, the plan their choices become, and the start.

The session is the person's regular server, the one without a name, in their own home.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from launcher.errors import SessionRunning
from launcher.models import HomeKind, LaunchPlan, Person
from launcher.sessions.base import LaunchEvent, LogBatch
from launcher.sessions.flights import Flights
from launcher.sessions.hub import HubClient, Server
from launcher.sessions.parts import LaunchParts
from launcher.sessions.session_choices import SessionChoices
from launcher.sessions.session_offer import Offer, RegularSessions, make_offer
from launcher.sessions.session_plan import REGULAR, Planner, check_listed
from launcher.sessions.steps import follow_start, start_server
from launcher.sessions.tasks import Say, Turns


@dataclass(frozen=True)
class NewSessionRequest:
    """One person's wish for a regular session.

    hub_token: their own; starts their server, is never stored. follows: they asked for it a moment ago and look how it
    goes on, so that a session that runs or starts is the one they mean.
    """

    person: Person
    hub_token: str
    choices: SessionChoices
    follows: bool = False


class NewSession:
    """Regular sessions for pages, programs and JupyterHub's own form.

    ``public_url`` is ``scheme://host`` of the hub as clients see it; ready events hold absolute URLs then.
    Raises ConfigurationInvalid for a listed environment whose repository cannot be one.
    """

    def __init__(self, parts: LaunchParts, flights: Flights, regular: RegularSessions, *, public_url: str = "") -> None:
        check_listed(parts.sources, regular.listed)
        self._parts = parts
        self._flights = flights
        self._regular = regular
        self._public_url = public_url.rstrip("/")
        self._turns = Turns()

    def offer(self, person: Person) -> Offer:
        """What this person may choose; asks nobody."""
        return make_offer(self._parts, self._regular, person)

    async def running(self, person: Person, hub_token: str) -> Server | None:
        """The person's regular server, if it runs, starts or stops. Raises HubUnavailable, LoginRequired."""
        return await self._parts.hub(hub_token).server(person.name, REGULAR)

    async def plan(self, person: Person, choices: SessionChoices, say: Say) -> LaunchPlan:
        """The plan of the choices, whose environment is built first when it is not there.

        ``say`` hears events, and the id of the build whose log comes next. Nothing is said before all choices were
        found good. Raises LauncherErrors; those about a choice say in ``field`` which one it is.
        """
        return await Planner(self._parts, self._regular, person).plan(choices, say)

    def may_use_dask(self, person: Person) -> bool:
        """Whether the token of this person's regular session may ask for clusters."""
        return self._parts.dask_policy.allows(person, HomeKind.PERSONAL)

    async def start(
        self, request: NewSessionRequest, *, after: str | None = None
    ) -> AsyncIterator[LaunchEvent | LogBatch]:
        """Start, or join the same start; tells its events as `launcher.sessions.base.Launches.launch` does.

        A refused choice is a ``failed`` event whose ``field`` says which one; a session that runs already is one, too.
        """
        # "I trust it" is no part of the key: the page that follows the start does not say it again.
        key = (REGULAR, request.person.name, tuple(sorted(request.choices.to_fields().items())))
        flight = self._flights.join(key, partial(_RegularStart, self, request), anew=request.choices.trust)
        async for said in self._flights.tell(flight, after, self._ready):
            yield said

    async def _ready(self, start: _RegularStart) -> LaunchEvent:
        url = self._public_url + start.url
        data = {"url": url, "server_name": REGULAR, "open_path": ""}
        return LaunchEvent("ready", f"server running at {url}\n", data)

    async def go(self, request: NewSessionRequest, say: Say) -> str:
        """The start from top to bottom; the URL path of the session. Raises LauncherErrors."""
        hub, person = self._parts.hub(request.hub_token), request.person
        if (url := await self._there(hub, request, say)) is not None:
            return url
        plan = await self.plan(person, request.choices, say)
        async with self._turns.of(person.name, REGULAR).lock:
            if (url := await self._there(hub, request, say)) is not None:  # somebody was quicker while we built
                return url
            say(LaunchEvent("launching", "Launching server...\n"))
            dask, chosen = self.may_use_dask(person), request.choices.to_fields()
            return await start_server(self._parts, hub, plan, say, dask=dask, remembered=chosen)

    async def _there(self, hub: HubClient, request: NewSessionRequest, say: Say) -> str | None:
        """The URL path of the session that is there already, for who follows its start. Raises SessionRunning."""
        server = await hub.server(request.person.name, REGULAR)
        if server is None:
            return None
        if not request.follows or server.pending == "stop":
            raise SessionRunning(
                "Your session is running already.", hint="Open it, or stop it first to start another one."
            )
        if not server.ready:
            await follow_start(hub, request.person.name, REGULAR, say)
        return server.url


class _RegularStart:
    """One start; ``url`` is the session's path when it has ended well."""

    def __init__(self, sessions: NewSession, request: NewSessionRequest) -> None:
        self._sessions = sessions
        self._request = request
        self.url = ""

    async def run(self, say: Say) -> None:
        """Go all the way, or raise a LauncherError."""
        self.url = await self._sessions.go(self._request, say)
