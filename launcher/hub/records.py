"""What a spawner writes down about a session on this machine, for others there to rely on.

One file for each session in ``<state>/sessions/``. Whether the session lives is not written but held: its sandbox
keeps a lock on ``<run directory>/alive`` (bubblewrap's ``--lock-file``, or the first program of a container) and the
kernel takes it away with the sandbox.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launcher.hub.inside.lock import is_held

ALIVE_NAME = "alive"
"""File of a run directory on which a living session holds a lock."""
VARIABLES_NAME = "variables"
"""Directory of a run directory in which the session leaves its variables for the clusters it will have."""

_STARTING_SECONDS = 300  # a session has its record before it lives


@dataclass(frozen=True)
class SessionRecord:
    """A session as it was started.

    environment: `BuiltEnvironment.reference`, None for a session with the launcher's own environment.
    home, run_directory: absolute paths outside the sandbox. owner: (uid, gid) of its processes, None for our own.
    repository: name of the repository, "" for a regular session. dask: whether its token may use Dask-Gateway.
    personal: it sees the person's home, not a project home. image: id of its image, "" in a runtime without. python:
    the Python in that image which prepared it. size: name of its machine size, "" without one.
    """

    user: str
    server_name: str
    environment: str | None
    home: str
    run_directory: str
    owner: tuple[int, int] | None
    repository: str
    dask: bool
    personal: bool
    image: str = ""
    python: str = ""
    size: str = ""

    @property
    def is_live(self) -> bool:
        """Whether the sandbox of this start still runs."""
        return is_held(Path(self.run_directory) / ALIVE_NAME)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> SessionRecord:
        """The inverse of ``asdict``; TypeError when it is something else."""
        owner = body.get("owner")
        return cls(**{**body, "owner": tuple(owner) if owner else None})


class SessionRecords:
    """The records below one state directory."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "sessions"

    def write(self, record: SessionRecord) -> None:
        """Put a record in place of the session's earlier one, at once."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(record.user, record.server_name)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(asdict(record)))
        partial.chmod(0o600)
        partial.replace(path)

    def remove(self, user: str, server_name: str) -> None:
        """Forget a session that has ended."""
        self._path(user, server_name).unlink(missing_ok=True)

    def get(self, user: str, server_name: str) -> SessionRecord | None:
        """The record of a session that lives, or None."""
        record = _read(self._path(user, server_name))
        return record if record is not None and record.is_live else None

    def live(self, user: str) -> list[SessionRecord]:
        """Records of a person's living sessions, the youngest first."""
        paths = sorted(self._directory.glob("*.json"), key=_modified, reverse=True)
        return [record for record in _records(paths) if record.user == user and record.is_live]

    def environments(self) -> frozenset[str]:
        """References of the environments that sessions of anybody run in, or are starting with."""
        recent = time.time() - _STARTING_SECONDS
        paths = list(self._directory.glob("*.json"))
        young = {path for path in paths if _modified(path) > recent}
        found = ((path, _read(path)) for path in paths)
        return frozenset(
            record.environment
            for path, record in found
            if record is not None and record.environment and (path in young or record.is_live)
        )

    def _path(self, user: str, server_name: str) -> Path:
        digest = hashlib.sha256(f"{user}\0{server_name}".encode()).hexdigest()[:32]
        return self._directory / f"{digest}.json"


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> SessionRecord | None:
    try:
        return SessionRecord.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _records(paths: list[Path]) -> Iterator[SessionRecord]:
    for path in paths:
        if (record := _read(path)) is not None:
            yield record
