"""Runs one command of a build to its end, however it wants to end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import psutil

from launcher.builders.process.cgroup import confine, release
from launcher.builders.uv.limits import BuildLimits, Watcher
from launcher.builders.uv.output import Tail, follow
from launcher.builders.uv.runtime import Outcome
from launcher.models import BuildId

_PIECE = 65536
BUILD_VARIABLE = "LAUNCHER_BUILD_ID"
"""Set on the outermost process of every sandbox of a build, so that a later process can find what is left."""


async def run_command(
    argv: Sequence[str],
    *,
    build_id: BuildId,
    write: Callable[[str], None],
    limits: BuildLimits,
    watcher: Watcher,
) -> Outcome:
    """Run ``argv`` with its output going to ``write``; nothing of it is left when this returns or raises.

    Raises BuildLimitExceeded (also whatever ``write`` raises), OSError when it cannot start.
    """
    process = await asyncio.create_subprocess_exec(
        *confine(build_id, limits.task_limit, argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.defpath, BUILD_VARIABLE: build_id},
        start_new_session=True,
    )
    tail = Tail()
    following = asyncio.create_task(_follow(process, tail, write, limits.idle_seconds))
    watch = asyncio.create_task(watcher.watch(process.pid))
    try:
        done, _ = await asyncio.wait({following, watch}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a limit is exceeded
        status = await following
    finally:
        await asyncio.shield(asyncio.create_task(_end(process, following, watch)))
    await watcher.check_disk()
    return Outcome(status if status >= 0 else 128 - status, tail.text)


async def _follow(
    process: asyncio.subprocess.Process, tail: Tail, write: Callable[[str], None], idle: float | None
) -> int:
    """Move output to the log as it comes, then wait for the end; its status."""
    if process.stdout is not None:
        await follow(_pieces(process.stdout), tail, write, idle)
    return await process.wait()


async def _pieces(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await stream.read(_PIECE):
        yield data


async def _end(process: asyncio.subprocess.Process, *tasks: asyncio.Task[Any]) -> None:
    """Kill what still runs and wait for all of it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if process.returncode is None:
        await asyncio.to_thread(kill_tree, process.pid)
    # Read to the end, so that the pipe is closed before the event loop is.
    await process.communicate()


def kill_tree(process_id: int, patience: float = 10.0) -> None:
    """Kill a sandbox by its outermost process, and wait until everything in it is gone.

    Its child is the first process of the sandbox's own process namespace: when that one dies the kernel kills all
    others, and it is gone only after they are.
    """
    with contextlib.suppress(psutil.NoSuchProcess):  # it ended first
        root = psutil.Process(process_id)
        first = root.children()
        for one in (root, *first):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        psutil.wait_procs(first, timeout=patience)


def kill_build(build_id: BuildId) -> None:
    """Kill every process that was started for a build, by whoever."""
    for process, marked in marked_processes(BUILD_VARIABLE):
        if marked == build_id:
            kill_tree(process.pid)
            with contextlib.suppress(psutil.Error):  # a child of another process is not ours to reap
                process.wait(timeout=10)
    release(build_id)


def marked_processes(variable: str) -> Iterator[tuple[psutil.Process, str]]:
    """Processes that were started with an environment variable, and its value; those we may look at."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # gone, or somebody else's
            value = process.environ().get(variable)
            if value is not None:
                yield process, value
