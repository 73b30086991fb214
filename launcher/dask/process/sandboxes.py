"""What a cluster of the process runtime sees: what its session sees, without the session's server."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from pathlib import Path
from typing import Any

from launcher.builders.process.sandbox import ENVIRONMENT, HOME, Sandbox
from launcher.builders.process.store import EnvironmentStore
from launcher.config import Settings
from launcher.dask.base import CERTIFICATE, PRIVATE_KEY, RUN_DIRECTORY, ClusterOrder
from launcher.dask.process.places import Place
from launcher.errors import ClusterStartFailed, SessionStartFailed
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME, SessionRecord
from launcher.hub.session import SCRIPTS, VARIABLES_FILE, session_binds
from launcher.models import SessionMode

CLUSTER_VARIABLE = "LAUNCHER_DASK_CLUSTER"
"""Set on the outermost process of every cluster to its directory, so that a gateway that was started again finds it."""
_SESSION = "/run/session"
_DESCRIPTION = "cluster.json"


def sandbox_of(settings: Settings, record: SessionRecord, order: ClusterOrder, place: Place) -> Sandbox:
    """The sandbox of a cluster. Raises ClusterStartFailed when the environment or the session has gone."""
    try:
        binds = session_binds(settings, record.environment)
    except SessionStartFailed as error:
        raise ClusterStartFailed(error.message, hint=error.hint) from error
    binds += [(place.inside, RUN_DIRECTORY), *_of_session(Path(record.run_directory))]
    home = (Path(record.home), HOME)
    return Sandbox(
        read_only=tuple(dict.fromkeys([*binds, *([] if order.home_writable else [home])])),
        read_write=((place.tmp, "/tmp"), *([home] if order.home_writable else [])),  # noqa: S108 - the path inside
        directories=("/run", _SESSION),
        working_directory=HOME,
        share_network=True,
        die_with_parent=False,
        tmp_bytes=None,
    )


def _of_session(run: Path) -> list[tuple[Path, str]]:
    """What a cluster sees of its session's run directory.

    The session cannot replace either of them (see `session_sandbox`); if it could, links would lead anywhere.
    """
    alive, variables = run / ALIVE_NAME, run / VARIABLES_NAME
    kinds = [(stat.S_ISREG, alive), (stat.S_ISDIR, variables)]
    try:
        good = all(is_kind(path.lstat().st_mode) for is_kind, path in kinds)
    except OSError:
        good = False
    if not good:
        raise ClusterStartFailed("The session of this cluster has ended.", hint="Start the session again.")
    return [(path, f"{_SESSION}/{path.name}") for path in (alive, variables)]


def command_of(settings: Settings, record: SessionRecord) -> list[str]:
    """The first program of a cluster, with the Python that prepared the session."""
    full = False
    if record.environment is not None:
        meta = EnvironmentStore(settings.state / "environments").meta(record.environment)
        full = meta is not None and meta.mode == SessionMode.FULL.value
    python = Path(ENVIRONMENT if full else settings.server_environment, "bin", "python")
    return [str(python), f"{SCRIPTS}/cluster.py", f"{RUN_DIRECTORY}/{_DESCRIPTION}"]


def furnish(place: Place, record: SessionRecord, order: ClusterOrder, more: dict[str, Any]) -> None:
    """Write what the cluster needs to know, and give it to its owner."""
    description = {
        "home": HOME,
        "environment": ENVIRONMENT if record.environment is not None else None,
        "environment_id": record.environment or "server",
        "session": f"{_SESSION}/{VARIABLES_NAME}/{VARIABLES_FILE}",
        "session_lock": f"{_SESSION}/{ALIVE_NAME}",
        "variables": dict(order.variables),
        "scheduler": list(order.scheduler_arguments),
        **more,
    }
    files = {
        _DESCRIPTION: json.dumps(description).encode(),
        Path(CERTIFICATE).name: order.certificate,
        Path(PRIVATE_KEY).name: order.private_key,
    }
    for name, content in files.items():
        descriptor = os.open(place.inside / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    if record.owner is not None:
        for path in (place.tmp, place.inside, *place.inside.iterdir()):
            os.chown(path, *record.owner)


def spawn(argv: list[str], *, place: Place, record: SessionRecord, log: int, listener: int) -> subprocess.Popen[bytes]:
    """Start a cluster's sandbox, as the user who owns the session."""
    owner: dict[str, Any] = {}
    if record.owner is not None:
        uid, gid = record.owner
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        owner = {"user": uid, "group": gid, "extra_groups": groups}
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=(listener,),
        env={"PATH": os.defpath, CLUSTER_VARIABLE: str(place.directory)},
        start_new_session=True,
        **owner,
    )
