"""A small real builder for tests: its artefacts are directories, and the test says when and how a build ends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.models import BuildId, BuildRequest, BuiltEnvironment, Recipe, SessionMode


class GatedBuilder:
    """Every build says a line, waits for its gate, then ends as ``endings`` says for its key (an exception to raise).

    started: build ids in the order they began. running: those between start and end. reaped: what was reaped.
    """

    fingerprint = "gated-1"

    def __init__(self, directory: Path, *, gate_open: bool = True) -> None:
        self._directory = directory
        self._open = gate_open
        self._gates: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Condition()
        self.endings: dict[str, BaseException] = {}
        self.refusal: Exception | None = None
        self.started: list[BuildId] = []
        self.running: set[BuildId] = set()
        self.most_at_once = 0
        self.cleaned: list[BuildId] = []
        self.has_cleaned = asyncio.Event()
        self.reaped: list[BuildId] = []
        self.begins_to_clean = asyncio.Event()
        self.cleaning = asyncio.Event()
        self.cleaning.set()

    def gate(self, key: str) -> asyncio.Event:
        event = self._gates.setdefault(key, asyncio.Event())
        if self._open:
            event.set()
        return event

    def check(self, recipe: Recipe) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        self.started.append(request.build_id)
        self.running.add(request.build_id)
        self.most_at_once = max(self.most_at_once, len(self.running))
        await self._notify()
        try:
            log.stage("building")
            log.write(f"building {request.key[-4:]}\n")
            await self.gate(request.key).wait()
            if request.key in self.endings:
                raise self.endings[request.key]
            reference = f"env-{request.own_name[-8:]}"
            (self._directory / reference).mkdir(exist_ok=True)
            return BuiltEnvironment(reference, "f" * 64, SessionMode.KERNEL, "3.11", 1)
        finally:
            self.begins_to_clean.set()
            await self.cleaning.wait()
            self.cleaned.append(request.build_id)
            self.running.discard(request.build_id)
            self.has_cleaned.set()

    async def reap(self, build_id: BuildId) -> None:
        self.reaped.append(build_id)

    async def exists(self, reference: str) -> bool:
        await asyncio.sleep(0)
        return (self._directory / reference).is_dir()

    async def remove(self, reference: str) -> None:
        (self._directory / reference).rmdir()

    async def references(self) -> frozenset[str]:
        return frozenset(path.name for path in self._directory.iterdir())

    async def until_started(self, count: int) -> None:
        """Wait until this many builds began, 10 seconds at most."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.started) >= count)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()
