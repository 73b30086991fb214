"""What a runtime brings: sandboxes for clusters. All else about a nursery is the same for every runtime."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from launcher.dask.base import ClusterOrder, WorkerOrder
from launcher.dask.nurseries.places import Place
from launcher.hub.records import SessionRecord


@dataclass(frozen=True)
class ClusterStart:
    """A cluster that is to be started.

    orders: a listening socket, which the nursery takes orders on. log: descriptor of the scheduler's log; both stay
    the caller's. patience: what the nursery reads of how long it waits, see ``launcher/hub/inside/nursery.py``.
    """

    order: ClusterOrder
    record: SessionRecord
    place: Place
    orders: socket.socket
    log: int
    patience: Mapping[str, Any] = field(default_factory=dict)


class ClusterSandbox(Protocol):
    """What one cluster runs in, whoever started it."""

    @property
    def pid(self) -> int:
        """Its outermost process on this machine: when that has ended, the cluster has. 0 when it has ended already."""

    async def adopt(self) -> None:
        """Another gateway started it: bring in order what may have been left half done."""

    async def look_inside(self) -> None:
        """Take note of what will be needed to end it for certain; called while it runs."""

    async def ended(self) -> int | None:
        """Its outermost process has ended: nothing may outlive it. Returns how, as `subprocess` has it, if known."""

    async def kill(self) -> None:
        """Kill everything in it."""

    async def clear(self) -> None:
        """Remove it, after its end; returns when nothing of it runs or is left."""

    async def admit(self, worker: WorkerOrder) -> None:
        """Make room for a worker that is about to start, within what the sandbox may take as a whole."""

    def dismiss(self, worker: str) -> None:
        """A worker ends: its room is taken back. One that was not admitted is fine."""

    def is_port(self, port: int) -> bool:
        """Whether a port of our loopback can be this cluster's."""

    def release(self) -> None:
        """Let go of it; it runs on."""


class ClusterSandboxes(Protocol):
    """Where sandboxes of clusters come from."""

    async def start(self, start: ClusterStart) -> ClusterSandbox:
        """Start the sandbox of a cluster whose place has been made.

        Raises ClusterStartFailed or OSError; then nothing of it runs.
        """

    async def find(self) -> dict[str, ClusterSandbox]:
        """Every cluster of this state directory that has a sandbox, by name."""

    async def close(self) -> None:
        """Let go of whatever is held to make sandboxes."""
