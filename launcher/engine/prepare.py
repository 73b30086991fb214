"""What operators see of the engine: what is missing, and everything made ready before a hub starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from launcher.engine.bake import Say, make_base_image
from launcher.engine.base import EngineInfo, Image
from launcher.engine.base_image import base_image_name
from launcher.engine.client import Engine
from launcher.engine.config import ContainerSettings
from launcher.engine.find import EngineAddress, find_engine, look_for_engine
from launcher.errors import LauncherError
from launcher.findings import Finding

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


def stop_own(settings: ContainerSettings, state: Path) -> None:
    """End the engine's service when it is our own. Nothing running is fine."""
    with suppress(LauncherError):
        address = look_for_engine(settings.engine, state)
        if address.own is not None:
            address.own.stop()


def findings(settings: ContainerSettings, state: Path) -> Iterator[Finding]:
    """What ``launcher check`` says about containers. Leaves nothing running that did not run before."""
    try:
        address = look_for_engine(settings.engine, state)
    except LauncherError as error:
        yield Finding(good=False, what=error.message.rstrip("."), hint=error.hint)
        return
    if address.own is not None and not address.own.exists():
        yield Finding(good=True, what="container engine: podman is installed, the launcher starts one of its own")
        yield _base_image(settings, None)
        return
    ran = address.own is None or address.own.runs()
    try:
        yield from _of_engine(settings, address)
    finally:
        if address.own is not None and not ran:
            address.own.stop()


def _of_engine(settings: ContainerSettings, address: EngineAddress) -> Iterator[Finding]:
    async def ask() -> tuple[EngineInfo, Image | None]:
        async with Engine(address) as engine:
            return await engine.info(), await engine.image(base_image_name(settings))

    try:
        info, image = asyncio.run(ask())
    except LauncherError as error:
        yield Finding(good=False, what=f"container engine ({address.found}): {error.message}", hint=error.hint)
        return
    who = "as an ordinary user (rootless)" if info.rootless else "as root"
    what = f"container engine: {info.name} {info.version} {who}, storage {info.storage_driver}, {address.found}"
    yield Finding(good=True, what=what)
    missing = [limit for limit in _LIMITS if limit not in info.limits]
    yield Finding(
        good=not missing,
        what=f"limits of containers: {', '.join(missing or _LIMITS)}",
        hint="The engine cannot enforce these here: switch to control groups version 2, and for an ordinary user "
        "delegate cpu, memory and pids to user@.service.",
    )
    yield _base_image(settings, image)


def _base_image(settings: ContainerSettings, image: Image | None) -> Finding:
    name = base_image_name(settings)
    size = f", {image.size // _MEGABYTE} MB" if image is not None else ""
    hint = "Make it: launcher base-image, with the --config or --state of the hub; `launcher up` does so by itself."
    return Finding(good=image is not None, what=f"base image {name}{size}", hint=hint)
