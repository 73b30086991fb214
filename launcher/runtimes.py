"""The one place that knows which runtime is on: settings in, the runtime's parts out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launcher.builders.base import Builder
from launcher.builders.process.builder import ProcessBuilder
from launcher.builders.process.config import ProcessBuilderConfig
from launcher.builders.uv.egress import EgressMode
from launcher.builders.uv.limits import BuildLimits
from launcher.config import Settings
from launcher.dask.base import ClusterRuntime


def make_builder(settings: Settings) -> Builder:
    """The builder of the configured runtime. Raises ConfigurationInvalid or SandboxUnavailable."""
    limits = BuildLimits(
        seconds=settings.build_timeout_seconds,
        memory_bytes=settings.build_memory_bytes,
        disk_bytes=settings.build_disk_bytes,
        processes=settings.build_processes,
    )
    chosen: dict[str, Any] = {"index_url": settings.index_url} if settings.index_url else {}
    config = ProcessBuilderConfig.from_environment(
        settings.state,
        allow_hosts=settings.allow_hosts,
        egress=EgressMode(settings.build_network),
        limits=limits,
        compile_bytecode=True,
        python_downloads=settings.allow_python_downloads,
        dask_requirements=settings.dask.packages if settings.dask else (),
        **chosen,
    )
    return ProcessBuilder(config)


def environment_users(settings: Settings) -> Callable[[], frozenset[str]]:
    """A question to ask at any time: references of the environments that sessions run in."""
    from launcher.hub.records import SessionRecords

    return SessionRecords(settings.state).environments


def make_clusters(settings: Settings) -> ClusterRuntime:
    """What runs Dask clusters in the configured runtime."""
    from launcher.dask.nurseries.runtime import NurseryClusters

    if settings.containers is not None and settings.dask is not None:
        from launcher.dask.container.sandboxes import ContainerSandboxes

        return NurseryClusters(settings, ContainerSandboxes(settings, settings.dask, settings.containers))
    from launcher.dask.process.sandboxes import ProcessSandboxes

    return NurseryClusters(settings, ProcessSandboxes(settings))
