"""Let ``Client("gateway://…/<cluster>")`` work, which is the code that JupyterLab's Dask panel writes for a cluster.

Kernels of a session have this folder on their import path and `credentials` as Dask's
``distributed.client.security-loader``.
"""

from __future__ import annotations

import importlib
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
    dask_gateway = importlib.import_module("dask_gateway")  # only here, and it is not in every environment
    name = address.rstrip("/").rpartition("/")[2]
    with dask_gateway.Gateway() as gateway:
        report = gateway.get_cluster(name)
    if report.security is None:
        raise ValueError(f"Cluster {name} does not run: it is {report.status.name.lower()}.")
    return report.security
