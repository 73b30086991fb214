"""Containers of sessions that no hub knows any more: what a hub leaves that is killed while a session starts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable

from launcher.config import Settings
from launcher.engine.client import Engine
from launcher.engine.labels import SERVER, USER, Kind, ours
from launcher.hub.records import SessionRecords

RUN = "launcher.run"
"""Label: the session's run directory."""


async def reap_sessions(engine: Engine, settings: Settings, is_known: Callable[[str, str], bool]) -> list[str]:
    """Remove containers of this launcher's sessions unless ``is_known(user, server name)``; returns their names.

    Raises EngineError when the engine will not.
    """
    reaped = []
    records = SessionRecords(settings.state)
    for container in await engine.containers(ours(settings.state, Kind.SESSION)):
        user, server, run = (container.labels.get(label, "") for label in (USER, SERVER, RUN))
        if is_known(user, server):
            continue
        await engine.remove(container.id)
        reaped.append(container.name)
        if not is_known(user, server):  # nobody started it again meanwhile
            records.remove(user, server)
        if run:
            await asyncio.to_thread(shutil.rmtree, run, ignore_errors=True)
    return reaped
