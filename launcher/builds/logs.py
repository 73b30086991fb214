"""The logs of builds: one append-only file each, written once, watched by any number.

A watcher pulls: it remembers how far it has read, takes what is new from a short tail in memory that all share, or
from the file when it came late or was slow, and sleeps until the next tick. So nothing is kept per watcher, and one
that never reads costs nothing and holds up nobody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from launcher.builds.channel import Channel
from launcher.builds.logfile import LogFile, LogWriter, read_records
from launcher.builds.records import LogRecord
from launcher.builds.text import Redactor
from launcher.errors import BuildNotFound
from launcher.models import BuildId
from launcher.store.problems import unusable_directory
from launcher.store.store import utc_now

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")


class BuildLogs:
    """A directory of build logs.

    secrets: never shown, wherever a build prints them. line_limit, total_limit: bytes, of one line's text and of a
    whole log. tick_seconds: watchers are woken at most this often, with all that was written since.
    """

    def __init__(
        self,
        directory: Path,
        *,
        secrets: Iterable[str] = (),
        clock: Callable[[], datetime] = utc_now,
        line_limit: int = 8 * 1024,
        total_limit: int = 16 * 1024 * 1024,
        tick_seconds: float = 0.1,
    ) -> None:
        self._directory = directory
        self._redact = Redactor(secrets)
        self._clock = clock
        self._line_limit = line_limit
        self._total_limit = total_limit
        self._tick_seconds = tick_seconds
        self._channels: dict[BuildId, Channel] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise unusable_directory(error) from error

    def announce(self, build_id: BuildId) -> None:
        """Say that a build is open: from now until `close`, who watches its log waits for more. Again is fine."""
        if build_id not in self._channels:
            self._channels[build_id] = Channel(self._tick_seconds)

    def open(self, build_id: BuildId, started: datetime) -> LogWriter:
        """The writer of an open build's log, which goes on where the file ends; a torn last line is cut off first.

        started: when the build began for the first time. Raises StateUnusable.
        """
        self.announce(build_id)
        file = LogFile.open(self._path(build_id))

        def elapsed() -> float:
            return (self._clock() - started).total_seconds()

        return LogWriter(
            file,
            self._channels[build_id],
            redact=self._redact,
            elapsed=elapsed,
            line_limit=self._line_limit,
            total_limit=self._total_limit,
        )

    def close(self, build_id: BuildId) -> None:
        """Say that a build is over: its watchers get the rest and end. Not open is fine."""
        channel = self._channels.pop(build_id, None)
        if channel is not None:
            channel.close()

    async def batches(self, build_id: BuildId, after: int = 0) -> AsyncGenerator[tuple[LogRecord, ...], None]:
        """All records after a record's id, in order, as they come; ends when the build is over.

        Watchers that keep up get the very same tuples, so that work on one can be done once for all of them.
        ``after`` that is no record's id counts as the next one; beyond the end of the log, or negative, as 0.
        Raises BuildNotFound for an id that no build can have.
        """
        path = self._path(build_id)
        channel = self._channels.get(build_id)
        position = after if 0 < after <= _size(path) else 0
        while True:
            # First look at the channel's state, then at what there is: what comes in between is seen next time.
            over = channel is None or channel.closed
            changed = channel.changed if channel is not None else None
            batch = channel.after(position) if channel is not None else None
            from_file = batch is None
            if batch is None:
                batch, position = read_records(path, position)
            elif batch:
                position = batch[-1].id
            if batch:
                yield batch
                if from_file:
                    await asyncio.sleep(0)  # a reader of a long file lets others have their turn
            elif over or changed is None:
                return
            else:
                await changed.wait()

    async def watch(self, build_id: BuildId, after: int = 0) -> AsyncGenerator[LogRecord, None]:
        """Like `batches`, one record at a time."""
        batches = self.batches(build_id, after)
        try:
            async for batch in batches:
                for record in batch:
                    yield record
        finally:
            await batches.aclose()

    def size(self, build_id: BuildId) -> int:
        """Bytes of a build's log; 0 when there is none."""
        return _size(self._path(build_id))

    def ids(self) -> frozenset[str]:
        """Builds of which there is a log."""
        return frozenset(path.stem for path in self._directory.glob("*.jsonl") if _SAFE_ID.fullmatch(path.stem))

    def remove(self, build_id: BuildId) -> None:
        """Delete the log of a build that is over. Nothing there is fine."""
        with suppress(FileNotFoundError):  # the promise: nothing there is fine
            self._path(build_id).unlink()

    def _path(self, build_id: BuildId) -> Path:
        # The id may come from a URL: it must not be able to name any other file.
        if _SAFE_ID.fullmatch(build_id) is None:
            raise BuildNotFound("There is no such build.")
        return self._directory / f"{build_id}.jsonl"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
