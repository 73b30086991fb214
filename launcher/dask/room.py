"""What clusters hold, and whether there is room for more."""

from __future__ import annotations

import asyncio
from typing import Any

from dask_gateway_server.backends.base import PublicException
from dask_gateway_server.backends.db_base import JobStatus

from launcher.dask import limits, messages
from launcher.dask.config import DaskSettings
from launcher.errors import LauncherError

_ENDING_SECONDS = 5.0


class Room:
    """Counts over the rows of ``db``, upstream's `DataManager`."""

    def __init__(self, db: Any, settings: DaskSettings) -> None:
        self._db = db
        self._settings = settings

    def held_by(self, cluster: Any) -> limits.Reservation:
        """What a cluster holds."""
        workers = max(messages.wishes_of(cluster).reserved, len(cluster.active_workers()))
        config = cluster.config
        groups = frozenset(config.group_names.split("\n")) - {""}
        return limits.Reservation(
            cluster.name, cluster.username, groups, workers, config.worker_cores, config.worker_memory
        )

    def held(self) -> list[limits.Reservation]:
        """What all clusters hold of which something may still run: also those that are being stopped."""
        return [self.held_by(cluster) for cluster in self._unfinished()]

    def require(self, wanted: limits.Reservation) -> None:
        """Raises PublicException with a sentence when this does not fit beside other clusters."""
        try:
            limits.require_room(wanted, self._others(wanted), self._settings)
        except LauncherError as error:
            raise PublicException(f"{error.message} {error.hint}") from error

    def has(self, wanted: limits.Reservation) -> bool:
        """Whether this fits beside other clusters."""
        try:
            self.require(wanted)
        except PublicException:
            return False
        return True

    async def wished(self, cluster: Any, message: dict[str, Any]) -> messages.Wish:
        """What somebody wants of a cluster. Raises PublicException when there is no room for it, or it is none.

        There is no await between the last look and the return: who remembers the wish at once has the room.
        """
        takes_the_rest = message.get("op") == "adapt" and message.get("maximum") is None
        wish, wanted = self._read(cluster, message)
        if takes_the_rest or not self.has(wanted):
            await self.let_others_end(wanted)
            wish, wanted = self._read(cluster, message)
        self.require(wanted)
        return wish

    def _read(self, cluster: Any, message: dict[str, Any]) -> tuple[messages.Wish, limits.Reservation]:
        held = self.held_by(cluster)
        most = limits.most_workers(held, self._others(held), self._settings)
        try:
            wish = messages.read_wish(message, before=messages.wishes_of(cluster), most=most)
        except ValueError as error:
            raise PublicException(str(error)) from error
        return wish, messages.sized(held, wish.reserved)

    async def let_others_end(self, wanted: limits.Reservation) -> None:
        """Wait a little for clusters that are being stopped and hold what this one may get."""
        groups = wanted.groups & self._settings.group_limits.keys()
        ending = [
            asyncio.ensure_future(cluster.shutdown)
            for cluster in self._unfinished()
            if not cluster.is_active()
            and (cluster.username == wanted.user or not groups.isdisjoint(self.held_by(cluster).groups))
        ]
        if ending:
            _, late = await asyncio.wait(ending, timeout=_ENDING_SECONDS)
            for one in late:
                one.cancel()

    def _others(self, than: limits.Reservation) -> list[limits.Reservation]:
        return [one for one in self.held() if one.cluster != than.cluster]

    def _unfinished(self) -> list[Any]:
        return [cluster for cluster in self._db.name_to_cluster.values() if cluster.status < JobStatus.STOPPED]
