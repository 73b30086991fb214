"""What a cluster's scheduler can do beyond Dask's; a ``--preload`` after the gateway's own."""

from __future__ import annotations

from typing import Any

_CLUSTER: dict[str, Any] = {}


def configure(cluster: dict[str, Any]) -> None:
    """Take the cluster file, see `nursery`."""
    _CLUSTER.update(cluster)


async def dask_setup(scheduler: Any) -> None:
    """Called by Dask when the scheduler listens."""
