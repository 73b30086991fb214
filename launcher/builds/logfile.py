"""The file of one build's log: appending to it, reading on from an offset, mending its end after a crash."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from launcher.builds.channel import Channel
from launcher.builds.records import LogRecord, from_lines, to_line
from launcher.builds.text import LineCleaner, Redactor
from launcher.errors import BuildLimitExceeded, StateUnusable
from launcher.store.problems import unusable_directory

STAGES = frozenset({"fetching", "building", "pushing"})
_CHUNK_BYTES = 64 * 1024
_NOTES_BYTES = 64 * 1024  # room for the launcher's own words after the build has used all of its own
_RAW_FACTOR = 4  # a build may print so many times the limit in things that are never kept


class LogFile:
    """An append-only file of whole lines."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    @classmethod
    def open(cls, path: Path) -> LogFile:
        """The file, made when missing; without the last line when a crash left only a part of it.

        Raises StateUnusable.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                return cls(descriptor, _mend(descriptor))
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise unusable_directory(error) from error

    def append(self, line: bytes) -> None:
        """Write a whole line or nothing. Raises StateUnusable."""
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):  # the disk became full in the middle of the line
                os.ftruncate(self._descriptor, self.size)
                raise StateUnusable("The disk with the state directory is full.", hint="Free some space on it.")
        except OSError as error:
            raise unusable_directory(error) from error
        self.size += len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


class LogWriter:
    """The `launcher.builders.base.BuildLog` that builders get. For use on the event loop's thread only."""

    def __init__(
        self,
        file: LogFile,
        channel: Channel,
        *,
        redact: Redactor,
        elapsed: Callable[[], float],
        line_limit: int,
        total_limit: int,
    ) -> None:
        self._file = file
        self._channel = channel
        self._redact = redact
        self._cleaner = LineCleaner(redact, limit=line_limit)
        self._elapsed = elapsed
        self._seconds = 0.0
        self._stage: str | None = None
        self._total_limit = total_limit
        self._raw_left = _RAW_FACTOR * total_limit
        self._full = file.size >= total_limit
        self._closed = False

    @property
    def size(self) -> int:
        """Bytes in the log's file."""
        return self._file.size

    def write(self, text: str) -> None:
        """Append output of the build; see `BuildLog.write`.

        Raises BuildLimitExceeded for a log that is full (its last line says so), StateUnusable for a disk that is.
        """
        if self._full:
            self._overflow()
        for line in self._cleaner.feed(text[: self._raw_left]):
            self._append_of_build(line)
        self._raw_left -= len(text)
        if self._raw_left < 0:
            self._overflow()

    def stage(self, name: str) -> None:
        """A stage begins; see `BuildLog.stage`. ValueError for a stage BinderHub's clients do not know."""
        if name not in STAGES:
            raise ValueError(f"no stage called {name}")
        self._finish_line()
        self._stage = name
        self._append("", note=False)

    def note(self, text: str) -> None:
        """The launcher's own words, also when the build has used up its log. Lines are cut apart."""
        self._finish_line()
        cleaner = LineCleaner(self._redact)
        for line in cleaner.feed(text.rstrip("\n") + "\n"):
            if self._file.size < self._total_limit + _NOTES_BYTES:
                self._append(line, note=True)

    def close(self) -> None:
        """The build says no more: its last line is kept also without an end. Again is fine."""
        if not self._closed:
            try:
                self._finish_line()
            finally:
                self._closed = True
                self._file.close()

    def _finish_line(self) -> None:
        rest = self._cleaner.rest()
        if rest is not None and not self._full:
            self._append(rest, note=False)

    def _append_of_build(self, line: str) -> None:
        if self._file.size >= self._total_limit:
            self._overflow()
        self._append(line, note=False)

    def _overflow(self) -> None:
        error = BuildLimitExceeded(
            f"The build printed more than the {self._total_limit // 1024} KiB that its log may have.",
            hint="Make the build say less, for example with a quiet option.",
        )
        if not self._full:
            self._full = True
            self._append(error.message, note=True)
        raise error

    def _append(self, text: str, *, note: bool) -> None:
        if self._closed:
            raise ValueError("this build's log is closed")
        self._seconds = max(self._seconds, self._elapsed())  # the machine's clock may be set back
        line = to_line(seconds=self._seconds, stage=self._stage, text=text, note=note)
        start = self._file.size
        self._file.append(line)
        self._channel.add(start, LogRecord(self._file.size, round(self._seconds, 3), self._stage, text, note))


def read_records(path: Path, position: int) -> tuple[tuple[LogRecord, ...], int]:
    """Some records that begin at or after a byte position, and the position after them; none at the end of the file.

    A position inside a record counts as its end.
    """
    try:
        with path.open("rb", buffering=0) as file:
            begins_record = position == 0 or os.pread(file.fileno(), 1, position - 1) == b"\n"
            while True:
                data = os.pread(file.fileno(), _CHUNK_BYTES, position)
                end = data.rfind(b"\n") + 1
                if end == 0:  # the end, or a line that is still torn
                    return (), position
                start = 0 if begins_record else data.index(b"\n") + 1
                records = tuple(from_lines(data[start:end], position + start))
                position, begins_record = position + end, True
                if records:
                    return records, position
    except FileNotFoundError:
        return (), position
    except OSError as error:
        raise unusable_directory(error) from error


def _mend(descriptor: int) -> int:
    """Cut off a torn last line; the size after that."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - _CHUNK_BYTES)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
    return end
