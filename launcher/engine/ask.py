"""Our words as bodies and parameters of Docker's API: the other direction of `launcher.engine.read`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from launcher.engine.base import ContainerOrder, ImageConfig

_PERIOD = 100_000
_SMALLEST_QUOTA = 1000


def container_body(order: ContainerOrder) -> dict[str, Any]:
    """The body of ``POST /containers/create``."""
    return {
        "Image": order.image,
        "Entrypoint": [order.command[0]],
        "Cmd": list(order.command[1:]),
        "Env": [f"{name}={value}" for name, value in order.environment.items()],
        "WorkingDir": order.working_directory,
        "User": order.user,
        "Labels": dict(order.labels),
        # who shares a network shares its name, and docker does not want it said
        "Hostname": "" if order.network.startswith("container:") else order.host_name,
        "StopSignal": order.stop_signal,
        "HostConfig": host_config(order),
    }


def host_config(order: ContainerOrder) -> dict[str, Any]:
    """The part of it that is about this machine."""
    config: dict[str, Any] = {
        "NetworkMode": order.network,
        "UsernsMode": order.user_namespace,
        "Binds": [f"{one.source}:{one.target}:{'ro' if one.read_only else 'rw'}" for one in order.binds],
        "Tmpfs": {path: f"rw,nosuid,nodev,mode=1777,size={size}" for path, size in order.tmpfs.items()},
        "ReadonlyRootfs": not order.writable_root,
        "CapDrop": ["ALL"],
        "CapAdd": list(order.capabilities),
        "SecurityOpt": [] if order.new_privileges else ["no-new-privileges"],
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, (soft, hard) in order.ulimits.items()],
        "LogConfig": _log_config(order.log_bytes),
        "Init": order.init,
        "Privileged": False,
        **docker_limits(order.memory_bytes, order.cpus, order.processes),
    }
    if order.shared_memory_bytes is not None:
        config["ShmSize"] = order.shared_memory_bytes
    return config


def docker_limits(memory_bytes: int | None, cpus: float | None, processes: int | None) -> dict[str, int]:
    """Limits in Docker's words; None leaves one out."""
    limits: dict[str, int] = {}
    if memory_bytes is not None:
        limits |= {"Memory": memory_bytes, "MemorySwap": memory_bytes}
    if cpus is not None:
        limits |= {"CpuPeriod": _PERIOD, "CpuQuota": _quota(cpus)}
    if processes is not None:
        limits["PidsLimit"] = processes
    return limits


def podman_limits(memory_bytes: int | None, cpus: float | None, processes: int | None) -> dict[str, Any]:
    """The same in podman's own words."""
    limits: dict[str, Any] = {}
    if memory_bytes is not None:
        limits["memory"] = {"limit": memory_bytes, "swap": memory_bytes}
    if cpus is not None:
        limits["cpu"] = {"period": _PERIOD, "quota": _quota(cpus)}
    if processes is not None:
        limits["pids"] = {"limit": processes}
    return limits


def with_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """The parameters of a list: only what carries all labels; a value of "" means any."""
    if not labels:
        return {}
    wanted = [f"{name}={value}" if value else name for name, value in labels.items()]
    return {"filters": json.dumps({"label": wanted})}


def changes(config: ImageConfig) -> list[str]:
    """What an image says about itself, as instructions of a Dockerfile."""
    lines = [f"LABEL {name}={json.dumps(value)}" for name, value in config.labels.items()]
    lines += [f"ENV {name}={json.dumps(value)}" for name, value in config.environment.items()]
    if config.user is not None:
        lines.append(f"USER {config.user}")
    if config.working_directory is not None:
        lines.append(f"WORKDIR {config.working_directory}")
    if config.command is not None:
        lines.append("ENTRYPOINT []")  # else an image of a container starts what the container was started with
        lines.append(f"CMD {json.dumps(list(config.command))}")
    return lines


def _quota(cpus: float) -> int:
    return max(int(cpus * _PERIOD), _SMALLEST_QUOTA)


def _log_config(log_bytes: int) -> dict[str, Any]:
    if not log_bytes:
        return {"Type": "none", "Config": {}}
    return {"Type": "json-file", "Config": {"max-size": f"{max(log_bytes // 1024, 1)}k"}}
