"""The service ``launcher dask-gateway``: a dask-gateway-server with the launcher's decisions in it."""

from __future__ import annotations


def serve() -> int:
    """Run the gateway until SIGTERM; killed, it starts again."""
    return 0
