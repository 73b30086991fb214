"""The launcher's part of a spawner, the same for every runtime: a ticket in, a plan out, errors in words.

The launcher decides, the Hub obeys: of ``user_options`` only ``ticket`` is read, and where the launcher has the Hub's
spawn form, its choices, which `launcher.hub.spawn_form` lets the launcher judge. A command or a path that somebody puts
beside them is ignored.
"""

from __future__ import annotations

from typing import Any, ClassVar

from jupyterhub.spawner import Spawner
from tornado import web
from traitlets import HasTraits

from launcher.config import Settings
from launcher.errors import LauncherError, TicketInvalid
from launcher.hub.dask import session_variables, withhold
from launcher.hub.redeem import redeem
from launcher.models import LaunchPlan, Person, Username
from launcher.sessions.names import is_launch_server
from launcher.sessions.session_choices import FIELDS
from launcher.tickets import TicketSigner


class LaunchSpawnerMixin(HasTraits):
    """Redeems tickets. Runtimes put it in front of their own spawner and call `redeem_plan` when they start.

    ``launch_settings`` and ``launch_base``, the operator's own spawner, are set on the class that `launch_spawner`
    makes.
    """

    launch_settings: ClassVar[Settings]
    launch_base: ClassVar[type[Spawner]]

    name: str
    user: Any
    hub: Any
    orm_spawner: Any
    user_options: dict[str, Any]
    plan_has_dask: bool | None = None

    async def redeem_plan(self) -> LaunchPlan | None:
        """The plan of this start, or None for a regular session.

        Raises tornado's HTTPError with a message the Hub shows: for a ticket that is not good (any more), and for a
        launch server that is started without one, for example from the Hub's own pages.
        """
        ticket = self.user_options.get("ticket")
        self.plan_has_dask = None
        try:
            plan: LaunchPlan | None
            if ticket is not None:
                self._forget_ticket()  # it is good once, and for nothing when this start fails
                plan = await self._redeem(str(ticket))
            elif is_launch_server(self.name):
                raise TicketInvalid(
                    "This session belongs to a repository and is started by the launcher.",
                    hint=f"Open it from {self._service_path()} or from its launch link.",
                )
            else:
                plan = await self.regular_plan()
        except LauncherError as error:
            raise as_http_error(error) from error
        if self.launch_settings.dask is not None and not self.may_use_dask():
            withhold(self, self.launch_settings.dask)
        return plan

    async def regular_plan(self) -> LaunchPlan | None:
        """The plan of a start without a ticket; None leaves it to the runtime."""
        return None

    def _forget_ticket(self) -> None:
        """Keep a ticket from what the Hub starts a regular session with the next time it is not told anything."""
        if not is_launch_server(self.name):
            remembered = {name: value for name, value in self.user_options.items() if name != "ticket"}
            self.orm_spawner.user_options = remembered
            self.user.db.commit()

    async def _redeem(self, ticket: str) -> LaunchPlan:
        signer = TicketSigner(self.launch_settings.ticket_secret)
        return await redeem(self._service_url(), ticket, user=self.user.name, server_name=self.name, signer=signer)

    async def _run_apply_user_options(self, user_options: dict[str, Any]) -> None:
        """Keep our ticket, and the choices beside it, out of the operator's own handling of options.

        It would warn about them at every launch.
        """
        ours = {"ticket", *FIELDS} if "ticket" in user_options else set()
        others = {name: value for name, value in user_options.items() if name not in ours}
        await super()._run_apply_user_options(others)  # type: ignore[misc]

    def may_use_dask(self) -> bool:
        """Whether this start may have Dask: a regular session, or one whose ticket says so."""
        if self.launch_settings.dask is None:
            return False
        ticket = self.user_options.get("ticket")
        if ticket is None:  # a session of the operator's own spawner is nothing the gateway knows
            if self.plan_has_dask is not None:
                return self.plan_has_dask
            return bool(self.launch_settings.homes_directory) and not is_launch_server(self.name)
        signer = TicketSigner(self.launch_settings.ticket_secret)
        try:
            return signer.read(str(ticket), user=self.user.name, server_name=self.name).dask
        except LauncherError:
            return False  # `redeem_plan` says what is wrong with it

    def dask_variables(self) -> dict[str, str]:
        """What the session needs to find Dask-Gateway; nothing when Dask is off. Without the right it is told why."""
        dask = self.launch_settings.dask
        return session_variables(dask, self._base_url) if dask is not None else {}

    @property
    def _base_url(self) -> str:
        """The whole hub's path, such as ``/``."""
        return str(self.hub.base_url).removesuffix("hub/")

    def _service_path(self) -> str:
        """The launcher's pages as a path on the hub."""
        return f"{self._base_url}services/{self.launch_settings.service_name}/"

    def _service_url(self) -> str:
        return f"http://127.0.0.1:{self.launch_settings.port}{self._service_path()}"


def person_of(user: Any) -> Person:
    """The Hub's user as the launcher's policies know people."""
    groups = frozenset(str(group.name) for group in user.groups)
    return Person(Username(str(user.name)), admin=bool(user.admin), groups=groups)


def as_http_error(error: LauncherError) -> web.HTTPError:
    """A launcher error in the form whose words JupyterHub shows to the person."""
    return http_error(error.http_status, error.code, f"{error.message} {error.hint}".strip())


def http_error(status: int, code: str, words: str, html: str = "") -> web.HTTPError:
    """An error whose words JupyterHub shows to the person; ``html`` where it shows more than text."""
    error = web.HTTPError(status, words, reason=code)
    error.jupyterhub_message = words  # type: ignore[attr-defined]
    if html:
        error.jupyterhub_html_message = html  # type: ignore[attr-defined]
    return error
