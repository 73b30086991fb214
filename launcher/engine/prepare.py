"""What operators see of the engine: what is missing, and everything made ready before a hub starts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from launcher.engine.bake import Say, make_base_image
from launcher.engine.base import Image
from launcher.engine.base_image import base_image_name
from launcher.engine.client import Engine
from launcher.engine.config import ContainerSettings
from launcher.engine.find import EngineAddress, find_engine, look_for_engine
from launcher.errors import LauncherError
from launcher.findings import Finding

_Answer = TypeVar("_Answer")

_LIMITS = ("memory", "cpu", "pids")
_MEGABYTE = 10**6


def prepare(settings: ContainerSettings, state: Path, say: Say) -> tuple[EngineAddress, Image]:
    """Start the engine when it is our own, and make the base image when it is not there.

    Raises EngineUnavailable or EngineError with what to do.
    """
    address = find_engine(settings.engine, state)

    async def make() -> Image:
        async with await Engine.connect(address) as engine:
            if await engine.image(base_image_name(settings)) is None:
                say("Making the base image of containers (once, two minutes or more)…")
            return await make_base_image(engine, settings, state, say)

    return address, asyncio.run(make())


@contextmanager
def only_meanwhile(settings: ContainerSettings, state: Path) -> Iterator[None]:
    """In the end, an engine of our own that did not run before is ended. Raises EngineUnavailable."""
    own = look_for_engine(settings.engine, state).own
    ran = own is None or own.runs()
    try:
        yield
    finally:
        if own is not None and not ran:
            own.stop()


def stop_own(settings: ContainerSettings, state: Path) -> None:
    """End the engine's service when it is our own. Nothing running is fine."""
    with suppress(LauncherError):
        address = look_for_engine(settings.engine, state)
        if address.own is not None:
            address.own.stop()


def engine_findings(settings: ContainerSettings, state: Path) -> Iterator[Finding]:
    """What ``launcher check`` says about the engine. Leaves nothing running that did not run before."""
    try:
        with _awake(settings, state) as address:
            if address is None:
                what = "container engine: podman is installed; the launcher starts one of its own"
                yield Finding(good=True, what=what)
                return
            info = _ask(address, Engine.info)
    except LauncherError as error:
        yield Finding(good=False, what=error.message.rstrip("."), hint=error.hint)
        return
    who = "as an ordinary user (rootless)" if info.rootless else "as root"
    what = f"container engine: {info.name} {info.version} {who}, storage {info.storage_driver}, {address.found}"
    yield Finding(good=True, what=what)
    missing = [limit for limit in _LIMITS if limit not in info.limits]
    hint = (
        "The engine cannot enforce them here: switch to control groups version 2, and for an ordinary user delegate "
        "cpu, memory and pids to user@.service."
    )
    yield Finding(good=not missing, what=f"limits of containers: {', '.join(missing or _LIMITS)}", hint=hint)


def engine_limits(settings: ContainerSettings, state: Path) -> frozenset[str]:
    """Which limits of containers the engine can enforce. Raises EngineUnavailable or EngineError."""
    return _ask(find_engine(settings.engine, state), Engine.info).limits


def base_image_finding(settings: ContainerSettings, state: Path) -> Finding:
    """Whether the base image is there."""
    name = base_image_name(settings)
    image = None
    with suppress(LauncherError), _awake(settings, state) as address:
        image = _ask(address, lambda engine: engine.image(name)) if address is not None else None
    size = f", {image.size // _MEGABYTE} MB" if image is not None else ""
    hint = "Make it with `launcher base-image` and the --config of the hub."
    return Finding(good=image is not None, what=f"base image {name}{size}", hint=hint)


@contextmanager
def _awake(settings: ContainerSettings, state: Path) -> Iterator[EngineAddress | None]:
    """The engine, running meanwhile; None when it would be one of our own that was never used."""
    address = look_for_engine(settings.engine, state)
    own = address.own
    if own is not None and not own.exists():
        yield None
        return
    with only_meanwhile(settings, state):
        if own is not None:
            own.ensure()
        yield address


def _ask(address: EngineAddress, question: Callable[[Engine], Coroutine[None, None, _Answer]]) -> _Answer:
    async def ask() -> _Answer:
        async with Engine(address) as engine:
            return await question(engine)

    return asyncio.run(ask())
