"""The launcher's part of a spawner, the same for every runtime: a ticket in, a plan out, errors in words.

The launcher decides, the Hub obeys: of ``user_options`` only ``ticket`` is read. An image, a command or a path that
somebody puts beside it is ignored.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, ClassVar

from jupyterhub.spawner import LocalProcessSpawner, Spawner
from tornado import web
from traitlets import HasTraits, import_item
from traitlets.config.loader import LazyConfigValue

from launcher.config import Settings
from launcher.errors import ConfigurationInvalid, LauncherError, TicketInvalid
from launcher.hub.redeem import redeem
from launcher.models import LaunchPlan
from launcher.sessions.names import is_launch_server
from launcher.tickets import TicketSigner


class LaunchSpawnerMixin(HasTraits):
    """Redeems tickets. Runtimes put it in front of their own spawner and call `redeem_plan` when they start.

    ``launch_settings`` is set on the class that `launch_spawner` makes.
    """

    launch_settings: ClassVar[Settings]

    name: str
    user: Any
    hub: Any
    user_options: dict[str, Any]

    async def redeem_plan(self) -> LaunchPlan | None:
        """The plan of this start, or None for a regular session.

        Raises tornado's HTTPError with a message the Hub shows: for a ticket that is not good (any more), and for a
        launch server that is started without one, for example from the Hub's own pages.
        """
        ticket = self.user_options.get("ticket")
        try:
            if ticket is None:
                if is_launch_server(self.name):
                    raise TicketInvalid(
                        "This session belongs to a repository and is started by the launcher.",
                        hint=f"Open it from {self._service_path()} or from its launch link.",
                    )
                return None
            signer = TicketSigner(self.launch_settings.ticket_secret)
            return await redeem(
                self._service_url(), str(ticket), user=self.user.name, server_name=self.name, signer=signer
            )
        except LauncherError as error:
            raise as_http_error(error) from error

    async def _run_apply_user_options(self, user_options: dict[str, Any]) -> None:
        """Keep our ticket out of the operator's own handling of options, which would warn about it at every launch."""
        others = {name: value for name, value in user_options.items() if name != "ticket"}
        await super()._run_apply_user_options(others)  # type: ignore[misc]

    def _service_path(self) -> str:
        """The launcher's pages as a path on the hub."""
        return f"{str(self.hub.base_url).removesuffix('hub/')}services/{self.launch_settings.service_name}/"

    def _service_url(self) -> str:
        return f"http://127.0.0.1:{self.launch_settings.port}{self._service_path()}"


def as_http_error(error: LauncherError) -> web.HTTPError:
    """A launcher error in the form whose words JupyterHub shows to the person."""
    http_error = web.HTTPError(error.http_status, error.message, reason=error.code)
    http_error.jupyterhub_message = f"{error.message} {error.hint}".strip()  # type: ignore[attr-defined]
    return http_error


def resolve_spawner_class(configured: Any) -> type[Spawner]:
    """The class behind ``c.JupyterHub.spawner_class``: a class, a dotted name, an entry point, or unset.

    Raises ConfigurationInvalid when there is no such spawner.
    """
    if configured is None or isinstance(configured, LazyConfigValue):
        return LocalProcessSpawner  # type: ignore[no-any-return]
    if isinstance(configured, type):
        return configured
    for entry in entry_points(group="jupyterhub.spawners"):
        if entry.name == str(configured):
            return entry.load()  # type: ignore[no-any-return]
    try:
        return import_item(str(configured))  # type: ignore[no-any-return]
    except ImportError as error:
        raise ConfigurationInvalid(
            f"c.JupyterHub.spawner_class: there is no spawner {configured!r}.",
            hint="Install its package into the hub's Python, or correct the name.",
        ) from error


def launch_spawner(base: type[Spawner], settings: Settings) -> type[Spawner]:
    """A spawner class: ``base`` with the launcher's runtime in front of it.

    Raises ConfigurationInvalid when the runtime cannot work on top of ``base``.
    """
    from launcher.hub.process import ProcessSpawnerMixin

    if issubclass(base, LaunchSpawnerMixin):
        base = base.__bases__[1]  # `enable` called twice: start again from the operator's own class
    if not issubclass(base, LocalProcessSpawner):
        raise ConfigurationInvalid(
            f"The process runtime starts local processes, but the hub's spawner is {base.__name__}.",
            hint="Use a spawner for local processes, or another runtime of the launcher.",
        )
    return type("LaunchSpawner", (ProcessSpawnerMixin, base), {"launch_settings": settings, "__module__": __name__})
