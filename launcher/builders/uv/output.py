"""What a step says: into the log as it comes, and its last lines kept for the error's sentence."""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import AsyncIterable, Callable

from launcher.errors import BuildLimitExceeded

_TAIL_LINES = 200
_TAIL_LINE_CHARACTERS = 2000


class Tail:
    """The last lines of an output, cut in length as well as in number."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque([""], maxlen=_TAIL_LINES)

    def feed(self, text: str) -> None:
        """Take the next piece of output."""
        first, *rest = text.replace("\r\n", "\n").split("\n")
        self._lines[-1] = (self._lines[-1] + first[:_TAIL_LINE_CHARACTERS])[:_TAIL_LINE_CHARACTERS]
        self._lines.extend(line[:_TAIL_LINE_CHARACTERS] for line in rest)

    @property
    def text(self) -> str:
        """What is kept."""
        return "\n".join(self._lines)


async def follow(pieces: AsyncIterable[bytes], tail: Tail, write: Callable[[str], None], idle: float | None) -> None:
    """Move output to the log until there is no more. Raises BuildLimitExceeded after ``idle`` silent seconds."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    coming = aiter(pieces)
    while True:
        try:
            data = await asyncio.wait_for(anext(coming, None), idle)
        except TimeoutError:
            raise BuildLimitExceeded(
                f"The build said nothing for {idle:g} seconds and was ended.",
                hint="Let long steps print something now and then.",
            ) from None
        text = decoder.decode(data or b"", final=data is None)
        if text:
            tail.feed(text)
            write(text)
        if data is None:
            return
