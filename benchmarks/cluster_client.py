"""One sample of a Dask cluster, run in a session with the session's Python: ``python cluster_client.py ORDER``.

ORDER is one JSON object::

    job         "start", "scale" or "tasks"
    kind        "launcher", "local" or "stock"
    observer    [host, port] of who watches from outside, see `clusters`
    dashboard   for "local": whether it gets one
    stock       for "stock": {"address", "proxy_address"}

Says one JSON line at every point where the observer shall look, and waits for a line each time: ``{"look": name,
"cluster": name}``. The last line is ``{"values": {quantity: seconds}}``. What a person would have imported before the
first line about a cluster is imported before the clock starts; a cluster's own processes import on the clock.
"""

# Processes that LocalCluster spawns import this file: nothing here but the standard library.
from __future__ import annotations

import gc
import json
import operator
import socket
import sys
import time
from typing import Any

_PATIENCE = 90
_LATENCIES = 300
_MEMORY_OF_A_WORKER = "2GiB"  # the default of both gateways


class Observer:
    """Who looks from outside when asked."""

    def __init__(self, address: list[Any]) -> None:
        self._line = socket.create_connection((address[0], address[1]), timeout=_PATIENCE).makefile("rw")

    def look(self, name: str, cluster: Any = None) -> None:
        """Return when it has looked."""
        self._say({"look": name, "cluster": getattr(cluster, "name", "")})
        if not self._line.readline():
            raise RuntimeError("the observer has gone")

    def tell(self, values: dict[str, float]) -> None:
        """The end."""
        self._say({"values": values})

    def _say(self, message: dict[str, Any]) -> None:
        self._line.write(json.dumps(message) + "\n")
        self._line.flush()


class Peer:
    """One kind of cluster, opened the way its users open it."""

    def __init__(self, order: dict[str, Any]) -> None:
        import dask_gateway  # noqa: F401
        import distributed

        if order["kind"] == "local" and order["dashboard"]:
            import distributed.dashboard.scheduler  # its scheduler runs in this process
        self._order = order
        self._distributed = distributed

    def open(self, workers: int) -> Any:
        """A cluster that was asked for so many workers."""
        if self._order["kind"] == "local":
            address = "127.0.0.1:0" if self._order["dashboard"] else None
            return self._distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=address,
                memory_limit=_MEMORY_OF_A_WORKER,
            )
        cluster = self._gateway().new_cluster()
        if workers:
            cluster.scale(workers)
        return cluster

    def _gateway(self) -> Any:
        from dask_gateway import BasicAuth, Gateway

        if self._order["kind"] == "launcher":
            return Gateway()
        return Gateway(**self._order["stock"], public_address=None, auth=BasicAuth("benchmark", "benchmark"))

    def close(self, cluster: Any) -> None:
        """End it, the way its users do."""
        if self._order["kind"] == "local":
            cluster.close()
        else:
            cluster.shutdown()


def start(peer: Peer, observer: Observer) -> dict[str, float]:
    """From nothing to the first result with two workers, and back."""
    observer.look("before")
    values: dict[str, float] = {}
    began = time.monotonic()
    cluster = peer.open(2)
    values["cluster object"] = time.monotonic() - began
    client = cluster.get_client()
    values["client connected"] = time.monotonic() - began
    total = client.submit(sum, client.map(operator.neg, range(20))).result(timeout=_PATIENCE)
    values["first result"] = time.monotonic() - began
    client.wait_for_workers(2, timeout=_PATIENCE)
    values["2 workers"] = time.monotonic() - began
    if total != -sum(range(20)):
        raise RuntimeError(f"wrong result {total}")
    observer.look("memory, 2 workers", cluster)
    return values | _close(peer, cluster, client, observer)


def scale(peer: Peer, observer: Observer) -> dict[str, float]:
    """From no worker to eight of a cluster that is there."""
    observer.look("before")
    cluster = peer.open(0)
    client = cluster.get_client()
    time.sleep(1)  # what a new cluster still does in the background is not part of it
    began = time.monotonic()
    cluster.scale(8)
    client.wait_for_workers(8, timeout=_PATIENCE)
    values = {"0 to 8 workers": time.monotonic() - began}
    observer.look("memory, 8 workers", cluster)
    _close(peer, cluster, client, observer)
    return values


def tasks(peer: Peer, observer: Observer) -> dict[str, float]:
    """What a task costs that does nothing: alone, and among many."""
    del observer  # there is nothing to see from outside
    cluster = peer.open(2)
    client = cluster.get_client()
    client.wait_for_workers(2, timeout=_PATIENCE)
    _many(client, 100)
    alone = sorted(_seconds_of_one(client, number) for number in range(_LATENCIES))
    values = {
        "one task alone, p50": alone[_LATENCIES // 2] * 1000,
        "one task alone, p99": alone[int(_LATENCIES * 0.99)] * 1000,
    }
    for count in (1000, 10000):
        seconds = _many(client, count)
        values[f"{count} tasks, each"] = seconds / count * 1e6
        values[f"{count} tasks, rate"] = count / seconds
    client.close()
    peer.close(cluster)
    return values


def _seconds_of_one(client: Any, number: int) -> float:
    began = time.monotonic()
    client.submit(operator.neg, number, pure=False).result(timeout=_PATIENCE)
    return time.monotonic() - began


def _many(client: Any, count: int) -> float:
    """Seconds from submitting to having all results here."""
    gc.collect()
    began = time.monotonic()
    futures = client.map(operator.neg, range(count), pure=False)
    results = client.gather(futures)
    seconds = time.monotonic() - began
    if len(results) != count:
        raise RuntimeError(f"{len(results)} results of {count}")
    del futures, results
    time.sleep(1)  # their release is not part of what comes next
    return seconds


def _close(peer: Peer, cluster: Any, client: Any, observer: Observer) -> dict[str, float]:
    observer.look("end", cluster)
    began = time.monotonic()
    client.close()
    peer.close(cluster)
    return {"shutdown returns": time.monotonic() - began}


def main() -> None:
    """Do what is ordered."""
    order = json.loads(sys.argv[1])
    jobs = {"start": start, "scale": scale, "tasks": tasks}
    observer = Observer(order["observer"])
    observer.tell(jobs[order["job"]](Peer(order), observer))


if __name__ == "__main__":
    main()
