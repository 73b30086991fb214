"""What a session of the process runtime sees, and what its first program is told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.builders.process.sandbox import ENVIRONMENT, HOME, Sandbox
from launcher.builders.process.store import EnvironmentMeta, EnvironmentStore
from launcher.config import Settings
from launcher.errors import SessionStartFailed
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME
from launcher.models import LaunchPlan, SessionMode
from launcher.sessions.names import is_launch_server

SOCKET_NAME = "voice"
_INSIDE = Path(__file__).with_name("inside")
SCRIPTS = "/srv/launcher"
"""Where `inside` is in every sandbox that is a session or belongs to one."""
VARIABLES_FILE = "environment.json"
"""In `records.VARIABLES_NAME`: what the session's kernels see."""
INSIDE_NAME = "inside"
"""In a run directory: what the session alone has, its description and the socket on which it speaks."""
RUN = "/run/launcher"
"""Where a session sees `INSIDE_NAME`."""
SHARED = "/run/session"
"""Where a session and its clusters see what they share of its run directory."""
CONTENT = "/srv/content"
"""Where a session sees the bare repository that its content comes from."""
_OVERLAY = "/srv/environment-overlay"
_OVERLAY_PARTS = ("repository", "home")
DESCRIPTION_NAME = "session.json"


def describe_session(plan: LaunchPlan | None, *, arguments: Sequence[str], dask: bool, launches: str) -> dict[str, Any]:
    """The JSON that the session's first program reads; see ``launcher/hub/inside/session.py``.

    ``arguments`` are the Hub's for the single-user server; ``dask``: the hub has Dask-Gateway; ``launches``: path of
    the page of one's launches.
    """
    description: dict[str, Any] = {
        "home": HOME,
        "mode": SessionMode.KERNEL.value,
        "server": ["-m", "jupyterhub.singleuser", *arguments],
        "ready_socket": f"{RUN}/{SOCKET_NAME}",
        "dask": dask,
        "launches": launches,
        "variables": f"{SHARED}/{VARIABLES_NAME}/{VARIABLES_FILE}",
    }
    if plan is None:
        return description
    if plan.environment is not None:
        description |= {"environment": ENVIRONMENT, "environment_id": plan.environment}
        description |= {"overlay": {name: f"{_OVERLAY}/{name}" for name in _OVERLAY_PARTS}}
    content = {**plan.content, "repository": CONTENT} if plan.content is not None else None
    description |= {"mode": plan.mode.value, "content": content, "start": plan.start}
    return description if is_launch_server(plan.server_name) else description | {"root": "home"}


def server_python(server_environment: str, plan: LaunchPlan | None) -> str:
    """The Python that a session's server has, as a path inside: ours, or the environment's own."""
    full = plan is not None and plan.mode is SessionMode.FULL
    return str(Path(ENVIRONMENT if full else server_environment, "bin", "python"))


def first_command(python: str) -> list[str]:
    """The program that prepares the session and becomes its server, with the Python that the server will have."""
    return [python, f"{SCRIPTS}/server.py", f"{RUN}/{DESCRIPTION_NAME}"]


def session_sandbox(settings: Settings, plan: LaunchPlan | None, *, home: Path, run: Path) -> Sandbox:
    """The sandbox of a session. Raises SessionStartFailed when its environment has gone.

    The server is the sandbox's own child: it outlives the Hub's process, so that a restart of the Hub ends nobody's
    work.
    """
    read_only = session_binds(settings, plan.environment if plan is not None else None)
    if plan is not None and plan.content is not None:
        read_only.append((Path(plan.content["repository"]), CONTENT))
    return Sandbox(
        read_only=tuple(dict.fromkeys(read_only)),
        read_write=((home, HOME), (run / "tmp", "/tmp"), *_run_binds(run)),  # noqa: S108 - the path inside
        directories=("/run", SHARED, _OVERLAY),
        working_directory=HOME,
        share_network=True,
        die_with_parent=False,
        keep_environment=True,
        tmp_bytes=None,
        lock_file=f"{SHARED}/{ALIVE_NAME}",
    )


def _run_binds(run: Path) -> list[tuple[Path, str]]:
    """What a session sees of its run directory, which is never the directory itself.

    Clusters get two things of it by their paths: a session that could put a link in their place would choose what of
    this machine its clusters see.
    """
    shared = [(run / name, f"{SHARED}/{name}") for name in (ALIVE_NAME, VARIABLES_NAME)]
    return [(run / INSIDE_NAME, RUN), *shared]


def session_binds(settings: Settings, environment: str | None) -> list[tuple[Path, str]]:
    """What a session and its clusters see read-only, as (outside, inside): our server, Python, and the environment.

    Raises SessionStartFailed when the environment has gone.
    """
    binds = [(Path(settings.server_environment), settings.server_environment), (_INSIDE, SCRIPTS)]
    binds += [(prefix, str(prefix)) for prefix in _interpreter_prefixes(settings)]
    if environment is not None:
        store = EnvironmentStore(settings.state / "environments")
        meta = store.meta(environment)
        if meta is None:
            raise SessionStartFailed(
                "The environment of this session is not there any more.", hint="Open the launch link again to build it."
            )
        binds += _environment_binds(store.path(environment), meta)
    return binds


def _environment_binds(directory: Path, meta: EnvironmentMeta) -> list[tuple[Path, str]]:
    binds = [(directory / "venv", ENVIRONMENT)]
    binds += [(Path(prefix), prefix) for prefix in meta.binds]
    overlays = ((directory / "postbuild" / name, f"{_OVERLAY}/{name}") for name in _OVERLAY_PARTS)
    return binds + [(path, inside) for path, inside in overlays if path.is_dir()]


def _interpreter_prefixes(settings: Settings) -> list[Path]:
    """Where the Python behind the server environment lives, unless the system's directories hold it."""
    python = Path(settings.server_environment, "bin", "python").resolve()
    prefixes = {python.parent.parent, Path(sys.base_prefix)}
    return [prefix for prefix in sorted(prefixes) if not str(prefix).startswith("/usr/") and str(prefix) != "/usr"]
