"""The door of a Dask cluster's sandbox: ``python /srv/launcher/cluster.py cluster.json``.

Finds the Python that the session's kernels have, puts together the variables that scheduler and workers see, and
becomes the `nursery`. The cluster file is one JSON object::

    home             path: the home directory, also $HOME
    environment      path of the session's environment, or null: the Python that runs this
    environment_id   names the layer of this environment in the home
    session          path of the variables that the session left, see `serve`; may be missing
    variables        {name: value} that nobody may change
    orders           number of the descriptor on which orders are accepted
    begin            path of a socket from which that descriptor and the one for our output come; without it they are
                     there already
    ...              and what `nursery` reads
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

_MOST_VARIABLES = 1024 * 1024  # bytes of the session's file; its code can write it
_PYTHON = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(cluster_file: str) -> NoReturn:
    """Prepare and hand over."""
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)  # as in `server`
    kernel_layer = importlib.import_module(f"{here.name}.kernel_layer")
    repository = importlib.import_module(f"{here.name}.repository")
    cluster: dict[str, Any] = json.loads(Path(cluster_file).read_bytes())
    if cluster.get("begin"):
        _fetch_descriptors(cluster["begin"], cluster["orders"])
    home = Path(cluster["home"])
    environment = Path(cluster["environment"]) if cluster["environment"] else kernel_layer.running_environment()
    places = [environment]
    try:
        places.insert(0, kernel_layer.make_layer(environment, cluster["environment_id"], home).directory)
    except OSError as error:  # a home that cannot be written, and no layer in it
        print(f"layer: {error}", file=sys.stderr)  # noqa: T201 - the scheduler's log
    variables = _variables(cluster, home, places)
    content = variables.get("REPO_DIR", "")
    if content and Path(content).is_dir():
        os.chdir(content)
        repository.lead_to(Path(content))
    else:
        os.chdir(home)
    python = str(places[0] / "bin" / "python")
    os.execve(python, [python, "-s", "-u", str(here / "nursery.py"), cluster_file], variables)  # noqa: S606


def _fetch_descriptors(path: str, orders: int) -> None:
    """Take over the listener for orders, as descriptor ``orders``, and the log, as our output."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gateway:
        gateway.connect(path)
        _, [(_, _, descriptors)], _, _ = gateway.recvmsg(1, socket.CMSG_SPACE(8))
    listener, log = struct.unpack("2i", descriptors[:8])
    for descriptor, number in ((log, 1), (log, 2), (listener, orders)):
        os.dup2(descriptor, number)
    os.closerange(3, orders)


def _variables(cluster: dict[str, Any], home: Path, places: list[Path]) -> dict[str, str]:
    """What scheduler and workers see: the session's variables, then the gateway's, then what is certain."""
    variables = {**os.environ, **_of_session(Path(cluster["session"])), **cluster["variables"]}
    for name in _PYTHON:
        variables.pop(name, None)
    for name in _THREADS:  # as a nanny of Dask has it: a worker's threads are its tasks
        variables.setdefault(name, "1")
    variables.setdefault("MALLOC_TRIM_THRESHOLD_", "65536")
    variables.update(
        HOME=str(home),
        PATH=os.pathsep.join([*(str(place / "bin") for place in places), os.environ.get("PATH", os.defpath)]),
        VIRTUAL_ENV=str(places[0]),
        PYTHONNOUSERSITE="1",
        DASK_TEMPORARY_DIRECTORY="/tmp",  # noqa: S108 - the sandbox's own
    )
    return variables


def _of_session(path: Path) -> dict[str, str]:
    """The variables that the session left; none when there are none or it is something else."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_VARIABLES))
    except (OSError, ValueError, RecursionError) as error:
        print(f"variables of the session: {error}", file=sys.stderr)  # noqa: T201 - the scheduler's log
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if name and "=" not in name and _fits(name) and _fits(value)}


def _fits(text: object) -> bool:
    """Whether it can be in a process's environment."""
    if not isinstance(text, str) or "\0" in text:
        return False
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # half of a character
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1])
