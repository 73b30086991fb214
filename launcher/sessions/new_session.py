"""A new regular session: what a person may choose, the plan their choices become, and the start.

The session is the person's regular server, the one without a name, in their own home.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from launcher.models import LaunchPlan, Person, ServerName
from launcher.sessions.base import LaunchEvent, LogBatch
from launcher.sessions.hub import Server
from launcher.sessions.parts import LaunchParts
from launcher.sessions.session_choices import SessionChoices
from launcher.sessions.session_offer import Offer, RegularSessions
from launcher.sessions.tasks import Say

REGULAR = ServerName("")


@dataclass(frozen=True)
class NewSessionRequest:
    """One person's wish for a regular session; fields as in `launcher.sessions.base.LaunchRequest`."""

    person: Person
    hub_token: str
    choices: SessionChoices
    launch_host: str = ""
    client_ip: str = ""


class NewSession:
    """Regular sessions for pages, programs and JupyterHub's own form."""

    def __init__(self, parts: LaunchParts, regular: RegularSessions) -> None:
        self._parts = parts
        self._regular = regular

    def offer(self, person: Person) -> Offer:
        """What this person may choose; asks nobody."""
        raise NotImplementedError

    async def running(self, person: Person, hub_token: str) -> Server | None:
        """The person's regular server, if it runs, starts or stops. Raises HubUnavailable, LoginRequired."""
        raise NotImplementedError

    async def plan(
        self, person: Person, choices: SessionChoices, say: Say, *, launch_host: str = "", client_ip: str = ""
    ) -> LaunchPlan:
        """The plan of the choices, whose environment is built first when it is not there.

        ``say`` hears events, and the id of the build whose log comes next. Nothing is said before all choices were
        found good. Raises LauncherErrors; those about a choice say in ``field`` which one it is.
        """
        raise NotImplementedError

    def start(self, request: NewSessionRequest, *, after: str | None = None) -> AsyncIterator[LaunchEvent | LogBatch]:
        """Start, or join the same start; tells its events as `launcher.sessions.base.Launches.launch` does.

        A refused choice is a ``failed`` event whose ``field`` says which one. SessionRunning when the regular session
        runs already.
        """
        raise NotImplementedError
