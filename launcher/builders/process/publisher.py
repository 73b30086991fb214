"""Finished environments of the process runtime: a directory is moved into the store."""

from __future__ import annotations

import asyncio

from launcher.builders.process.store import EnvironmentMeta, EnvironmentStore
from launcher.builders.uv.runtime import Finished
from launcher.builders.uv.workspace import Workspace
from launcher.models import BuiltEnvironment


class StorePublisher:
    """`launcher.builders.uv.runtime.Publisher` over an `EnvironmentStore`; a name is the reference too."""

    final = False  # bytecode is added in the background

    def __init__(self, store: EnvironmentStore, workspace: Workspace) -> None:
        self._store = store
        self._workspace = workspace

    async def find(self, name: str) -> BuiltEnvironment | None:
        """The environment of that name, if it is complete and its Python still here."""
        return await asyncio.to_thread(self._store.built, name)

    async def publish(self, name: str, finished: Finished) -> BuiltEnvironment:
        """Move the staging directory in place."""
        interpreter = finished.interpreter
        meta = EnvironmentMeta(
            mode=finished.mode.value,
            python=str(interpreter.version),
            interpreter=str(interpreter.executable),
            binds=tuple(map(str, interpreter.binds)),
            lock=finished.lock.digest,
            packages=finished.packages,
            editable=finished.editable,
            size_bytes=0,
        )
        return await asyncio.to_thread(self._store.publish, name, self._workspace.staging, meta, finished.lock.text)
