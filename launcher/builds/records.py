"""One line of a build's log, and how it lies in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One line of a build's log.

    id: the byte offset in the log's file after this record: ask for what comes after it to go on from here.
    seconds: since the build was first started. stage: ``fetching``, ``building`` or ``pushing`` once the build said
    so, else None. text: clean, one line without its end; empty with a new stage when that stage begins.
    note: the launcher says this, not the build.
    """

    id: int
    seconds: float
    stage: str | None
    text: str
    note: bool = False


def to_line(*, seconds: float, stage: str | None, text: str, note: bool) -> bytes:
    """A record as a line of the file."""
    body: dict[str, object] = {"t": round(seconds, 3)}
    if stage is not None:
        body["stage"] = stage
    if note:
        body["note"] = True
    body["text"] = text
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def from_lines(data: bytes, start: int) -> Iterator[LogRecord]:
    """The records of whole lines that begin at byte ``start`` of the file; a line that is no record is left out."""
    position = start
    for line in data.split(b"\n")[:-1]:
        position += len(line) + 1
        try:
            body = json.loads(line)
            record = LogRecord(position, float(body["t"]), body.get("stage"), body["text"], body.get("note", False))
        except (ValueError, KeyError, TypeError):
            continue  # damaged by the disk or by hand; what follows is still good
        yield record
