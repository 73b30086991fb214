"""Where clusters of a test run, seen from outside: what differs between runtimes and the runtime hides."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from launcher.builders.process.runner import marked_processes
from launcher.config import Settings
from launcher.dask.container.sandboxes import ContainerSandboxes
from launcher.dask.nurseries.sandbox import ClusterSandboxes
from launcher.dask.process.sandboxes import CLUSTER_VARIABLE, ProcessSandboxes
from launcher.engine.base_image import SERVER_ENVIRONMENT


class ProcessGround:
    files = ("cluster.json", "dask.crt", "dask.pem")
    first_program = "bwrap"

    def sandboxes(self, settings: Settings) -> ClusterSandboxes:
        return ProcessSandboxes(settings)

    def traits(self) -> dict[str, Any]:
        return {}

    def session(self) -> dict[str, Any]:
        return {}

    def processes(self, cluster: str) -> list[psutil.Process]:
        return [process for process, marked in marked_processes(CLUSTER_VARIABLE) if Path(marked).name == cluster]


class ContainerGround:
    """Containers of an engine that listens at ``address``; sessions are of the base image ``image``."""

    files = ("cluster.json", "container.json", "dask.crt", "dask.pem")
    first_program = "python"

    def __init__(self, address: str, image: str) -> None:
        self.address = address
        self.image = image

    def sandboxes(self, settings: Settings) -> ClusterSandboxes:
        assert settings.dask is not None
        assert settings.containers is not None
        return ContainerSandboxes(settings, settings.dask, settings.containers)

    def traits(self) -> dict[str, Any]:
        return {"Launcher": {"runtime": "container"}, "LauncherContainers": {"engine": self.address}}

    def session(self) -> dict[str, Any]:
        owner = (1000, 1000) if os.getuid() == 0 else None
        return {"image": self.image, "python": f"{SERVER_ENVIRONMENT}/bin/python", "owner": owner}

    def processes(self, cluster: str) -> list[psutil.Process]:
        found = {process.pid: process for process in psutil.process_iter() if _sees(process, cluster)}
        roots = []
        for process in found.values():
            with suppress(psutil.Error):  # it ended meanwhile
                if process.ppid() not in found:
                    roots.append(process)
        return roots

    def memory_limit(self, cluster: str) -> int:
        """What the kernel lets the cluster's container have."""
        (root,) = self.processes(cluster)
        for line in Path(f"/proc/{root.pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                return int(Path(f"/sys/fs/cgroup/memory{path}/memory.limit_in_bytes").read_text())
        return int(Path(f"/sys/fs/cgroup{path}/memory.max").read_text())


def _sees(process: psutil.Process, cluster: str) -> bool:
    """Whether the process has the cluster's directory among its mounts."""
    try:
        return f"/clusters/{cluster}/inside " in Path(f"/proc/{process.pid}/mountinfo").read_text()
    except OSError:
        return False
