"""`ContainerSandboxes`: a container for each cluster, isolated as its session is.

Scheduler and workers share the container's own loopback. What leads in and out are relays: from this machine's
loopback to the scheduler, and to the gateway's API and the internet as for sessions.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from launcher.builders.process.sandbox import HOME
from launcher.config import Settings
from launcher.dask.base import RUN_DIRECTORY, WorkerOrder
from launcher.dask.config import DaskSettings
from launcher.dask.container.handover import Handover
from launcher.dask.container.limits import ClusterLimits, room_of
from launcher.dask.nurseries.description import COMMAND, binds_of_session, furnish
from launcher.dask.nurseries.places import Place, Places
from launcher.dask.nurseries.sandbox import ClusterSandbox, ClusterStart
from launcher.engine.base import Bind, Container, ContainerOrder
from launcher.engine.client import Engine
from launcher.engine.config import ContainerSettings
from launcher.engine.labels import CLUSTER, KIND, STATE, Kind, ours, state_id
from launcher.errors import ClusterStartFailed, LauncherError, SessionStartFailed
from launcher.hub.container.egress import SharedEgress, session_policy
from launcher.hub.container.engine import HubEngine, connect_engine
from launcher.hub.container.order import isolated_order, proxy_variables
from launcher.hub.container.relays import (
    CONTAINER_NAME,
    DOORS,
    DOORS_NAME,
    Way,
    inside_part,
    keep_open,
    make_doors,
    open_ways,
)
from launcher.ports import free_port

_PORTS = "launcher.ports"
"""Label: see `Ports`."""
_BEGIN = "begin"
_ORDERS = 100
"""Descriptor of the nursery's listener."""
_SOCKETS_NAME = "sockets"
_SOCKETS = "/run/sockets"
_LIMITS_NAME = "workers.json"


class Ports(NamedTuple):
    """Ports of loopback: those at which a cluster is reached are the same inside as outside.

    internet: where it finds its proxy, inside only.
    """

    scheduler: int
    dashboard: int
    api: int
    internet: int

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody uses now."""
        found: dict[int, None] = {}
        while len(found) < len(cls._fields):
            found[free_port()] = None
        return cls(*found)

    @property
    def label(self) -> str:
        """The inverse of `from_label`."""
        return ",".join(map(str, self))

    @classmethod
    def from_label(cls, text: str) -> Ports:
        """ValueError or TypeError when it is none."""
        return cls(*map(int, text.split(",")))

    @property
    def reached(self) -> tuple[int, int, int]:
        """Those that lead in."""
        return self.scheduler, self.dashboard, self.api

    def put_into(self, arguments: Sequence[str]) -> list[str]:
        """Arguments of ``dask scheduler`` that have it listen there, and not where it likes."""
        values = {
            "--port": str(self.scheduler),
            "--dashboard-address": f"127.0.0.1:{self.dashboard}",
            "--dg-api-address": f"127.0.0.1:{self.api}",
        }
        before = ("", *arguments)
        return [values.get(name, word) for name, word in zip(before, arguments, strict=False)]

    def ways_in(self, place: Place) -> list[Way]:
        """The relays that lead there."""
        outside = place.directory / _SOCKETS_NAME
        return [
            Way.into(name, port, outside=outside, inside=_SOCKETS)
            for name, port in zip(self._fields, self.reached, strict=False)
        ]


class ContainerSandbox:
    """A `ClusterSandbox`: a container."""

    def __init__(
        self, engine: Engine, container: Container, place: Place, limits: ClusterLimits, handover: Handover | None
    ) -> None:
        self.pid = container.pid
        self._engine = engine
        self._id = container.id
        self._directory = place.directory
        self._ports = Ports.from_label(container.labels[_PORTS])
        self._limits = limits
        self._handover = handover

    async def adopt(self) -> None:
        """A relay that was killed is started again, and limits are as they should be."""
        self._limits.lower()
        await keep_open(self._directory)

    async def look_inside(self) -> None:
        """The engine knows all that is needed."""

    async def ended(self) -> int | None:
        """The kernel has ended all others with the container's first process."""
        self.release()
        try:
            status = (await self._engine.wait(self._id)).status
        except LauncherError:
            return None
        return status if status <= 128 else 128 - status  # noqa: PLR2004 - a signal, as a shell has it

    async def kill(self) -> None:
        """Kill its first process."""
        await self._engine.kill(self._id)

    async def clear(self) -> None:
        """Remove the container; its relay ends with its first process."""
        self.release()
        await self._engine.remove(self._id)

    async def admit(self, worker: WorkerOrder) -> None:
        """Raise the container's limits."""
        await self._limits.admit(worker)

    def dismiss(self, worker: str) -> None:
        """Lower them, as soon as the worker has certainly ended."""
        self._limits.dismiss(worker)

    def is_port(self, port: int) -> bool:
        """The gateway reaches it where we opened a way, and nowhere else."""
        return port in self._ports.reached

    def release(self) -> None:
        """Let go of it."""
        self._limits.close()
        if self._handover is not None:
            self._handover.close()


