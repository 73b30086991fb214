"""Dask-Gateway's Go proxy as a process of its own: connections to schedulers outlive a restart of the gateway."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import structlog

log = structlog.get_logger(__name__)
_FILE = "proxy.json"
_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 10.0
_STOP_SECONDS = 5


def find_proxy(directory: Path) -> psutil.Process | None:
    """The running proxy that was started with this directory, or None."""
    try:
        known = json.loads((directory / _FILE).read_bytes())
        process = psutil.Process(known["pid"])
        same = process.create_time() == known["created"] and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process if same else None


def stop_proxy(directory: Path) -> None:
    """End the proxy of this directory, if it runs."""
    process = find_proxy(directory)
    if process is not None:
        with suppress(psutil.Error):
            process.terminate()
            process.wait(_STOP_SECONDS)
    (directory / _FILE).unlink(missing_ok=True)


class ProxyKeeper:
    """Starts the proxy, or takes over the one that runs, and starts it again when it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keeping: asyncio.Task[None] | None = None

    async def start(self, proxy: Any) -> None:
        """Have it run from now on. ``proxy``: upstream's `Proxy`, which knows the command line."""
        command = proxy.get_start_command(is_child_process=False)
        environment = {"DASK_GATEWAY_PROXY_TOKEN": proxy.api_token, "PATH": os.environ.get("PATH", os.defpath)}
        self._ensure(command, environment)
        self._keeping = asyncio.create_task(self._keep(command, environment))

    async def close(self, *, keep_running: bool) -> None:
        """Stop looking after it, and end it unless somebody's connections go through it."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        if not keep_running:
            await asyncio.to_thread(stop_proxy, self._directory)

    def _ensure(self, command: list[str], environment: dict[str, str]) -> None:
        running = find_proxy(self._directory)
        if running is not None and running.cmdline() == command:
            return
        stop_proxy(self._directory)
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        known = {"pid": process.pid, "created": psutil.Process(process.pid).create_time()}
        (self._directory / _FILE).write_text(json.dumps(known))

    async def _keep(self, command: list[str], environment: dict[str, str]) -> None:
        """Wait for its end, told by the kernel, and start it again; less and less often when it ends at once."""
        pause = _PAUSE_SECONDS
        while True:
            process = find_proxy(self._directory)
            began = time.monotonic()
            if process is not None:
                await _ended(process.pid)
                log.warning("dask_gateway.proxy_ended")
            lived = time.monotonic() - began
            pause = _PAUSE_SECONDS if lived > _LONGEST_PAUSE_SECONDS else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)
            with suppress(OSError, psutil.Error):
                self._ensure(command, environment)


async def _ended(pid: int) -> None:
    """Return when the process has ended."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended: asyncio.Future[None] = loop.create_future()

    def on_end() -> None:
        loop.remove_reader(descriptor)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, on_end)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
