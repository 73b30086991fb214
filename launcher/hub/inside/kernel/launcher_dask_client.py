"""Let ``Client("gateway://…/<cluster>")`` work, which is the code that JupyterLab's Dask panel writes for a cluster.

Kernels of a session have this folder on their import path and `credentials` as Dask's
``distributed.client.security-loader``.
"""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_SCHEME = "gateway://"


def credentials(information: dict[str, Any]) -> Any:
    """What a client needs to connect to ``information["address"]``; None for addresses that are not a gateway's.

    Raises what `dask_gateway` raises for clusters that are not there or not the person's, ValueError for one that
    does not run.
    """
    address = str(information["address"])
    if not address.startswith(_SCHEME):
        return None
    name = address.rstrip("/").rpartition("/")[2]
    # In a thread of its own: a kernel's own event loop runs already, and this one is gone when the answer is there.
    with ThreadPoolExecutor(1) as thread:
        report = thread.submit(asyncio.run, _report(name)).result()
    if report.security is None:
        raise ValueError(f"Cluster {name} does not run: it is {report.status.name.lower()}.")
    return report.security


async def _report(cluster: str) -> Any:
    dask_gateway = importlib.import_module("dask_gateway")  # only here, and it is not in every environment
    async with dask_gateway.Gateway(asynchronous=True) as gateway:
        return await gateway.get_cluster(cluster)
