"""The Hub's connection to the container engine: one for the whole process, made when the first session needs it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from launcher.config import Settings
from launcher.engine.base import EngineInfo
from launcher.engine.client import Engine
from launcher.engine.find import find_engine
from launcher.engine.identity import identify
from launcher.errors import ConfigurationInvalid


@dataclass(frozen=True)
class HubEngine:
    """An engine and who is who on it.

    user: ``uid:gid`` of sessions inside. owner: (uid, gid) that files must have on this machine for that user; None
    when they may be our own. user_namespace: as the engine wants it said, "" for its usual one.
    """

    engine: Engine
    info: EngineInfo
    user: str
    owner: tuple[int, int] | None
    user_namespace: str


_connections: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[HubEngine]] = WeakKeyDictionary()


async def hub_engine(settings: Settings) -> HubEngine:
    """The engine of the settings. Raises EngineUnavailable; the next call tries again."""
    loop = asyncio.get_running_loop()
    task = _connections.get(loop)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        task = _connections[loop] = asyncio.ensure_future(connect_engine(settings))
    return await asyncio.shield(task)


async def connect_engine(settings: Settings) -> HubEngine:
    """A connection of the caller's own, for services beside the Hub. Raises EngineUnavailable, ConfigurationInvalid."""
    if settings.containers is None:
        raise ConfigurationInvalid("The settings say nothing about containers.")
    address = await asyncio.to_thread(find_engine, settings.containers.engine, settings.state)
    engine = await Engine.connect(address)
    info = await engine.info()
    who = identify(info, os.getuid(), os.getgid())
    owner = (who.owner, who.owner) if who.owner is not None else None
    return HubEngine(engine, info, who.user, owner, who.user_namespace)
