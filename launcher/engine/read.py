"""Answers of an engine as our own words. Podman and docker differ in small things, which end here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from launcher.engine.base import Container, EngineInfo, Image

_LIMITS = {"MemoryLimit": "memory", "CpuCfsQuota": "cpu", "PidsLimit": "pids"}
_STATES = {"configured": "created", "initialized": "created", "stopped": "exited"}  # podman's own words


def engine_info(info: Mapping[str, Any], version: Mapping[str, Any]) -> EngineInfo:
    """From Docker's ``GET /info`` and ``GET /version``."""
    components = " ".join(str(one.get("Name", "")) for one in version.get("Components") or ())
    options = " ".join(info.get("SecurityOptions") or ())
    return EngineInfo(
        name="podman" if "podman" in components.lower() else "docker",
        version=str(version.get("Version", "")),
        rootless=bool(info.get("Rootless")) or "rootless" in options,
        storage_driver=str(info.get("Driver", "")),
        storage=str(info.get("DockerRootDir", "")),
        cgroup_version=2 if str(info.get("CgroupVersion", "1")).lstrip("v") == "2" else 1,
        limits=frozenset(word for key, word in _LIMITS.items() if info.get(key)),
    )


def image_from(found: Mapping[str, Any]) -> Image:
    """From Docker's ``GET /images/{name}/json``."""
    config = found.get("Config") or {}
    return Image(
        id=_with_algorithm(found["Id"]),
        names=tuple(found.get("RepoTags") or ()),
        digests=tuple(found.get("RepoDigests") or ()),
        labels=dict(config.get("Labels") or {}),
        size=int(found.get("VirtualSize") or found.get("Size") or 0),
        created=_time(found.get("Created", "")),
        layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
        environment=dict(pair.split("=", 1) for pair in config.get("Env") or () if "=" in pair),
        user=str(config.get("User") or ""),
        working_directory=str(config.get("WorkingDir") or "/"),
    )


def container_from(found: Mapping[str, Any]) -> Container:
    """From Docker's ``GET /containers/{name}/json``."""
    state = found["State"]
    status = _STATES.get(state["Status"], state["Status"])
    ended = status in {"exited", "dead"}
    return Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        image=_with_algorithm(found["Image"]),
        labels=dict(found["Config"].get("Labels") or {}),
        state=status,
        created=_time(found.get("Created", "")),
        exit_status=int(state["ExitCode"]) if ended else None,
        out_of_memory=bool(state.get("OOMKilled")),
        memory_bytes=int((found.get("HostConfig") or {}).get("Memory") or 0),
        pid=int(state.get("Pid") or 0),
    )


def _with_algorithm(identifier: str) -> str:
    return identifier if identifier.startswith("sha256:") else f"sha256:{identifier}"


def _time(text: str) -> datetime:
    """A time such as ``2026-01-02T03:04:05.678901234Z``; long ago when it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
