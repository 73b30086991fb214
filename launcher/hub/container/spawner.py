"""The container runtime's spawner: a session in a container without network, with its own home and limits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from jupyterhub import orm
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, Spawner
from jupyterhub.utils import random_port
from traitlets import Bool, default

from launcher.config import Settings
from launcher.engine.base import Bind, ContainerOrder, Image
from launcher.engine.base_image import SERVER_ENVIRONMENT
from launcher.engine.client import Engine
from launcher.engine.config import ContainerSettings
from launcher.engine.labels import Kind, ours, state_id
from launcher.errors import ConfigurationInvalid, EngineError, EngineUnavailable, LauncherError, SessionStartFailed
from launcher.hub.container.egress import SharedEgress, session_policy
from launcher.hub.container.engine import HubEngine, hub_engine
from launcher.hub.container.images import baked_in, base_image, environment_image, named_image
from launcher.hub.container.order import Ports, furnish_ways, session_order, session_ways, with_ways
from launcher.hub.container.reap import reap_sessions
from launcher.hub.container.relays import keep_open, open_ways
from launcher.hub.homes import directory_name, give_tree
from launcher.hub.inside.lock import is_held
from launcher.hub.isolated import IsolatedSpawnerMixin, exit_of
from launcher.hub.records import ALIVE_NAME, SessionRecord
from launcher.hub.session import server_python
from launcher.hub.spawner import as_http_error
from launcher.models import LaunchPlan, SessionMode

_STOP_SECONDS = 10


class ContainerSpawnerMixin(IsolatedSpawnerMixin):
    """Starts every session of the Hub in a container, in front of dockerspawner's `DockerSpawner`.

    Of that it uses names, volumes and limits as operators know them, and the way it keeps its state. What a container
    may see and do is said in `launcher.engine.base.ContainerOrder`, as for builds and clusters.
    """

    remove = Bool(True, help="Remove containers of sessions that have ended.").tag(config=True)
    # What the spawner underneath brings.
    object_id: Any
    object_name: Any
    image: Any
    volume_binds: Any
    wait_for_death: Any
    internal_ssl: Any
    _on_engine: HubEngine
    _starting: ClassVar[set[tuple[str, str]]] = set()
    _reaping: ClassVar[asyncio.Future[None] | None] = None
    _chosen: Image

    @classmethod
    def on_top_of(cls, base: type[Spawner]) -> type[Spawner]:
        """DockerSpawner, or the operator's own kind of it. Raises ConfigurationInvalid for another spawner."""
        try:
            from dockerspawner import DockerSpawner
        except ImportError as error:
            raise ConfigurationInvalid(
                "The container runtime needs the package dockerspawner.",
                hint="Install the launcher with it into the hub's Python: jupyterhub-launcher[containers].",
            ) from error
        if issubclass(base, DockerSpawner):
            return base
        if base in {LocalProcessSpawner, SimpleLocalProcessSpawner}:  # nobody chose one: JupyterHub's own default
            return DockerSpawner  # type: ignore[no-any-return]
        raise ConfigurationInvalid(
            f"The container runtime starts containers, but the hub's spawner is {base.__name__}.",
            hint="Use DockerSpawner or a subclass of it, or another runtime of the launcher.",
        )

    @default("prefix")
    def _prefix(self) -> str:
        # names are the engine's: another launcher on this machine must not take ours for its own
        return f"launcher-{state_id(self.launch_settings.state)}"

    @default("options_form")
    def _options_form(self) -> str:
        return ""  # DockerSpawner's own would offer images that nobody here starts

    @classmethod
    def shows_form(cls, settings: Settings) -> bool:
        """Also where people may name images: there is one form to do it in."""
        containers = settings.containers
        return super().shows_form(settings) or bool(containers is not None and containers.allowed_images)

    @property
    def _containers(self) -> ContainerSettings:
        containers = self.launch_settings.containers
        if containers is None:
            raise ConfigurationInvalid("The settings say nothing about containers.")
        return containers

    @property
    def _engine(self) -> Engine:
        return self._on_engine.engine

    @classmethod
    def runs_regular_sessions(cls, settings: Settings) -> bool:
        """Every session is in a container of ours."""
        del settings
        return True

    def owner(self) -> tuple[int, int] | None:
        """Whoever the session's user is outside."""
        return self._on_engine.owner

    def own_home(self) -> Path:
        """A directory for each person, as if ``homes_directory`` were set."""
        return self.launch_settings.state / "homes" / directory_name(self.user.name)

    def home_of(self, plan: LaunchPlan | None) -> Path:
        """As for every runtime; one that another runtime made is given to the session's user."""
        home = super().home_of(plan)
        if (owner := self.owner()) is not None:
            give_tree(home, owner)
        return home

    async def start(self) -> tuple[str, int]:
        """As every runtime; see `IsolatedSpawnerMixin`."""
        try:
            if self.internal_ssl:
                raise ConfigurationInvalid("The container runtime does not work with JupyterHub's internal_ssl.")
            self._on_engine = await hub_engine(self.launch_settings)
        except LauncherError as error:
            raise as_http_error(error) from error
        self.ip, self.port = "127.0.0.1", random_port()
        self._starting.add((self.user.name, self.name))
        try:
            self._reap_once()
            return await super().start()
        finally:
            self._starting.discard((self.user.name, self.name))

    def _reap_once(self) -> None:
        """Remove what a hub before this one left, beside the first start of this one."""
        cls = type(self)
        if cls._reaping is None:
            cls._reaping = asyncio.ensure_future(self._reap())

    async def _reap(self) -> None:
        try:
            for name in await reap_sessions(self._engine, self.launch_settings, self._is_known):
                self.log.warning("Removed %s, a session's container that the hub did not know", name)
        except LauncherError:
            self.log.exception("Containers of sessions that the hub does not know could not be removed")

    def _is_known(self, user: str, server: str) -> bool:
        """Whether the Hub has that server, or is starting it."""
        if (user, server) in self._starting:
            return True
        found = self.user.db.query(orm.Spawner).join(orm.User, orm.Spawner.user)
        found = found.filter(orm.User.name == user, orm.Spawner.name == server, orm.Spawner.server_id.isnot(None))
        return found.first() is not None

    async def run_session(self, plan: LaunchPlan | None, *, home: Path, run: Path) -> asyncio.Future[int]:
        """Start the container and open its ways."""
        settings = self.launch_settings
        egress = SharedEgress(settings.state / "egress", session_policy(settings))
        await egress.ensure()
        ports = Ports.of(settings, self.hub.api_url, server=self.port, internet=random_port())
        ways = session_ways(ports, run, hub_url=self.hub.api_url, egress=egress.socket)
        environment = with_ways(self.session_environment(plan), ports, self.hub.api_url)
        furnish_ways(run, ways, forget=baked_in(self._chosen, environment), owner=self.owner())
        order = session_order(
            self._chosen,
            self._python(plan),
            environment=environment,
            run=run,
            home=home,
            content=Path(plan.content["repository"]) if plan is not None and plan.content is not None else None,
            labels=ours(settings.state, Kind.SESSION, user=self.user.name, server=self.name, run=str(run)),
        )
        pid = await self._run(self._limited(order))
        await open_ways(run, ways, pid=pid, held=[egress.users])
        return asyncio.ensure_future(self._exit_status(pid))

    async def enforceable(self) -> Collection[str]:
        """As the engine says."""
        return self._on_engine.info.limits

    async def ran_out_of_memory(self) -> bool:
        """As the engine says, which podman does not everywhere."""
        found = await self._engine.container(self.object_id) if self.object_id else None
        return found is not None and found.out_of_memory

    async def prepare(self, plan: LaunchPlan | None) -> None:
        """Choose the image."""
        self._chosen = await self._choose_image(plan)
        self.image = self._chosen.id

    def record(self, plan: LaunchPlan | None, home: Path) -> SessionRecord:
        """As every runtime; clusters start from the same image."""
        return replace(super().record(plan, home), image=self._chosen.id, python=self._python(plan))

    async def _choose_image(self, plan: LaunchPlan | None) -> Image:
        """What the plan says; without one the base image."""
        if plan is not None and plan.environment is not None:
            return await environment_image(self._engine, plan.environment)
        if plan is not None and plan.image is not None:
            return await named_image(self._engine, plan.image)
        return await base_image(self._engine, self._containers)

    def _python(self, plan: LaunchPlan | None) -> str:
        """The Python of the session's server, inside."""
        return "python3" if _is_image(plan) else server_python(SERVER_ENVIRONMENT, plan)

    def describe(self, plan: LaunchPlan | None) -> dict[str, Any]:
        """As every runtime; an image brings its own server."""
        description = super().describe(plan)
        return {**description, "mode": SessionMode.FULL.value} if _is_image(plan) else description

    def _limited(self, order: ContainerOrder) -> ContainerOrder:
        """The order with the name, the user, the limits and the volumes that this spawner knows."""
        return replace(
            order,
            name=self.object_name,
            user=self._on_engine.user,
            user_namespace=self._on_engine.user_namespace,
            memory_bytes=self._limits.memory_bytes,
            cpus=self._limits.cpus,
            processes=self._containers.session_processes,
            binds=(*order.binds, *self._volumes()),
        )

    async def _run(self, order: ContainerOrder) -> int:
        """Start a new container; the process id of its first program on this machine."""
        try:
            await self._engine.remove(self.object_name)  # of a start that a killed hub did not end
            self.object_id = await self._engine.create(order)
            await self._engine.start(self.object_id)
            found = await self._engine.container(self.object_id)
        except EngineUnavailable:
            raise
        except EngineError as error:  # its words are about this machine: they are for the log
            self.log.exception("The container of %s: %s", self._log_name, error.hint)
            raise SessionStartFailed(
                "The session's container could not be started.", hint="Tell the people who run this hub."
            ) from error
        if found is None or not found.pid:
            raise SessionStartFailed("The session's container ended before it began.", hint="Try again.")
        return found.pid

    async def _exit_status(self, pid: int) -> int:
        with suppress(ProcessLookupError):
            await exit_of(pid)
        found = await self._engine.container(self.object_id)
        return (found.exit_status if found is not None else None) or 0

    def _volumes(self) -> list[Bind]:
        """What the operator adds with DockerSpawner's own settings."""
        found = self.volume_binds.items()
        return [Bind(Path(source), one["bind"], read_only=one["mode"].startswith("ro")) for source, one in found]

    async def poll(self) -> Any:
        """None while the session lives. The kernel says so: the engine is asked only about one that has ended."""
        if self.run_directory and is_held(Path(self.run_directory) / ALIVE_NAME):
            await self._keep_open()
            return None
        if not self.object_id:
            return 0
        self._on_engine = await hub_engine(self.launch_settings)
        found = await self._engine.container(self.object_id)
        if found is not None and found.running:
            return None
        await self._engine.remove(self.object_id)  # the Hub stops nothing that has ended already
        self.object_id = ""
        return (found.exit_status if found is not None else None) or 0

    async def _keep_open(self) -> None:
        """See to it that a living session can be reached, whatever was killed meanwhile."""
        try:
            await keep_open(Path(self.run_directory))
            await SharedEgress(self.launch_settings.state / "egress", session_policy(self.launch_settings)).ensure()
        except (LauncherError, OSError):
            self.log.exception("The ways of the session of %s could not be opened again", self._log_name)

    async def end_at_once(self) -> None:
        """Kill and remove the container."""
        if self.object_id:
            with suppress(EngineError):
                await self._engine.remove(self.object_id)
                self.object_id = ""

    async def stop(self, now: bool = False) -> None:  # noqa: FBT001, FBT002 - JupyterHub's own signature
        """End the session and remove its container."""
        if self.object_id:
            self._on_engine = await hub_engine(self.launch_settings)
            await (self._engine.kill(self.object_id) if now else self._engine.stop(self.object_id, _STOP_SECONDS))
            await self._engine.remove(self.object_id)
            self.object_id = ""
        self.clear_state()


def _is_image(plan: LaunchPlan | None) -> bool:
    """Whether the plan is an image that somebody named."""
    return plan is not None and plan.image is not None