class ContainerSandboxes:
    """A `ClusterSandboxes` with the engine that runs the sessions."""

    def __init__(self, settings: Settings, dask: DaskSettings, containers: ContainerSettings) -> None:
        self._settings = settings
        self._dask, self._containers = dask, containers
        self._places = Places(settings.state)
        self._connection: HubEngine | None = None
        self._connecting = asyncio.Lock()
        self._egress = SharedEgress(settings.state / "egress", session_policy(settings))

    async def start(self, start: ClusterStart) -> ClusterSandbox:
        """Make a container of the session's image, and the ways in and out."""
        on = await self._connected()
        ports, place = Ports.free(), start.place
        if self._reaches_internet:
            await self._egress.ensure()
        ways = self._ways(ports, place)
        make_doors(place.directory)
        handover = self._furnish(start, ports, ways)
        try:
            identifier = await on.engine.create(self._order(on, start, ports))
            try:
                container = await self._begin(on.engine, identifier)
                held = [self._egress.users] if self._reaches_internet else []
                await open_ways(place.directory, ways, pid=container.pid, held=held)
            except BaseException:
                await asyncio.shield(on.engine.remove(identifier))
                raise
        except BaseException as error:
            handover.close()
            if isinstance(error, SessionStartFailed):
                raise ClusterStartFailed(error.message, hint=error.hint) from error
            raise
        return self._sandbox(on.engine, container, place, handover)

    @property
    def _reaches_internet(self) -> bool:
        return self._containers.session_network != "none"

    def _ways(self, ports: Ports, place: Place) -> list[Way]:
        out = {"gateway": (self._dask.api_port, f"tcp:127.0.0.1:{self._dask.api_port}")}
        if self._reaches_internet:
            out["internet"] = (ports.internet, f"unix:{self._egress.socket}")
        return [
            *ports.ways_in(place),
            *(Way.out(name, port, target, run=place.directory) for name, (port, target) in out.items()),
        ]

    def _furnish(self, start: ClusterStart, ports: Ports, ways: Sequence[Way]) -> Handover:
        """Write what the container's programs read, and make what they will find beside it."""
        place, sockets = start.place, start.place.directory / _SOCKETS_NAME
        sockets.mkdir(mode=0o700)
        if start.record.owner is not None:
            os.chown(sockets, *start.record.owner)
        (place.inside / CONTAINER_NAME).write_text(json.dumps(inside_part(ways, lock=None)))
        proxy = proxy_variables(ports.internet) if self._reaches_internet else {}
        furnish(
            start,
            orders=_ORDERS,
            begin=f"{RUN_DIRECTORY}/{_BEGIN}",
            scheduler=ports.put_into(start.order.scheduler_arguments),
            variables={**start.order.variables, **proxy},
        )
        return Handover(place.inside / _BEGIN, [start.orders.fileno(), start.log])

    def _order(self, on: HubEngine, start: ClusterStart, ports: Ports) -> ContainerOrder:
        record, place = start.record, start.place
        room = room_of(self._dask.scheduler_memory, {})
        labels = {**ours(self._settings.state, Kind.CLUSTER, cluster=start.order.name), _PORTS: ports.label}
        inside = [(place.inside, RUN_DIRECTORY), *binds_of_session(Path(record.run_directory))]
        order = isolated_order(
            record.image,
            record.python,
            [record.python, *COMMAND],
            file=f"{RUN_DIRECTORY}/{CONTAINER_NAME}",
            labels=labels,
        )
        return replace(
            order,
            user=on.user,
            user_namespace=on.user_namespace,
            binds=(
                *order.binds,
                *(Bind(outside, path) for outside, path in inside),
                Bind(place.directory / DOORS_NAME, DOORS),
                Bind(place.directory / _SOCKETS_NAME, _SOCKETS, read_only=False),
                Bind(place.tmp, "/tmp", read_only=False),  # noqa: S108 - the path inside
                Bind(Path(record.home), HOME, read_only=not start.order.home_writable),
            ),
            memory_bytes=room.memory_bytes,
            cpus=room.cores,
            processes=self._containers.session_processes,
        )

    async def _begin(self, engine: Engine, identifier: str) -> Container:
        await engine.start(identifier)
        container = await engine.container(identifier)
        if container is None or not container.pid:
            raise ClusterStartFailed("The cluster's container ended before it began.", hint="Try again.")
        return container

    def _sandbox(
        self, engine: Engine, container: Container, place: Place, handover: Handover | None = None
    ) -> ContainerSandbox:
        file = place.directory / _LIMITS_NAME
        limits = ClusterLimits(engine, container.id, file, self._dask.scheduler_memory)
        return ContainerSandbox(engine, container, place, limits, handover)

    async def find(self) -> dict[str, ClusterSandbox]:
        """The containers of clusters of this state directory."""
        engine = (await self._connected()).engine
        labels = {STATE: state_id(self._settings.state), KIND: Kind.CLUSTER.value}
        found = {one.labels.get(CLUSTER, ""): one for one in await engine.containers(labels)}
        return {name: self._sandbox(engine, one, self._places.cluster(name)) for name, one in found.items() if name}

    async def close(self) -> None:
        """Let go of the engine and the proxy."""
        self._egress.release()
        if self._connection is not None:
            await self._connection.engine.close()
            self._connection = None

    async def _connected(self) -> HubEngine:
        async with self._connecting:
            if self._connection is None:
                self._connection = await connect_engine(self._settings)
            return self._connection
