"""What a cluster of the process runtime sees: what its session sees, without the session's server."""

from __future__ import annotations

import asyncio
import os
import pwd
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from launcher.builders.process.runner import kill_tree, marked_processes
from launcher.builders.process.sandbox import ENVIRONMENT, HOME, Sandbox
from launcher.builders.process.store import EnvironmentStore
from launcher.config import Settings
from launcher.dask.base import RUN_DIRECTORY, WorkerOrder
from launcher.dask.nurseries.description import COMMAND, binds_of_session, furnish
from launcher.dask.nurseries.places import Places
from launcher.dask.nurseries.sandbox import ClusterSandbox, ClusterStart
from launcher.errors import ClusterStartFailed, SessionStartFailed
from launcher.hub.records import SessionRecord
from launcher.hub.session import SHARED, session_binds
from launcher.models import SessionMode

CLUSTER_VARIABLE = "LAUNCHER_DASK_CLUSTER"
"""Set on the outermost process of every cluster to its directory, so that a gateway that was started again finds it."""
_END_SECONDS = 30.0


class ProcessSandbox:
    """A `ClusterSandbox`: bubblewrap, with the first process of its own process namespace below it."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._process = process
        self._inside: list[psutil.Process] = []

    async def adopt(self) -> None:
        """Nothing can be half done."""

    async def look_inside(self) -> None:
        """The first process inside, which the kernel ends after all others there."""
        self._inside = self._inside or await asyncio.to_thread(_first_inside, self.pid)

    async def ended(self) -> int | None:
        """The outermost process ends on a word from the first inside, which waits for all others: they could go on."""
        _kill(self._inside)
        return self._process.wait() if self._process is not None else None

    async def kill(self) -> None:
        """Kill it by both."""
        await asyncio.to_thread(kill_tree, self.pid)

    async def clear(self) -> None:
        """Wait until nothing runs."""
        _kill(self._inside)
        await asyncio.to_thread(psutil.wait_procs, self._inside, timeout=_END_SECONDS)

    async def admit(self, worker: WorkerOrder) -> None:
        """Nothing limits the sandbox as a whole: each worker limits itself."""

    def dismiss(self, worker: str) -> None:
        """Nothing was reserved for it."""

    def is_port(self, port: int) -> bool:
        """Its code reaches every port of our loopback anyway."""
        del port
        return True

    def release(self) -> None:
        """Let go of it."""
        if self._process is not None and self._process.returncode is None:
            self._process.returncode = 0  # it outlives us on purpose; Popen would warn


class ProcessSandboxes:
    """A `ClusterSandboxes` on this machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._places = Places(settings.state)

    async def start(self, start: ClusterStart) -> ClusterSandbox:
        """Start bubblewrap, as the user who owns the session."""
        sandbox = _sandbox_of(self._settings, start)
        furnish(start, orders=start.orders.fileno())
        process = _spawn(sandbox.argv([self._python(start.record), *COMMAND]), start)
        return ProcessSandbox(process.pid, process)

    def _python(self, record: SessionRecord) -> str:
        """The Python that prepared the session."""
        full = False
        if record.environment is not None:
            meta = EnvironmentStore(self._settings.state / "environments").meta(record.environment)
            full = meta is not None and meta.mode == SessionMode.FULL.value
        return str(Path(ENVIRONMENT if full else self._settings.server_environment, "bin", "python"))

    async def find(self) -> dict[str, ClusterSandbox]:
        """The sandbox of every cluster of this state directory, whoever started it."""
        return await asyncio.to_thread(self._find)

    def _find(self) -> dict[str, ClusterSandbox]:
        known = {process.pid: (process, marked) for process, marked in marked_processes(CLUSTER_VARIABLE)}
        found: dict[str, ClusterSandbox] = {}
        for pid, (process, marked) in known.items():
            with suppress(psutil.Error):  # it ended meanwhile
                cluster = self._places.name_of(marked)
                if cluster and process.ppid() not in known:
                    found[cluster] = ProcessSandbox(pid)
        return found

    async def close(self) -> None:
        """Nothing is held."""


def _sandbox_of(settings: Settings, start: ClusterStart) -> Sandbox:
    """The sandbox of a cluster. Raises ClusterStartFailed when the environment or the session has gone."""
    order, record, place = start.order, start.record, start.place
    try:
        binds = session_binds(settings, record.environment)
    except SessionStartFailed as error:
        raise ClusterStartFailed(error.message, hint=error.hint) from error
    binds += [(place.inside, RUN_DIRECTORY), *binds_of_session(Path(record.run_directory))]
    home = (Path(record.home), HOME)
    return Sandbox(
        read_only=tuple(dict.fromkeys([*binds, *([] if order.home_writable else [home])])),
        read_write=((place.tmp, "/tmp"), *([home] if order.home_writable else [])),  # noqa: S108 - the path inside
        directories=("/run", SHARED),
        working_directory=HOME,
        share_network=True,
        die_with_parent=False,
        tmp_bytes=None,
    )


def _spawn(argv: list[str], start: ClusterStart) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=start.log,
        stderr=start.log,
        pass_fds=(start.orders.fileno(),),
        env={"PATH": os.defpath, CLUSTER_VARIABLE: str(start.place.directory)},
        start_new_session=True,
        **_owner(start.record),
    )


def _owner(record: SessionRecord) -> dict[str, Any]:
    """Arguments of `subprocess.Popen`: the user who owns the session, where that is not ours."""
    if record.owner is None:
        return {}
    uid, gid = record.owner
    return {"user": uid, "group": gid, "extra_groups": os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)}


def _first_inside(pid: int) -> list[psutil.Process]:
    """The first process of a sandbox's own process namespace."""
    try:
        return psutil.Process(pid).children()
    except psutil.Error:
        return []


def _kill(inside: list[psutil.Process]) -> None:
    """Kill first processes of sandboxes; the kernel then kills whatever else is in them."""
    for process in inside:
        with suppress(psutil.Error):
            process.kill()
