"""Volumes: directories of this machine put together by the engine when a container starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from launcher.engine.connection import Connection


class Volumes:
    """What an engine knows of volumes; `Engine.volumes`. Errors are those of `Engine`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def make_layered(self, name: str, labels: Mapping[str, str], *, lower: Path, upper: Path, work: Path) -> None:
        """A directory that looks like ``lower`` and whose changes go to ``upper``; ``work``: empty, beside it.

        It is put together when a container with it starts; that fails where the kernel does not let the engine.
        """
        options = {"type": "overlay", "device": "overlay", "o": f"lowerdir={lower},upperdir={upper},workdir={work}"}
        body = {"Name": name, "Driver": "local", "DriverOpts": options, "Labels": dict(labels)}
        await self._connection.json("volumes/create", "POST", body=body)

    async def remove(self, name: str) -> None:
        """Remove a volume that no container has. Nothing there is fine."""
        await self._connection.json_if_there(f"volumes/{name}", "DELETE")
