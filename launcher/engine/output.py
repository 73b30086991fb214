"""What runs in containers while somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from aiodocker.execs import Exec
from aiodocker.stream import Stream

from launcher.engine.base import Ended
from launcher.engine.connection import in_sentences
from launcher.errors import EngineUnavailable

_LOOKS, _LOOK_SECONDS = 100, 0.05
MOST_LAST_WORDS = 2**16
"""Bytes of an output that are kept when nobody says how many."""


class Output:
    """What a command writes to its output and error output, in the order in which it arrives.

    Iterate over it once. Who reads slowly slows the writers down. Raises EngineUnavailable when the engine goes away.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with in_sentences():
            while (message := await self._stream.read_out()) is not None:
                yield message.data

    async def last_words(self, most: int = MOST_LAST_WORDS) -> str:
        """Read to the end; the last ``most`` bytes of it, as text. A flood takes no more memory than a trickle."""
        said = b""
        async for piece in self:
            said = (said + piece)[-most:]
        return said.decode(errors="replace")


class Running:
    """A container that was started with somebody listening, see `Engine.run`: its ``id`` and ``output``."""

    def __init__(self, identifier: str, output: Output, wait: Callable[[], Awaitable[Ended]]) -> None:
        self.id = identifier
        self.output = output
        self._wait = wait

    async def wait(self) -> Ended:
        """Wait until it has ended; read its output meanwhile, or it may never end."""
        return await self._wait()


class Executed:
    """A command in a container that runs already, see `Engine.execute`: its ``output``, then its ``status``."""

    def __init__(self, command: Exec, stream: Stream) -> None:
        self.output = Output(stream)
        self._command = command

    async def status(self) -> int:
        """The exit status, after the output has been read to its end.

        Raises EngineUnavailable when the engine went away and does not see the command end.
        """
        for _ in range(_LOOKS):  # the output ends a moment before the engine knows how the command did
            with in_sentences():
                found = await self._command.inspect()
            if not found["Running"] and found["ExitCode"] is not None:
                return int(found["ExitCode"])
            await asyncio.sleep(_LOOK_SECONDS)
        raise EngineUnavailable("The container engine lost sight of a command.", hint="Try again.")
