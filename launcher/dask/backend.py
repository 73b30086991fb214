"""The backend of the gateway: what clusters there are, of whom, how big, for how long. A runtime runs them.

On top of upstream's database backend, whose loops converge to what its rows say: a restart loses nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from aiohttp import web
from dask_gateway_server.backends import db_base
from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import DBBackendBase, JobStatus
from dask_gateway_server.options import Options
from dask_gateway_server.traitlets import Type
from sqlalchemy.exc import SQLAlchemyError

from launcher.dask import api, limits, messages
from launcher.dask.authenticator import GatewayUser
from launcher.dask.base import (
    CERTIFICATE,
    PRIVATE_KEY,
    SCHEDULER,
    ClusterOrder,
    ClusterRuntime,
    ProcessEnded,
    WorkerOrder,
)
from launcher.dask.certificates import new_keypair
from launcher.dask.config import DaskSettings
from launcher.dask.dashboards import Dashboard, dashboard_routes
from launcher.dask.options import options_for
from launcher.dask.room import Room
from launcher.dask.schedulers import Pace, SchedulerGone, scheduler_session, tell
from launcher.errors import ClusterStartFailed, LauncherError

_LOOK_SECONDS = 1.0
_HOUR = 3600

db_base.new_keypair = new_keypair  # where upstream's database looks for it when it makes the row of a cluster


class LauncherBackend(DBBackendBase):  # type: ignore[misc]  # dask-gateway-server has no types
    """Clusters of sessions. ``runtime`` runs them, ``settings`` say what is allowed."""

    cluster_config_class = Type(
        "launcher.dask.options.LaunchClusterConfig", klass="dask_gateway_server.backends.base.ClusterConfig"
    )
    runtime: ClusterRuntime
    settings: DaskSettings
    default_host = "127.0.0.1"
    session: Any

    # Life of the service

    async def setup(self, app: web.Application) -> None:
        """Start, find every cluster again, remove what belongs to none."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._paces: WeakKeyDictionary[Any, Pace] = WeakKeyDictionary()
        await super().setup(app)
        self.room = Room(self.db, self.settings)
        await self.session.close()
        self.session = scheduler_session()
        app.add_routes(api.routes())
        # The proxy outlives this process: event numbers must never repeat, or it would wait for ones it has seen.
        self.proxy.events, self.proxy._next_id = [], int(time.time() * 1000)  # noqa: SLF001 - upstream starts at 1
        self.proxy.offset = self.proxy._next_id - 1  # noqa: SLF001
        for path, target in dashboard_routes(self.proxy.prefix, self.settings.dashboards_port):
            await self.proxy.add_route(kind="PATH", path=path, target=target)

    async def do_setup(self) -> None:
        """The runtime's start, and the loop that ends clusters with their sessions."""
        await self.runtime.setup(self._on_end)
        for cluster in self.db.active_clusters():
            if cluster.state.get("reason"):  # of an end that a crash kept from coming
                self._remember(cluster, reason="")
        active = {cluster.name for cluster in self.db.active_clusters()}
        for name in await self.runtime.clusters() - active:
            await self.runtime.stop_cluster(name)
        self.task_pool.spawn(self._sessions_loop())

    async def do_cleanup(self) -> None:
        """Let go: clusters belong to their sessions, not to this process."""
        await self.runtime.close()

    # What may be had

    async def get_cluster_options(self, user: GatewayUser) -> Options:
        """What this person may choose now."""
        return options_for(user, self.runtime.sessions(user.name), self.settings)

    async def start_cluster(self, user: GatewayUser, cluster_options: dict[str, Any]) -> str:
        """The name of a new cluster. Raises PublicException with a sentence; its room is reserved from here on."""
        options, config = await self.process_cluster_options(user, cluster_options)
        wanted = limits.Reservation("", user.name, frozenset(user.groups), 0, config.worker_cores, config.worker_memory)
        if not self.room.has(wanted):
            await self.room.let_others_end(wanted)
        # No await between the check and the row: two requests at once cannot both get the last room.
        self.room.require(wanted)
        cluster = self._new_row(user, options, config)
        self.log.info("Created cluster %s for user %s", cluster.name, user.name)
        self.queue.put(cluster)
        return str(cluster.name)

    def _new_row(self, user: GatewayUser, options: dict[str, Any], config: Any) -> Any:
        """A row for a new cluster. SQLAlchemyError when it cannot be written; then nothing is left of it."""
        known = set(self.db.name_to_cluster)
        try:
            return self.db.create_cluster(user.name, options, config.to_dict())
        except SQLAlchemyError:
            for name in self.db.name_to_cluster.keys() - known:  # upstream knows it before it is written
                lost = self.db.name_to_cluster.pop(name)
                del self.db.id_to_cluster[lost.id], self.db.username_to_clusters[user.name][name]
            raise

    async def forward_message_to_scheduler(self, cluster: Any, msg: dict[str, Any]) -> None:
        """Scale or adapt, when there is room for it; one wish after the other. Raises PublicException."""
        known = self.db.get_cluster(cluster.name)
        async with self._turns.setdefault(known.name, asyncio.Lock()):
            if known.status != JobStatus.RUNNING or not known.is_active():
                raise PublicException("This cluster does not run.")
            before = messages.wishes_of(known)
            wish = await self.room.wished(known, msg)
            # What there was stays reserved until the scheduler knows that it is not wanted any more.
            more = replace(wish, reserved=max(wish.reserved, before.reserved))
            self._remember(known, **more.to_state())
            try:
                await self._tell(known, wish.message)
            except BaseException:
                self._remember(known, **before.to_state())
                raise
            self._remember(known, **wish.to_state())

    async def _tell(self, cluster: Any, message: dict[str, Any]) -> None:
        try:
            await tell(self.session, cluster, message)
        except SchedulerGone as error:
            await self.stop_cluster(cluster.name, failed=True, reason="Its scheduler did not answer any more.")
            raise PublicException("This cluster does not run any more.") from error

    async def on_cluster_heartbeat(self, cluster_name: str, msg: dict[str, Any]) -> None:
        """What a scheduler says of itself: the person's code can say anything, so nothing is taken as it is."""
        cluster = self.db.get_cluster(cluster_name)
        if cluster is None:
            return
        await self._paces.setdefault(cluster, Pace()).keep()
        try:
            heartbeat = messages.read_heartbeat(
                msg,
                most_workers=messages.wishes_of(cluster).reserved,
                is_its_port=lambda port: self.runtime.is_port_of(cluster_name, port),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise PublicException("This is not a heartbeat of a scheduler.") from error
        await super().on_cluster_heartbeat(cluster_name, heartbeat)

    # How long it lives

    async def stop_cluster(self, cluster_name: str, failed: bool = False, reason: str = "") -> None:  # noqa: FBT001, FBT002 - upstream's signature
        """Stop a cluster and remember why."""
        cluster = self.db.get_cluster(cluster_name)
        if cluster is not None and cluster.is_active():
            self._remember(cluster, reason=reason or api.reason_of_request(self.settings))
        await super().stop_cluster(cluster_name, failed=failed)

    async def _cluster_to_closing(self, cluster: Any) -> None:
        """Say why, where upstream gives up on a cluster without a word."""
        if cluster.target == JobStatus.FAILED and not cluster.state.get("reason"):
            self._remember(cluster, reason=messages.why_given_up(cluster, self.worker_start_failure_limit))
        await super()._cluster_to_closing(cluster)

    async def _sessions_loop(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for cluster in list(self.db.active_clusters()):
                try:
                    await self._follow_session(cluster)
                except Exception:
                    self.log.exception("Looking after cluster %s failed", cluster.name)

    async def _follow_session(self, cluster: Any) -> None:
        """End a cluster whose session has been gone for longer than it may be."""
        gone = cluster.state.get("session_gone")
        if self.runtime.is_live(cluster.username, cluster.config.server_name):
            if gone is not None:
                self._remember(cluster, session_gone=None)
            return
        if gone is None:
            self._remember(cluster, session_gone=time.time())
            return
        if time.time() - gone >= self.settings.session_grace_seconds + cluster.config.keep_hours * _HOUR:
            await self.stop_cluster(cluster.name, reason="Its session ended.")

    async def cleanup_db_loop(self) -> None:
        """Forget clusters that ended long ago, and their logs with them."""
        while True:
            known = set(self.db.name_to_cluster)
            try:
                self.db.cleanup_expired(self.db_cluster_max_age)
                for name in known - self.db.name_to_cluster.keys():
                    await asyncio.to_thread(self.runtime.remove_logs, name)
            except Exception:
                self.log.exception("Forgetting old clusters failed")
            await asyncio.sleep(self.db_cleanup_period)

    def _remember(self, cluster: Any, **facts: Any) -> None:
        """Join facts into what the row of a cluster keeps across restarts."""
        self.db.update_cluster(cluster, state={**cluster.state, **facts})

    def _on_end(self, ended: ProcessEnded) -> None:
        """A process of a cluster ended by itself: at once what upstream's own checks would find much later."""
        cluster = self.db.get_cluster(ended.cluster)
        if cluster is None or not cluster.is_active():
            return
        if ended.process == SCHEDULER:
            self._remember(cluster, reason=ended.reason)
            self.db.update_cluster(cluster, target=JobStatus.FAILED)
            self.queue.put(cluster)
            return
        worker = cluster.workers.get(ended.process)
        if worker is None or worker.target > JobStatus.RUNNING:
            return
        if worker.status == JobStatus.SUBMITTED:
            cluster.worker_start_failure_count += 1
        closed = worker.close_expected
        self.db.update_worker(worker, target=JobStatus.STOPPED if closed else JobStatus.FAILED)
        self.queue.put(worker)

    # What the runtime does

    async def do_start_cluster(self, cluster: Any) -> AsyncIterator[dict[str, Any]]:
        """Start the scheduler; the state keeps the reason when that fails."""
        try:
            await self.runtime.start_cluster(self._order(cluster))
        except LauncherError as error:
            yield {**cluster.state, "reason": error.message}
            raise
        yield {**cluster.state}

    def _order(self, cluster: Any) -> ClusterOrder:
        sessions = self.runtime.sessions(cluster.username)
        session = next((one for one in sessions if one.server_name == cluster.config.server_name), None)
        if session is None or session.refusal:
            raise ClusterStartFailed("The session of this cluster has ended.", hint="Start the session again.")
        return ClusterOrder(
            name=cluster.name,
            session=session,
            scheduler_arguments=tuple(self.get_scheduler_command(cluster)[len(cluster.config.scheduler_cmd) :]),
            variables={**self.get_scheduler_env(cluster), **self.get_worker_env(cluster)},
            certificate=cluster.tls_cert,
            private_key=cluster.tls_key,
            home_writable=self.settings.home == "read-write",
            keep_seconds=cluster.config.keep_hours * _HOUR,
        )

    async def do_stop_cluster(self, cluster: Any) -> None:
        """End all of it."""
        await self.runtime.stop_cluster(cluster.name)

    async def do_check_clusters(self, clusters: list[Any]) -> list[bool]:
        """Whether they run."""
        return [SCHEDULER in await self.runtime.running(cluster.name) for cluster in clusters]

    async def do_start_worker(self, worker: Any) -> AsyncIterator[dict[str, Any]]:
        """Start a worker."""
        config = worker.cluster.config
        arguments = self.get_worker_command(worker.cluster, worker.name)[len(config.worker_cmd) :]
        order = WorkerOrder(worker.name, tuple(arguments), config.worker_memory, config.worker_cores)
        await self.runtime.start_worker(worker.cluster.name, order)
        yield {"started": True}

    async def do_stop_worker(self, worker: Any) -> None:
        """End a worker."""
        await self.runtime.stop_worker(worker.cluster.name, worker.name)

    async def do_check_workers(self, workers: list[Any]) -> list[bool]:
        """Whether they run."""
        running = {name: await self.runtime.running(name) for name in {worker.cluster.name for worker in workers}}
        return [worker.name in running[worker.cluster.name] for worker in workers]

    def get_tls_paths(self, cluster: Any) -> tuple[str, str]:
        """Where a cluster finds its certificate and key."""
        del cluster
        return CERTIFICATE, PRIVATE_KEY

    async def _check_cluster_proxied(self, cluster: Any) -> None:
        """The route of the scheduler's TLS. None for dashboards: they are behind the guard only."""
        if not cluster.added_to_proxies:
            await self.proxy.add_route(kind="SNI", sni=cluster.name, target=cluster.scheduler_address)
            cluster.added_to_proxies = True

    # What is seen

    def find(self, name: str) -> Dashboard | None:
        """The dashboard of a running cluster, for the guard."""
        cluster = self.db.get_cluster(name)
        if cluster is None or cluster.status != JobStatus.RUNNING or not cluster.dashboard_address:
            return None
        return Dashboard(cluster.username, cluster.dashboard_address, cluster.token)
