"""Stock dask-gateway on loopback: UnsafeLocalBackend and SimpleAuthenticator, both as PyPI has them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.observe import wait_for_200
from tests.support.hub import free_port

# Its default commands are console scripts that today's distributed has no longer. Everything else is its default.
_CONFIG = """
c.DaskGateway.address = "127.0.0.1:{api}"
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.Proxy.address = "127.0.0.1:{proxy}"
c.UnsafeLocalBackend.clusters_directory = {directory!r}
c.ClusterConfig.scheduler_cmd = [{python!r}, "-m", "dask", "scheduler"]
c.ClusterConfig.worker_cmd = [{python!r}, "-m", "dask", "worker"]
"""
_SECONDS = 30


@contextmanager
def stock_gateway(directory: Path, python: Path) -> Iterator[dict[str, str]]:
    """A gateway that answers, with its proxy; its clusters run ``python``. Gives the client's addresses."""
    clusters = directory / "clusters"
    clusters.mkdir(parents=True)
    api, proxy = free_port(), free_port()
    config = directory / "dask_gateway_config.py"
    config.write_text(_CONFIG.format(api=api, proxy=proxy, directory=str(clusters), python=str(python)))
    with (directory / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask_gateway_server", "-f", str(config)],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{proxy}"
        wait_for_200(f"{address}/api/health", {}, seconds=_SECONDS)
        yield {"address": address, "proxy_address": f"gateway://127.0.0.1:{proxy}"}
    finally:
        process.terminate()  # it stops its clusters
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
