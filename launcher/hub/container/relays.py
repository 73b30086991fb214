"""The ways into and out of a container: unix sockets in its run directory, joined at both ends by small relays.

A container of ours has no network of the engine's. What it may reach is a list of `Way`; the program that joins them
outside, `launcher.hub.inside.relay`, is a process of its own that outlives the Hub and ends with the container.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import SessionStartFailed
from launcher.hub.inside import relay

DOORS_NAME = "doors"
"""In a run directory: sockets on which the relay outside listens. Containers see it read-only."""
DOORS = "/run/doors"
CONTAINER_NAME = "container.json"
"""In a run directory's inside part: what `launcher.hub.inside.container` reads."""
_RELAY_NAME = "relay.json"
_LOCK_NAME = "relay.lock"
_SECONDS = 20


@dataclass(frozen=True)
class Way:
    """One way through the wall of a container: where to listen and where that leads, outside and inside.

    Places are written as `launcher.hub.inside.relay` reads them.
    """

    outside: tuple[str, str]
    inside: tuple[str, str]

    @classmethod
    def out(cls, name: str, port: int, target: str, *, run: Path) -> Way:
        """Lets the container reach ``target`` at its own 127.0.0.1:``port``."""
        listens = f"unix:{run / DOORS_NAME / name}"
        return cls((listens, target), (f"tcp:127.0.0.1:{port}", f"unix:{DOORS}/{name}"))

    @classmethod
    def into(cls, name: str, port: int, *, outside: Path, inside: str) -> Way:
        """Lets this machine's 127.0.0.1:``port`` reach the same port in the container.

        By a socket that the container makes in a directory of its own: ``outside`` and ``inside`` are its paths.
        """
        address = f"tcp:127.0.0.1:{port}"
        return cls((address, f"unix:{outside / name}"), (f"unix:{inside}/{name}", address))


def inside_part(ways: Iterable[Way], *, lock: str | None, forget: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON that `launcher.hub.inside.container` reads."""
    return {"routes": [way.inside for way in ways], "lock": lock, "forget": list(forget)}


def make_doors(run: Path) -> Path:
    """The directory for `Way.out`, which everybody who sees it may use."""
    doors = run / DOORS_NAME
    doors.mkdir(mode=0o755)
    return doors


async def open_ways(run: Path, ways: Sequence[Way], *, pid: int, held: Iterable[Path] = ()) -> None:
    """Start the relay outside; returns when it listens. It ends with the process ``pid``, the container's first.

    ``held``: files on which the relay holds a shared lock, for who must know that it runs.
    Raises SessionStartFailed when it cannot listen.
    """
    order = {
        "routes": [way.outside for way in ways],
        "until": pid,
        "lock": str(run / _LOCK_NAME),
        "held": [str(path) for path in held],
    }
    (run / _RELAY_NAME).write_text(json.dumps(order))
    await _start(run)


async def keep_open(run: Path) -> None:
    """Start the relay of a running container again when it was killed; a look at a lock when it was not.

    Raises SessionStartFailed when it cannot listen any more.
    """
    if not _runs(run):
        with suppress(FileNotFoundError):  # it never had one, or has just ended
            await _start(run)


def _runs(run: Path) -> bool:
    try:
        descriptor = os.open(run / _LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def _start(run: Path) -> None:
    order = (run / _RELAY_NAME).read_text()
    # Without the site's packages, which it does not use: there is one of these for every session.
    command = [sys.executable, "-I", "-S", str(Path(relay.__file__)), order]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath},
        cwd="/",
    )
    async with asyncio.timeout(_SECONDS):
        _, words = await process.communicate()
    if process.returncode:
        raise SessionStartFailed(
            "The way into the session could not be opened.", hint="Try again; the hub's log says more."
        ) from OSError(words.decode(errors="replace").strip())
