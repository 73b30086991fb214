"""The seam between the gateway and a runtime: which sessions live, and how their clusters are run.

`launcher.dask.backend` decides (who, how much, how long); a `ClusterRuntime` obeys. The gateway may be restarted at
any time: everything a runtime needs to find its clusters again is outside the gateway's process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

RUN_DIRECTORY = "/run/cluster"
"""Inside a cluster: certificates and logs of this cluster."""
CERTIFICATE = f"{RUN_DIRECTORY}/dask.crt"
PRIVATE_KEY = f"{RUN_DIRECTORY}/dask.pem"
SCHEDULER = "scheduler"
"""The name of the scheduler among the processes of a cluster; workers have hexadecimal names."""


@dataclass(frozen=True)
class LiveSession:
    """A running session, as its spawner recorded it. Never what a client says.

    server_name: "" for the regular session. environment: what the session runs, `BuiltEnvironment.reference`, or
        "server" for the launcher's own environment. title: what a person calls it.
    refusal: why this session may not have clusters, a sentence; "" when it may.
    """

    user: str
    server_name: str
    environment: str
    title: str
    refusal: str = ""


@dataclass(frozen=True)
class ClusterOrder:
    """All a runtime needs to start a cluster.

    name: the gateway's name of the cluster, 32 hexadecimal digits: every outside object carries it before it exists.
    scheduler_arguments: of ``dask scheduler``. variables: what the gateway wants set for all processes of the cluster.
    certificate, private_key: PEM, to be found at `CERTIFICATE` and `PRIVATE_KEY`.
    home_writable: whether workers may write the home. keep_seconds: how long it may outlive its session.
    """

    name: str
    session: LiveSession
    scheduler_arguments: tuple[str, ...]
    variables: Mapping[str, str]
    certificate: bytes
    private_key: bytes
    home_writable: bool
    keep_seconds: float


@dataclass(frozen=True)
class WorkerOrder:
    """All a runtime needs to start a worker of a cluster.

    name: the gateway's, hexadecimal. arguments: of ``dask worker``. memory_bytes: about what it may take. cores: what
    it is meant to use.
    """

    name: str
    arguments: tuple[str, ...]
    memory_bytes: int
    cores: int


@dataclass(frozen=True)
class ProcessEnded:
    """A process of a cluster has ended by itself. process: `SCHEDULER` (then the whole cluster) or a worker's name.

    reason: what happened, a sentence for its owner.
    """

    cluster: str
    process: str
    reason: str


class ClusterRuntime(Protocol):
    """Runs clusters in the sessions' environments, isolated as the sessions are."""

    def sessions(self, user: str) -> list[LiveSession]:
        """The person's live sessions, those without Dask too; the youngest first."""

    def is_live(self, user: str, server_name: str) -> bool:
        """Whether that session runs now."""

    async def setup(self, on_end: Callable[[ProcessEnded], None]) -> None:
        """Find what runs already. ``on_end`` is called whenever a process ends that was not asked to."""

    async def close(self) -> None:
        """Let go of everything without ending anything: clusters outlive the gateway."""

    async def start_cluster(self, order: ClusterOrder) -> None:
        """Start the scheduler; what an earlier try left under this name is removed first.

        Raises ClusterStartFailed with a sentence when the session or its environment has gone, or cannot run Dask.
        """

    def is_port_of(self, cluster: str, port: int) -> bool:
        """Whether a port of our loopback can be the cluster's: it says itself where it is reached, and may lie."""

    async def start_worker(self, cluster: str, worker: WorkerOrder) -> None:
        """Start a worker. Raises ClusterStartFailed when the cluster does not run."""

    async def stop_worker(self, cluster: str, worker: str) -> None:
        """End a worker. One that is not there is fine."""

    async def stop_cluster(self, cluster: str) -> None:
        """End everything of a cluster and remove it, but for its logs. One that is not there is fine."""

    async def running(self, cluster: str) -> frozenset[str]:
        """The names of the cluster's processes; empty when it does not run."""

    async def clusters(self) -> frozenset[str]:
        """Every cluster of which something is left, whether the gateway knows it or not."""

    def log_names(self, cluster: str) -> list[str]:
        """Processes of which there is a log, the scheduler first; also after the cluster has ended."""

    def read_log(self, cluster: str, process: str, *, limit: int) -> str:
        """The last ``limit`` bytes of a process's output, as text. "" when there is none."""

    def remove_logs(self, cluster: str) -> None:
        """Forget the logs of a cluster that has ended."""
