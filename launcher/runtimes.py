"""The one place that knows which runtime is on: settings in, the runtime's parts out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from launcher.builders.base import Builder
from launcher.builders.process.builder import ProcessBuilder
from launcher.builders.process.config import ProcessBuilderConfig
from launcher.builders.uv.egress import EgressMode
from launcher.builders.uv.limits import BuildLimits
from launcher.config import Settings
from launcher.control_groups import CPU, MEMORY, enforceable
from launcher.dask.base import ClusterRuntime
from launcher.engine.config import ContainerSettings
from launcher.errors import EngineUnavailable, LauncherError
from launcher.findings import Finding
from launcher.models import Username
from launcher.policy.environments import ListedEnvironments
from launcher.policy.sizes import Enforceable, MachineSizes
from launcher.server_environment import is_current, make_server_environment
from launcher.sessions.session_offer import RegularSessions


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
    from launcher.builders.container.dockerfile.way import DockerfileWay
    from launcher.builders.container.shared import SharedBuilder
    from launcher.builders.container.site import look_at
    from launcher.builders.container.stock.way import StockWay
    from launcher.engine.base_image import base_image_name
    from launcher.engine.find import find_engine
    from launcher.engine.labels import Kind, ours
    from launcher.engine.registry import configured_registry

    address = find_engine(containers.engine, settings.state)
    labels = ours(settings.state, Kind.BUILD)
    with ThreadPoolExecutor(1) as aside:  # the caller's own event loop may be running
        site = aside.submit(asyncio.run, look_at(address, base_image_name(containers), labels)).result()
    config = ContainerBuilderConfig.from_environment(settings.state, **common)
    dockerfiles = DockerfileWay(site, config, containers.allowed_base_images)
    stock = StockWay(site, config, containers.repo2docker_base_image)
    builder = ContainerBuilder(config, site, [dockerfiles, stock])
    registry = configured_registry(containers, settings.state)
    if registry is None:
        return builder
    return SharedBuilder(builder, registry, site.engine)


def wait_for_runtime(settings: Settings, say: Callable[[LauncherError], None], *, pause_seconds: float = 2) -> None:
    """Return when the runtime can be asked, so that a hub may start before its container engine does.

    ``say`` is told what is missing, once as long as that stays the same. A signal that ends the process ends the wait.
    """
    if settings.containers is None:
        return
    from launcher.engine.find import find_engine

    said = ""
    while True:
        try:
            find_engine(settings.containers.engine, settings.state)
        except EngineUnavailable as error:
            if str(error) != said:
                said = str(error)
                say(error)
            time.sleep(pause_seconds)
        else:
            return


def environment_users(settings: Settings) -> Callable[[], frozenset[str]]:
    """A question to ask at any time: references of the environments that sessions and their clusters run in."""
    from launcher.dask.nurseries.description import environments_of
    from launcher.dask.nurseries.places import Places
    from launcher.hub.records import SessionRecords

    records, places = SessionRecords(settings.state), Places(settings.state)
    return lambda: records.environments() | environments_of(places)


def regular_sizes(settings: Settings) -> Callable[[Username], str]:
    """A question to ask at any time: the name of the machine size that a person's regular session runs with, or ""."""
    from launcher.hub.records import SessionRecords

    records = SessionRecords(settings.state)

    def size_of(user: Username) -> str:
        record = records.get(user, "")
        return record.size if record is not None else ""

    return size_of


def regular_sessions(settings: Settings) -> RegularSessions:
    """The operator's say about regular sessions, where the configured runtime can do what they say."""
    from launcher.hub.spawner_class import runs_regular_sessions

    patterns = settings.containers.allowed_images if settings.containers is not None else ()
    return RegularSessions(
        own=runs_regular_sessions(settings),
        listed=ListedEnvironments(settings.environments),
        allows_image=partial(_allows_image, patterns) if patterns else None,
    )


def _allows_image(patterns: tuple[str, ...], name: str) -> bool:
    from launcher.engine.base import is_allowed_image

    return is_allowed_image(name, patterns)


