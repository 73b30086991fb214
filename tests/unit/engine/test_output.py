"""What containers say, read from a stream that never leaves this process."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from launcher.engine.output import MOST_LAST_WORDS, Output


@dataclass
class Message:
    data: bytes


class Stream:
    """What aiodocker gives for an attached container."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    async def read_out(self) -> Message | None:
        piece = next(self._pieces, None)
        return None if piece is None else Message(piece)


@pytest.mark.parametrize("pieces", [[], [b"one\ntwo"], [b"one", b"\n", b"two"], [b"caf\xc3", b"\xa9"]])
async def test_little_is_kept_whole(pieces: list[bytes]) -> None:
    assert await Output(Stream(pieces)).last_words() == b"".join(pieces).decode()


async def test_of_a_flood_the_end_is_kept_and_no_more() -> None:
    flood = (bytes([65 + number % 26]) * 2**15 for number in range(2000))  # 64 MB, never all there
    tracemalloc.start()
    try:
        said = await Output(Stream(flood)).last_words()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said == "W" * 2**15 + "X" * 2**15
    assert len(said) == MOST_LAST_WORDS
    assert peak < 2**20


async def test_half_a_character_at_the_cut_is_no_error() -> None:
    assert await Output(Stream([b"\xc3\xa9" * 10, b"end"])).last_words(4) == "\ufffdend"
