"""What a cluster is told, in the files that it finds in `base.RUN_DIRECTORY`."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.builders.process.sandbox import ENVIRONMENT, HOME
from launcher.dask.base import CERTIFICATE, PRIVATE_KEY, RUN_DIRECTORY
from launcher.dask.nurseries.places import Places
from launcher.dask.nurseries.sandbox import ClusterStart
from launcher.errors import ClusterStartFailed
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME
from launcher.hub.session import SCRIPTS, SHARED, VARIABLES_FILE

_DESCRIPTION = "cluster.json"
COMMAND = (f"{SCRIPTS}/cluster.py", f"{RUN_DIRECTORY}/{_DESCRIPTION}")
"""The first program of a cluster, for the Python that prepared the session."""


def binds_of_session(run: Path) -> list[tuple[Path, str]]:
    """What a cluster sees of its session's run directory, as (outside, inside).

    The session cannot replace either of them (see `session_sandbox`); if it could, links would lead anywhere.
    Raises ClusterStartFailed when they are not what they should be.
    """
    alive, variables = run / ALIVE_NAME, run / VARIABLES_NAME
    kinds = [(stat.S_ISREG, alive), (stat.S_ISDIR, variables)]
    try:
        good = all(is_kind(path.lstat().st_mode) for is_kind, path in kinds)
    except OSError:
        good = False
    if not good:
        raise ClusterStartFailed("The session of this cluster has ended.", hint="Start the session again.")
    return [(path, f"{SHARED}/{path.name}") for path in (alive, variables)]


def environments_of(places: Places) -> frozenset[str]:
    """References of the environments that clusters run in: some outlive their sessions."""
    found = set()
    for name in places.clusters():
        with suppress(OSError, ValueError, KeyError, TypeError):  # it ends, or was never furnished
            found.add(str(json.loads((places.cluster(name).inside / _DESCRIPTION).read_bytes())["environment_id"]))
    return frozenset(found)


def furnish(start: ClusterStart, **more: Any) -> None:
    """Write what the cluster needs to know, and ``more`` that its runtime adds, and give it to its owner."""
    order, record, inside = start.order, start.record, start.place.inside
    description = {
        "home": HOME,
        "environment": ENVIRONMENT if record.environment is not None else None,
        "environment_id": record.environment or "server",
        "session": f"{SHARED}/{VARIABLES_NAME}/{VARIABLES_FILE}",
        "session_lock": f"{SHARED}/{ALIVE_NAME}",
        "variables": dict(order.variables),
        "scheduler": list(order.scheduler_arguments),
        **start.patience,
        **more,
    }
    files = {
        _DESCRIPTION: json.dumps(description).encode(),
        Path(CERTIFICATE).name: order.certificate,
        Path(PRIVATE_KEY).name: order.private_key,
    }
    for name, content in files.items():
        descriptor = os.open(inside / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    if record.owner is not None:
        for path in (start.place.tmp, inside, *inside.iterdir()):
            os.chown(path, *record.owner)
