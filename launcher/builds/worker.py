"""One run of one build: everything between a claimed row and the words for how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

import structlog

from launcher.builders.base import Builder
from launcher.builds.codec import UnreadableRequest, request_from_json
from launcher.builds.logfile import LogWriter
from launcher.builds.logs import BuildLogs
from launcher.errors import BuildCancelled, BuildFailed, BuildLimitExceeded, LauncherError
from launcher.models import BuildId, BuildStatus, BuiltEnvironment
from launcher.store import BuildRow

logger = structlog.get_logger(__name__)


class Worker:
    """Runs builds with a builder and writes their logs. Knows no queue and changes no row."""

    def __init__(
        self,
        builder: Builder,
        logs: BuildLogs,
        *,
        timeout_seconds: float,
        max_interruptions: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._builder = builder
        self._logs = logs
        self._timeout_seconds = timeout_seconds
        self._max_interruptions = max_interruptions
        self._is_stopping = is_stopping
        self.cancellable: set[BuildId] = set()
        """Builds whose task may be cancelled now and will then end as cancelled."""

    async def run(self, row: BuildRow, *, started_before: bool) -> BuiltEnvironment | LauncherError:
        """Run a build to its end: what was built, or why not. Never raises but CancelledError, when the service stops.

        started_before: an earlier run may have left something, which is reaped first.
        """
        try:
            log = self._logs.open(row.id, row.started or row.created)
        except LauncherError as error:
            return error
        try:
            outcome = await self._outcome(row, log, started_before=started_before)
        except asyncio.CancelledError:
            self._say(log, "The service stops; this build starts again with it.")
            raise
        if isinstance(outcome, LauncherError):
            self._say(log, f"{outcome.message} {outcome.hint}".strip())
        self._say(log, None)
        return outcome

    async def _outcome(
        self, row: BuildRow, log: LogWriter, *, started_before: bool
    ) -> BuiltEnvironment | LauncherError:
        try:
            if started_before:
                await self._start_over(row, log)
            if row.target is BuildStatus.CANCELLED:
                _cancelled()
            return await self._build(row, log)
        except LauncherError as error:
            return error
        except UnreadableRequest:
            logger.warning("build_request_unreadable", build_id=row.id)
            return BuildFailed("The build was asked for by another version of the launcher.", hint="Launch again.")
        except Exception:
            logger.exception("build_crashed", build_id=row.id)
            return BuildFailed(
                "The launcher itself made a mistake during this build.",
                hint=f"Tell the operator; the service's own log has more about build {row.id}.",
            )

    async def _start_over(self, row: BuildRow, log: LogWriter) -> None:
        async with asyncio.timeout(self._timeout_seconds):
            await self._builder.reap(row.id)
        if row.interruptions > self._max_interruptions:
            raise BuildFailed(
                f"The service stopped {row.interruptions} times in the middle of this build.",
                hint="It may need more memory than the machine has; tell the operator.",
            )
        log.note("The service was restarted; the build starts again.")

    async def _build(self, row: BuildRow, log: LogWriter) -> BuiltEnvironment:
        request = request_from_json(row.id, row.environment_key, row.request)
        self.cancellable.add(row.id)
        limit = asyncio.timeout(self._timeout_seconds)
        try:
            async with limit:
                return await self._builder.build(request, log)
        except TimeoutError:
            if not limit.expired():
                raise
            raise BuildLimitExceeded(
                f"The build took longer than {self._timeout_seconds / 60:.0f} minutes.", hint="Make the recipe smaller."
            ) from None
        except asyncio.CancelledError:
            if self._is_stopping():
                raise
            _cancelled()
        finally:
            self.cancellable.discard(row.id)

    def _say(self, log: LogWriter, words: str | None) -> None:
        """The last words and the end of a log; a disk that is full must not change how the build ended."""
        try:
            if words is not None:
                log.note(words)
            log.close()
        except LauncherError as error:
            logger.warning("build_log_incomplete", reason=error.message)


def _cancelled() -> NoReturn:
    raise BuildCancelled("The build was cancelled.", hint="Launch again to start it anew.")
