"""A service that only builds, as a process that may be killed: ``python -m tests.support.build_service STATE KEYS``.

Asks for that many environments, waits for them, prints a line of JSON and ends. Its builder leaves traces in files:
``journal`` has a line per thing it did, ``environments/`` its artefacts, ``work/`` what unfinished builds left.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.builds import BuildLogs, BuildQueue
from launcher.models import BuildId, BuildRequest, BuiltEnvironment, Recipe, SessionMode, Username
from launcher.store import BuildRow, StateLock, Store
from tests.support import examples


class JournalBuilder:
    fingerprint = "journal-1"

    def __init__(self, state: Path) -> None:
        self._state = state
        for name in ("work", "environments"):
            (state / name).mkdir(exist_ok=True)

    def check(self, recipe: Recipe) -> None:
        pass

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        work = self._state / "work" / request.build_id
        if work.exists():
            shutil.rmtree(work)
        work.mkdir()
        self._say("start", request.build_id)
        for number in range(20):
            log.write(f"step {number}\n")
            await asyncio.sleep(0.001)
        reference = f"env-{request.key[-8:]}"
        work.replace(self._state / "environments" / reference)
        self._say("end", request.build_id)
        return BuiltEnvironment(reference, "f" * 64, SessionMode.KERNEL, "3.11", 1)

    async def reap(self, build_id: BuildId) -> None:
        shutil.rmtree(self._state / "work" / build_id, ignore_errors=True)
        self._say("reap", build_id)

    async def exists(self, reference: str) -> bool:
        return (self._state / "environments" / reference).is_dir()

    async def remove(self, reference: str) -> None:
        (self._state / "environments" / reference).rmdir()

    async def references(self) -> frozenset[str]:
        return frozenset(path.name for path in (self._state / "environments").iterdir())

    def _say(self, what: str, build_id: BuildId) -> None:
        with (self._state / "journal").open("a") as journal:
            journal.write(f"{what} {build_id}\n")


async def serve(state: Path, keys: int) -> None:
    with StateLock(state), Store.open(f"sqlite:///{state}/launcher.sqlite") as store:
        queue = BuildQueue(store, JournalBuilder(state), BuildLogs(state / "logs"), concurrency=2)
        await queue.start()
        for number in range(keys):
            await queue.ensure(examples.key(number), examples.recipe(), examples.snapshot(), asked_by=Username("ana"))
        for row in store.builds_open():
            await queue.wait(row.id)
        ended = [
            await queue.ensure(examples.key(number), examples.recipe(), examples.snapshot(), asked_by=Username("ana"))
            for number in range(keys)
        ]
        assert not any(isinstance(row, BuildRow) for row in ended)
        await queue.stop()
        sys.stdout.write(json.dumps({"references": [row.reference for row in ended]}) + "\n")


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