def machine_sizes(settings: Settings) -> MachineSizes:
    """The operator's sizes, with the figures that this machine enforces.

    Raises EngineUnavailable or EngineError. Not for a thread with an event loop: the engine is asked.
    """
    if not settings.machine_sizes:
        return MachineSizes()
    if settings.containers is not None:
        from launcher.engine.prepare import engine_limits

        return MachineSizes(settings.machine_sizes, Enforceable.of(engine_limits(settings.containers, settings.state)))
    return MachineSizes(settings.machine_sizes, Enforceable.of(enforceable()))


def make_clusters(settings: Settings) -> ClusterRuntime:
    """What runs Dask clusters in the configured runtime."""
    from launcher.dask.nurseries.runtime import NurseryClusters

    if settings.containers is not None and settings.dask is not None:
        from launcher.dask.container.sandboxes import ContainerSandboxes

        return NurseryClusters(settings, ContainerSandboxes(settings, settings.dask, settings.containers))
    from launcher.dask.process.sandboxes import ProcessSandboxes

    return NurseryClusters(settings, ProcessSandboxes(settings))


def runtime_needs(settings: Settings) -> Iterator[Finding]:
    """What the configured runtime needs of the machine, and whether it is there. For containers: what engine it is."""
    if settings.containers is not None:
        from launcher.engine.prepare import engine_findings

        yield from engine_findings(settings.containers, settings.state)
    else:
        yield _sandbox()


def runtime_findings(settings: Settings) -> Iterator[Finding]:
    """The same, and whether what the launcher makes by itself was made: the environment or image of the servers."""
    yield from runtime_needs(settings)
    if settings.containers is not None:
        from launcher.engine.prepare import base_image_finding

        yield base_image_finding(settings.containers, settings.state)
        if settings.containers.registry:
            from launcher.engine.registry import registry_finding

            yield registry_finding(settings.containers, settings.state)
    else:
        server = Path(settings.server_environment)
        hint = f"Make it: launcher server-environment {server}"
        yield Finding(good=is_current(server), what="server environment", hint=hint)
        if settings.machine_sizes:
            yield _limits(settings)


def make_ready(settings: Settings, say: Callable[[str], None]) -> Callable[[], None]:
    """Make and start what the runtime needs before a hub starts; returns what ends it again.

    Raises ConfigurationInvalid, EngineUnavailable or EngineError.
    """
    if settings.containers is not None:
        from launcher.engine.prepare import prepare, stop_own

        end = partial(stop_own, settings.containers, settings.state)
        try:
            prepare(settings.containers, settings.state, say)
        except BaseException:  # Ctrl-C, too: making the base image takes minutes
            end()
            raise
        return end
    server = Path(settings.server_environment)
    if not is_current(server):
        say("Making the server environment (once)…")
        make_server_environment(server)
    return lambda: None


def _limits(settings: Settings) -> Finding:
    """Whether what machine sizes promise is true on this machine."""
    wanted = {
        MEMORY: any(size.memory_bytes is not None for size in settings.machine_sizes),
        CPU: any(size.cpus is not None for size in settings.machine_sizes),
    }
    missing = [limit for limit, asked in wanted.items() if asked and limit not in enforceable()]
    hint = (
        "Pages show no figures of machine sizes for what is not limited. Run the hub as root, or delegate control "
        "groups to it: `Delegate=cpu memory pids` and `DelegateSubgroup=hub` in its systemd unit."
    )
    what = ", ".join(missing or [limit for limit, asked in wanted.items() if asked]) or "none asked for"
    return Finding(good=not missing, what=f"limits of machine sizes: {what}", hint=hint)


def _sandbox() -> Finding:
    from launcher.builders.process.sandbox import check_sandbox

    try:
        check_sandbox()
    except LauncherError as error:
        return Finding(good=False, what=error.message.rstrip("."), hint=error.hint)
    return Finding(good=True, what="sandbox (bubblewrap and user namespaces)")
