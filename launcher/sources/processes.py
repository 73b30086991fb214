"""Running a program that strangers' servers feed: limited in time, memory, output and disk, and ended as a group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from launcher.errors import SourceError, SourceTooLarge, SourceUnavailable

_MEMORY = 3 * 1024**3


async def run_limited(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: bytes | AsyncIterator[bytes] | None,
    seconds: float,
    output_limit: int,
    watch: tuple[Path, int] | None,
) -> tuple[int, bytes, bytes]:
    """Exit status, output and the first 64 KiB of errors of a program; negative for the signal that ended it.

    watch: a directory and the bytes it may reach meanwhile. Raises SourceUnavailable after ``seconds`` and
    SourceTooLarge beyond a limit; every process of the program is gone when this returns, raises or is cancelled.
    """
    process = await asyncio.create_subprocess_exec(
        *_limits(seconds + 5),
        *command,
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds):
            return await _finish(process, stdin, output_limit, watch)
    except TimeoutError:
        raise SourceUnavailable(
            "The repository's host did not answer in time.", hint="Try again in a minute."
        ) from None
    finally:
        await _end(process)


def _limits(seconds: float) -> list[str]:
    """Limits that hold without this process: an end for a git whose launcher was killed, and a bound on its memory.

    A server decides how many refs and how deep a tree git has to think about.
    """
    command: list[str] = []
    if (timeout := shutil.which("timeout")) is not None:
        command += [timeout, "--signal=KILL", str(seconds)]
    if (prlimit := shutil.which("prlimit")) is not None:
        command += [prlimit, f"--as={_MEMORY}", "--core=0"]
    return command


async def _finish(
    process: asyncio.subprocess.Process,
    stdin: bytes | AsyncIterator[bytes] | None,
    output_limit: int,
    watch: tuple[Path, int] | None,
) -> tuple[int, bytes, bytes]:
    """Feed the process, read it to its end, and stop at the first limit."""
    if process.stdout is None or process.stderr is None:  # pragma: no cover - both are pipes
        raise ValueError("no pipes")
    watcher = asyncio.create_task(_watch(*watch)) if watch else None
    failed: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            output = tasks.create_task(_read(process.stdout, output_limit))
            error = tasks.create_task(_read_head(process.stderr))
            if stdin is not None:
                tasks.create_task(_feed(process, stdin))
            ended = tasks.create_task(_wait(process, output, error))
            if watcher is not None:
                tasks.create_task(_until(ended, watcher))
    except* SourceError as group:
        failed.extend(group.exceptions)  # raised below: Python before 3.11.4 would wrap it in a group again
    finally:
        if watcher is not None:
            watcher.cancel()
    if failed:
        raise failed[0]
    return process.returncode or 0, output.result(), error.result()


async def _wait(process: asyncio.subprocess.Process, *readers: asyncio.Task[bytes]) -> None:
    await asyncio.wait(readers)
    await process.wait()


async def _until(ended: asyncio.Task[None], watcher: asyncio.Task[None]) -> None:
    """Wait for the process, or for the watcher to object."""
    await asyncio.wait({ended, watcher}, return_when=asyncio.FIRST_COMPLETED)
    if watcher.done():
        watcher.result()


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    chunks: list[bytes] = []
    count = 0
    while chunk := await stream.read(65536):
        count += len(chunk)
        if count > limit:
            raise SourceTooLarge("The repository has more branches or files than is accepted.")
        chunks.append(chunk)
    return b"".join(chunks)


async def _read_head(stream: asyncio.StreamReader) -> bytes:
    """The first 64 KiB; the rest is read and forgotten, so that a talkative server blocks nothing."""
    head = b""
    while chunk := await stream.read(65536):
        head = (head + chunk)[:65536]
    return head


async def _feed(process: asyncio.subprocess.Process, stdin: bytes | AsyncIterator[bytes]) -> None:
    if process.stdin is None:  # pragma: no cover - it is a pipe
        raise ValueError("no pipe")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # git ended early: its status tells
        if isinstance(stdin, bytes):
            process.stdin.write(stdin)
        else:
            async for chunk in stdin:
                process.stdin.write(chunk)
                await process.stdin.drain()
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _watch(directory: Path, limit: int) -> None:
    """Raise SourceTooLarge as soon as a directory holds more bytes than it may; the kernel has no event for it."""
    while True:
        if await asyncio.to_thread(size_of, directory) > limit:
            raise SourceTooLarge("The repository is larger than is accepted.")
        await asyncio.sleep(0.1)


def size_of(directory: Path) -> int:
    """Bytes on disk of everything below a directory; files that vanish meanwhile do not count."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # git renames its temporary files while we look
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118 - a hot loop
    return total


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the whole group of a process that is still there, and wait for it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
    # Its pipes: closing them here keeps them from being closed by the garbage collector later.
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
