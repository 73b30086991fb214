"""The one place that knows which runtime is on: settings in, the runtime's parts out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from launcher.builders.base import Builder
from launcher.builders.process.builder import ProcessBuilder
from launcher.builders.process.config import ProcessBuilderConfig
from launcher.builders.uv.egress import EgressMode
from launcher.builders.uv.limits import BuildLimits
from launcher.config import Settings
from launcher.dask.base import ClusterRuntime
from launcher.engine.config import ContainerSettings


def make_builder(settings: Settings) -> Builder:
    """The builder of the configured runtime.

    Raises ConfigurationInvalid, SandboxUnavailable, EngineUnavailable, EngineError. Asks the engine, if there is one.
    """
    limits = BuildLimits(
        seconds=settings.build_timeout_seconds,
        memory_bytes=settings.build_memory_bytes,
        disk_bytes=settings.build_disk_bytes,
        processes=settings.build_processes,
    )
    common: dict[str, Any] = {
        "allow_hosts": settings.allow_hosts,
        "egress": EgressMode(settings.build_network),
        "limits": limits,
        "dask_requirements": settings.dask.packages if settings.dask else (),
        **({"index_url": settings.index_url} if settings.index_url else {}),
    }
    if settings.containers is not None:
        return _container_builder(settings, settings.containers, common)
    config = ProcessBuilderConfig.from_environment(
        settings.state, compile_bytecode=True, python_downloads=settings.allow_python_downloads, **common
    )
    return ProcessBuilder(config)


def _container_builder(settings: Settings, containers: ContainerSettings, common: dict[str, Any]) -> Builder:
    from launcher.builders.container.builder import ContainerBuilder
    from launcher.builders.container.config import ContainerBuilderConfig
    from launcher.builders.container.site import look_at
    from launcher.engine.base_image import base_image_name
    from launcher.engine.find import find_engine
    from launcher.engine.labels import Kind, ours

    address = find_engine(containers.engine, settings.state)
    labels = ours(settings.state, Kind.BUILD)
    with ThreadPoolExecutor(1) as aside:  # the caller's own event loop may be running
        site = aside.submit(asyncio.run, look_at(address, base_image_name(containers), labels)).result()
    return ContainerBuilder(ContainerBuilderConfig.from_environment(settings.state, **common), site)


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
