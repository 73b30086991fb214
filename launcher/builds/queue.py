"""The queue of builds: wishes are rows, and a loop makes them true.

``ensure`` and ``cancel`` only write what is wanted and ring a bell. The loop claims waiting rows, oldest first, and
runs them. What it knows is in the rows, so after a crash the same loop goes on where the dead one was.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial

import structlog

from launcher.builders.base import Builder
from launcher.builds.codec import request_to_json
from launcher.builds.line import WaitingLine
from launcher.builds.logs import BuildLogs
from launcher.builds.persist import persist
from launcher.builds.records import LogRecord
from launcher.builds.worker import Worker
from launcher.crashpoints import crash_point
from launcher.errors import BuildCancelled, BuildFailed, BuildNotFound, LauncherError, StateUnusable
from launcher.models import (
    BuildId,
    BuildStatus,
    BuiltEnvironment,
    EnvironmentKey,
    EnvironmentStatus,
    Recipe,
    Snapshot,
    Username,
)
from launcher.store import BuildRow, EnvironmentRow, Store
from launcher.store.store import utc_now

logger = structlog.get_logger(__name__)

_TOUCH_EVERY = timedelta(minutes=1)


def new_build_id() -> BuildId:
    """A fresh id, impossible to guess."""
    return BuildId(secrets.token_hex(16))


class BuildQueue:
    """Builds environments, each at most once at a time, ``concurrency`` of them at a time.

    max_waiting: how many more may be open. timeout_seconds: a last wall around a build, beyond the builder's own.
    max_interruptions: a build in the middle of which the service died more often than this is given up.
    retry_seconds: pause before the next try when the database does not answer. For one event loop; one for each store.
    """

    def __init__(
        self,
        store: Store,
        builder: Builder,
        logs: BuildLogs,
        *,
        concurrency: int = 2,
        max_waiting: int = 100,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], BuildId] = new_build_id,
        timeout_seconds: float = 6 * 3600,
        max_interruptions: int = 3,
        retry_seconds: float = 1.0,
    ) -> None:
        self._store = store
        self._builder = builder
        self._logs = logs
        self._concurrency = concurrency
        self._max_open = concurrency + max_waiting
        self._clock = clock
        self._new_id = new_id
        self._retry_seconds = retry_seconds
        self._worker = Worker(
            builder,
            logs,
            timeout_seconds=timeout_seconds,
            max_interruptions=max_interruptions,
            is_stopping=lambda: self._stopping,
        )
        self._stopping = False
        self._loop_task: asyncio.Task[None] | None = None
        self._tasks: dict[BuildId, asyncio.Task[None]] = {}
        self._ended: dict[BuildId, asyncio.Event] = {}
        self._wake = asyncio.Event()
        self.line = WaitingLine(store, self._wake.set)
        self.artefacts = asyncio.Lock()
        """Held while a row and its artefact must agree: when a build ends, and by whoever removes an artefact."""

    async def start(self) -> None:
        """Put what an earlier service left open back in the queue, and begin to work. Raises StateUnusable."""
        for row in self._store.requeue_interrupted_builds():
            logger.info("build_requeued", build_id=row.id, interruptions=row.interruptions)
        for row in self._store.builds_open():
            self._announce(row.id)
        self._loop_task = asyncio.create_task(self._supervise(), name="build queue")
        self._loop_task.add_done_callback(_log_death)

    async def stop(self) -> None:
        """Cancel what runs and end; the rows stay open and the next service goes on with them. Again is fine."""
        self._stopping = True
        task, self._loop_task = self._loop_task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for build_id, ended in self._ended.items():
            self._logs.close(build_id)
            ended.set()
        self.line.move()

    async def ensure(
        self, key: EnvironmentKey, recipe: Recipe, snapshot: Snapshot, *, asked_by: Username
    ) -> EnvironmentRow | BuildRow:
        """The environment of a key when it is ready, else its open build, joined or put in the queue.

        A failed environment is built again. Raises QueueFull, StateUnusable, and RecipeUnsupported or
        PythonUnavailable when the builder refuses the recipe.
        """
        while True:
            if (environment := await self.ready(key)) is not None:
                return environment
            row = self._ask(key, recipe, snapshot, asked_by)
            if row.target is not BuildStatus.CANCELLED:
                return row
            await self.wait(row.id)  # that one is about to end; nobody new is tied to it
            if self._stopping:
                return row

    async def rebuild(self, key: EnvironmentKey, recipe: Recipe, snapshot: Snapshot, *, asked_by: Username) -> BuildRow:
        """Make an environment anew: a new build of it, or the open one, joined. Raises what `ensure` raises.

        Until that has succeeded the old one is used, and one that fails changes nothing.
        """
        while (row := self._ask(key, recipe, snapshot, asked_by, anew=True)).target is BuildStatus.CANCELLED:
            await self.wait(row.id)  # as in `ensure`
            if self._stopping:
                break
        return row

    async def cancel(self, build_id: BuildId) -> BuildRow:
        """Want an open build to end; its row now. One that is over stays as it is.

        Whether this person may is for the caller to decide. Raises BuildNotFound.
        """
        row = self._store.set_build_target_cancelled(build_id)
        if row is None:
            raise BuildNotFound("There is no such build.")
        if row.status is BuildStatus.WAITING and row.started is None and build_id not in self._tasks:
            row = self._store.set_build_finished(build_id, BuildCancelled("The build was cancelled."))
            self._over(build_id)
        elif build_id in self._worker.cancellable:
            self._worker.cancellable.discard(build_id)  # a second click must not break off the cleaning up
            self._tasks[build_id].cancel()
        self._wake.set()
        return row

    async def wait(self, build_id: BuildId) -> BuildRow:
        """The row of a build once it is over; still open only when this service stops. Raises BuildNotFound."""
        row = self._row(build_id)
        if row.is_open and not self._stopping:
            await self._ended.setdefault(build_id, asyncio.Event()).wait()
            return self._row(build_id)
        return row

    async def watch(self, build_id: BuildId, after: int = 0) -> AsyncGenerator[LogRecord, None]:
        """A build's log after a record's id: what there is, then what comes, until the build is over.

        Ends early when this service stops; watching again with the last id goes on exactly there.
        Raises BuildNotFound.
        """
        self._row(build_id)
        async with aclosing(self._logs.watch(build_id, after)) as records:
            async for record in records:
                yield record

    async def watch_batches(self, build_id: BuildId, after: int = 0) -> AsyncGenerator[tuple[LogRecord, ...], None]:
        """Like `watch`, all records of a tick at once, the same tuple for everybody who keeps up."""
        self._row(build_id)
        async with aclosing(self._logs.batches(build_id, after)) as batches:
            async for batch in batches:
                yield batch

    def log_size(self, build_id: BuildId) -> int:
        """How many bytes the log of a build has now."""
        return self._logs.size(build_id)

    async def positions(self, build_id: BuildId) -> AsyncGenerator[int, None]:
        """How many builds wait in front of a waiting build, again whenever that or `line.held` changes.

        Ends when it waits no more. Raises BuildNotFound.
        """
        self._row(build_id)
        async with aclosing(self.line.positions(build_id, lambda: self._stopping)) as positions:
            async for position in positions:
                yield position

    @property
    def running(self) -> frozenset[BuildId]:
        """The builds under way."""
        return frozenset(self._tasks)

    # The row side

    async def ready(self, key: EnvironmentKey) -> EnvironmentRow | None:
        """The environment of a key when it is there to be used, and will be for a while; else None."""
        while True:
            row = self._store.environment(key)
            if row is None or row.status is not EnvironmentStatus.READY or row.reference is None:
                return None
            # First it is used, then it is looked at: what was used a moment ago, nobody removes.
            stale = self._clock() - row.last_used > _TOUCH_EVERY  # not a write to disk for every click
            if stale and not self._store.touch_environment(key, self._clock()):
                continue
            if await self._builder.exists(row.reference):
                return row
            if self._store.environment(key) == row:  # else it was built anew while we looked
                return None

    def _ask(
        self, key: EnvironmentKey, recipe: Recipe, snapshot: Snapshot, asked_by: Username, *, anew: bool = False
    ) -> BuildRow:
        if self._store.open_build_for(key) is None:
            self._builder.check(recipe)
        crash_point("build:before_create")
        row, created = self._store.create_build(
            self._new_id(),
            key,
            recipe=recipe,
            fingerprint=self._builder.fingerprint,
            spec=snapshot.resolved.spec.path,
            request=request_to_json(recipe, snapshot, anew=anew),
            asked_by=asked_by,
            max_open=self._max_open,
            anew=anew,
        )
        crash_point("build:after_create")
        if created:
            self._announce(row.id)
            self.line.move()
            self._wake.set()
        return row

    def _row(self, build_id: BuildId) -> BuildRow:
        row = self._store.build(build_id)
        if row is None:
            raise BuildNotFound("There is no such build.")
        return row

    # The loop side

    async def _supervise(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                try:
                    self._fill(group)
                except StateUnusable as error:
                    logger.error("build_queue_blocked", reason=error.message)  # noqa: TRY400 - no traceback needed
                    await asyncio.sleep(self._retry_seconds)
                    continue
                await self._wake.wait()

    def _fill(self, group: asyncio.TaskGroup) -> None:
        """Give every free place to the oldest build that waits."""
        if not self.line.is_open or len(self._tasks) >= self._concurrency:
            return
        for row in self._store.builds_waiting(self._concurrency):
            if len(self._tasks) < self._concurrency and row.id not in self._tasks:
                self._announce(row.id)
                task = group.create_task(self._run(row), name=f"build {row.id}")
                self._tasks[row.id] = task
                task.add_done_callback(partial(self._task_over, row.id))

    def _task_over(self, build_id: BuildId, _: asyncio.Task[None]) -> None:
        del self._tasks[build_id]
        self._wake.set()

    async def _run(self, waiting: BuildRow) -> None:
        try:
            row = await persist(partial(self._store.set_build_running, waiting.id), self._retry_seconds)
            if row is None:
                return
            self.line.move()
            crash_point("build:running")
            outcome = await self._worker.run(row, started_before=waiting.started is not None)
            crash_point("build:built")
            if await self._is_finished(row, outcome):
                return
            await self._finish(row, await self._worker.run(row, started_before=False))
        except asyncio.CancelledError:
            self._release(waiting.id)
            raise
        except Exception:
            logger.exception("build_worker_crashed", build_id=waiting.id)
            await self._give_up(waiting)

    async def _is_finished(self, row: BuildRow, outcome: BuiltEnvironment | LauncherError) -> bool:
        """Finish a build, unless it found its environment there and that was removed before the build had ended."""
        async with self.artefacts:
            if isinstance(outcome, BuiltEnvironment) and not await self._is_there(outcome.reference):
                return False
            await self._finish(row, outcome)
            return True

    async def _is_there(self, reference: str) -> bool:
        try:
            return await self._builder.exists(reference)
        except LauncherError:
            return True  # nobody can tell; the next click looks again

    async def _give_up(self, row: BuildRow) -> None:
        error = BuildFailed("The launcher itself made a mistake during this build.", hint="Tell the operator.")
        try:
            await self._finish(row, error)
        except Exception:  # the other builds must go on; the next start takes this one up again
            logger.exception("build_stuck", build_id=row.id)

    async def _finish(self, row: BuildRow, outcome: BuiltEnvironment | LauncherError) -> None:
        write = partial(self._store.set_build_finished, row.id, outcome, log_bytes=self._logs.size(row.id))
        ended = await persist(write, self._retry_seconds)
        crash_point("build:finished")
        logger.info("build_finished", build_id=row.id, status=ended.status.value, error_code=ended.error_code)
        self._over(row.id)

    def _release(self, build_id: BuildId) -> None:
        try:
            self._store.release_build(build_id)
        except StateUnusable as error:  # then the next start counts it as interrupted and starts it all the same
            logger.warning("build_not_released", build_id=build_id, reason=error.message)

    def _announce(self, build_id: BuildId) -> None:
        self._logs.announce(build_id)
        self._ended.setdefault(build_id, asyncio.Event())

    def _over(self, build_id: BuildId) -> None:
        self._logs.close(build_id)
        if (ended := self._ended.pop(build_id, None)) is not None:
            ended.set()
        self.line.move()


def _log_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.critical("build_queue_died", exc_info=error)
