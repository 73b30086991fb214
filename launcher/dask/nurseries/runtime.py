"""`NurseryClusters`: clusters on the machine on which the sessions are, each in a sandbox with a nursery."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakValueDictionary

from launcher.config import Settings
from launcher.dask.base import SCHEDULER, ClusterOrder, LiveSession, ProcessEnded, WorkerOrder
from launcher.dask.nurseries.nursery import Nursery, listening_socket
from launcher.dask.nurseries.places import Place, Places
from launcher.dask.nurseries.sandbox import ClusterSandbox, ClusterSandboxes, ClusterStart
from launcher.errors import ClusterStartFailed, LauncherError
from launcher.hub.records import SessionRecord, SessionRecords

_TRIM_SECONDS = 10.0
_UNTRUSTED = (
    "This session runs a repository that you did not say you trust, so it gets no Dask clusters. "
    "Trust it on its launch page to change that."
)
_NOT_IN_GROUP = "Dask is only for certain groups of this hub, and you are in none of them. Ask the people who run it."


class NurseryClusters:
    """A `launcher.dask.base.ClusterRuntime` on this machine, with a runtime's ``sandboxes``.

    gateway_patience_seconds: for how long the gateway must be out of reach before a cluster without a session ends
    itself. adoption_seconds: how long a start waits for clusters that were there before.
    """

    def __init__(
        self,
        settings: Settings,
        sandboxes: ClusterSandboxes,
        *,
        gateway_patience_seconds: float = 120,
        adoption_seconds: float = 3,
    ) -> None:
        self._settings = settings
        self._sandboxes = sandboxes
        self._records = SessionRecords(settings.state)
        self._places = Places(settings.state)
        self._nurseries: dict[str, Nursery] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._on_end: Callable[[ProcessEnded], None] = lambda _: None
        self._trimming: asyncio.Task[None] | None = None
        self._gateway_patience = gateway_patience_seconds
        self._adoption_seconds = adoption_seconds
        self._adopted = asyncio.Event()  # nothing is started or stopped before it is known what runs

    def sessions(self, user: str) -> list[LiveSession]:
        """The person's live sessions, those without Dask too; the youngest first."""
        return [_live_session(record) for record in self._records.live(user)]

    def is_live(self, user: str, server_name: str) -> bool:
        """Whether that session runs now."""
        return self._records.get(user, server_name) is not None

    async def setup(self, on_end: Callable[[ProcessEnded], None]) -> None:
        """Find what runs already."""
        self._on_end = on_end
        await asyncio.to_thread(self._places.sweep)
        found = await self._sandboxes.find()
        await asyncio.gather(*(self._adopt(cluster, sandbox) for cluster, sandbox in found.items()))
        self._adopted.set()
        self._trimming = asyncio.create_task(self._trim_logs(), name="logs of clusters")

    async def close(self) -> None:
        """Let go of everything without ending anything."""
        if self._trimming is not None:
            self._trimming.cancel()
            await asyncio.gather(self._trimming, return_exceptions=True)
        for nursery in self._nurseries.values():
            nursery.close()
        self._nurseries.clear()
        await self._sandboxes.close()

    async def start_cluster(self, order: ClusterOrder) -> None:
        """Start the scheduler; returns when it runs. Raises ClusterStartFailed."""
        await self._adopted.wait()
        async with self._turn(order.name):
            place = self._places.cluster(order.name)
            if order.name in self._nurseries or await asyncio.to_thread(place.directory.exists):
                await self._remove(order.name)
            session = order.session
            record = self._records.get(session.user, session.server_name)
            if record is None or not record.dask:
                raise ClusterStartFailed("The session of this cluster has ended.", hint="Start the session again.")
            try:
                nursery = await self._start(order, record, place)
            except LauncherError:
                await asyncio.to_thread(place.remove)
                raise
            except OSError as error:
                await asyncio.to_thread(place.remove)
                raise ClusterStartFailed(
                    "The cluster could not be prepared on this machine.", hint="Tell the people who run this hub."
                ) from error
            try:
                await nursery.hello()
            except ClusterStartFailed:
                await self._remove(order.name)
                raise
            nursery.ended.add_done_callback(lambda _: self._told(nursery))

    async def _start(self, order: ClusterOrder, record: SessionRecord, place: Place) -> Nursery:
        place.make()
        patience = {
            "patience_seconds": self._session_grace + order.keep_seconds,
            "gateway_patience_seconds": self._gateway_patience,
        }
        with listening_socket(place) as listener:
            log = self._places.open_log(order.name, SCHEDULER)
            try:
                sandbox = await self._sandboxes.start(ClusterStart(order, record, place, listener, log, patience))
            finally:
                os.close(log)
            nursery = Nursery(order.name, sandbox, place, self._report)
            self._nurseries[order.name] = nursery
            nursery.connect()
        return nursery

    @property
    def _session_grace(self) -> float:
        return self._settings.dask.session_grace_seconds if self._settings.dask is not None else 0.0

    def is_port_of(self, cluster: str, port: int) -> bool:
        """Whether a port of our loopback can be the cluster's."""
        nursery = self._nurseries.get(cluster)
        return nursery is not None and nursery.is_port(port)

    async def start_worker(self, cluster: str, worker: WorkerOrder) -> None:
        """Start a worker. Raises ClusterStartFailed when the cluster does not run."""
        await self._adopted.wait()
        nursery = self._nurseries.get(cluster)
        log = self._places.open_log(cluster, worker.name)
        try:
            started = nursery is not None and await nursery.start(worker, log)
        except (OSError, LauncherError):
            started = False
        finally:
            os.close(log)
        if not started:
            raise ClusterStartFailed("The worker could not be started.", hint="The scheduler's log may say why.")

    async def stop_worker(self, cluster: str, worker: str) -> None:
        """End a worker."""
        await self._adopted.wait()
        nursery = self._nurseries.get(cluster)
        if nursery is not None:
            with suppress(OSError):  # the cluster has ended, and its workers with it
                nursery.stop(worker)

    async def stop_cluster(self, cluster: str) -> None:
        """End everything of a cluster and remove it, but for its logs."""
        await self._adopted.wait()
        async with self._turn(cluster):
            await self._remove(cluster)

    def _turn(self, cluster: str) -> asyncio.Lock:
        """Held while a cluster starts or stops; forgotten when nobody wants it any more."""
        return self._turns.setdefault(cluster, asyncio.Lock())

    async def running(self, cluster: str) -> frozenset[str]:
        """The names of the cluster's processes."""
        nursery = self._nurseries.get(cluster)
        return frozenset(nursery.running) if nursery is not None else frozenset()

    async def clusters(self) -> frozenset[str]:
        """Every cluster of which something is left."""
        return self._places.clusters() | frozenset(await self._sandboxes.find())

    def log_names(self, cluster: str) -> list[str]:
        """Processes of which there is a log, the scheduler first."""
        return self._places.log_names(cluster)

    def read_log(self, cluster: str, process: str, *, limit: int) -> str:
        """The end of a process's output."""
        return self._places.read_log(cluster, process, limit)

    def remove_logs(self, cluster: str) -> None:
        """Forget the logs of a cluster that has ended."""
        self._places.remove_logs(cluster)

    async def _adopt(self, cluster: str, sandbox: ClusterSandbox) -> None:
        """Take up a cluster that another gateway started. Nobody else waits long for one that does not answer."""
        try:
            nursery = Nursery(cluster, sandbox, self._places.cluster(cluster), self._report)
        except OSError:  # it has ended, and can only be removed
            return
        self._nurseries[cluster] = nursery
        with suppress(OSError, LauncherError):  # it may answer later, and can be stopped in any case
            nursery.connect()
            await sandbox.adopt()
            await nursery.hello(seconds=self._adoption_seconds)
        nursery.ended.add_done_callback(lambda _: self._told(nursery))

    async def _remove(self, cluster: str) -> None:
        """End and delete whatever there is of a cluster."""
        nursery = self._nurseries.get(cluster)
        if nursery is not None:
            await nursery.end()
            self._nurseries.pop(cluster, None)
        else:  # of a gateway before this one
            sandbox = (await self._sandboxes.find()).get(cluster)
            if sandbox is not None:
                await sandbox.look_inside()
                await sandbox.kill()
                await sandbox.clear()
        await asyncio.to_thread(self._places.cluster(cluster).remove)

    def _told(self, nursery: Nursery) -> None:
        """A cluster has ended."""
        if not nursery.stopping and self._nurseries.get(nursery.cluster) is nursery:
            self._report(ProcessEnded(nursery.cluster, SCHEDULER, nursery.reason))

    def _report(self, ended: ProcessEnded) -> None:
        self._on_end(ended)

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_SECONDS)
            for cluster in list(self._nurseries):
                with suppress(OSError):  # removed meanwhile
                    await asyncio.to_thread(self._places.trim_logs, cluster)


def _live_session(record: SessionRecord) -> LiveSession:
    refusal = ""
    if not record.dask:
        refusal = _NOT_IN_GROUP if record.personal else _UNTRUSTED
    return LiveSession(
        user=record.user,
        server_name=record.server_name,
        environment=record.environment or "server",
        title=record.repository or "Regular session",
        refusal=refusal,
    )
