"""What many listeners of one log are sent: the frames of single events, made once for all of them."""

from __future__ import annotations

import json

from launcher.builds.records import LogRecord
from launcher.models import BuildId
from launcher.sessions.base import LaunchEvent, LogBatch
from launcher.web.event_stream import frame, frames_of


def batch(*texts: str) -> LogBatch:
    records = tuple(LogRecord(10 * (at + 1), 0.5, "building" if at else None, text) for at, text in enumerate(texts))
    return LogBatch(BuildId("b-1"), records)


def test_a_batch_is_sent_byte_for_byte_like_its_lines() -> None:
    said = batch("Collecting numpy", "é\u2028\x1b]0;\r", "data: x\n\nevent: ready")
    assert b"".join(frames_of(said)) == (
        b'id: b-1:10\ndata: {"message": "Collecting numpy\\n", "build_id": "b-1"}\n\n'
        b'id: b-1:20\ndata: {"phase": "building", "message": "\\u00e9\\u2028\\u001b]0;\\r\\n", "build_id": "b-1"}\n\n'
        b'id: b-1:30\ndata: {"phase": "building", "message": "data: x\\n\\nevent: ready\\n", "build_id": "b-1"}\n\n'
    )
    assert b"".join(frames_of(said)).decode() == "".join(frame(line.to_dict(), line.id) for line in said.events)


def test_all_listeners_of_a_batch_get_the_same_bytes() -> None:
    said = batch("x", "y")
    first = frames_of(said)
    assert all(mine is yours for mine, yours in zip(first, frames_of(said), strict=True))


def test_batches_that_are_equal_are_still_two() -> None:
    assert frames_of(batch("x")) == frames_of(batch("x"))
    assert batch("x") != batch("x"), "a batch is found again by what it is, not by going through its lines"


def test_a_long_batch_goes_out_in_pieces_of_whole_frames() -> None:
    said = batch(*["x" * 1000] * 100, "y" * 50_000, "z")
    pieces = frames_of(said)
    assert len(pieces) > 5
    for piece in pieces:
        assert piece.startswith(b"id: ")
        assert piece.endswith(b"\n\n")
        assert len(piece) <= 16 * 1024 or piece.count(b"\n\n") == 1
    told = [json.loads(line[6:])["message"] for line in b"".join(pieces).splitlines() if line.startswith(b"data: ")]
    assert told == [event.message for event in said.events]


def test_an_event_alone_is_one_frame() -> None:
    assert frames_of(LaunchEvent("built", "Built\n", {"imageName": "e"})) == (
        b'data: {"phase": "built", "message": "Built\\n", "imageName": "e"}\n\n',
    )
