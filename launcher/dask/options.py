"""What a person may choose for a cluster: an environment that one of their sessions runs, and sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from dask_gateway_server import options as fields
from dask_gateway_server.backends.base import ClusterConfig
from traitlets import Float, Unicode

from launcher.dask.authenticator import GatewayUser
from launcher.dask.base import LiveSession
from launcher.dask.config import DaskSettings

_GIB = 2**30
_SMALLEST_MEMORY = 0.25
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = ("DASK_GATEWAY_", "DASK_DISTRIBUTED__COMM__", "LD_", "JUPYTERHUB_")
_LONGEST = 64 * 1024


class LaunchClusterConfig(ClusterConfig):  # type: ignore[misc]  # dask-gateway-server has no types
    """The configuration of one cluster: upstream's, and what the launcher decided about it."""

    server_name = Unicode(help="The session it belongs to.")
    image = Unicode(help="The environment it runs: what the session runs.")
    title = Unicode(help="What a person calls the session.")
    group_names = Unicode(help="The owner's groups when it was made, one a line.")
    keep_hours = Float(0, min=0, help="For how long it may outlive its session.")


class _Amount(fields.Float):  # type: ignore[misc]
    """A number with bounds. Upstream's lets "not a number" through, which is neither too small nor too large."""

    def validate(self, x: Any) -> float:
        value: float = super().validate(x)
        if math.isnan(value):
            raise ValueError(f"{self.field} must be a number.")
        return value


def choice_of(session: LiveSession) -> str:
    """How an environment is offered: readable, and exact enough to tell two of them apart."""
    return f"{session.title} ({session.environment.removeprefix('sha256:')[:12]})"


def allowed_sessions(user: GatewayUser, sessions: list[LiveSession]) -> list[LiveSession]:
    """The sessions whose environments this person may choose now, the asking one first.

    Raises aiohttp's 422 with a sentence when there is none.
    """
    asking = next((one for one in sessions if one.server_name == user.session), None)
    if asking is not None and asking.refusal:
        raise web.HTTPUnprocessableEntity(reason=asking.refusal)
    allowed = [one for one in sessions if not one.refusal]
    if user.session is not None and asking is None:
        raise web.HTTPUnprocessableEntity(reason="The launcher does not know the session that asks, so it has no Dask.")
    if not allowed:
        raise web.HTTPUnprocessableEntity(reason="Clusters belong to a running session; start one first.")
    return sorted(allowed, key=lambda one: one is not asking)


def options_for(user: GatewayUser, sessions: list[LiveSession], settings: DaskSettings) -> fields.Options:
    """The cluster options of one person at this moment. Raises as `allowed_sessions` does."""
    by_choice: dict[str, LiveSession] = {}
    for session in allowed_sessions(user, sessions):
        by_choice.setdefault(choice_of(session), session)
    offered = [
        fields.Select("image", options=list(by_choice), label="Environment"),
        fields.Integer(
            "worker_cores", settings.worker_cores, min=1, max=settings.worker_cores_max, label="Cores of a worker"
        ),
        _Amount(
            "worker_memory",
            settings.worker_memory / _GIB,
            min=min(_SMALLEST_MEMORY, settings.worker_memory / _GIB),
            max=settings.worker_memory_max / _GIB,
            label="Memory of a worker (GiB)",
        ),
        fields.Mapping("environment", {}, label="Environment variables"),
    ]
    if settings.keep_hours_max:
        label = "Keep after the session has ended (hours)"
        offered.append(_Amount("keep_hours", 0, min=0, max=settings.keep_hours_max, label=label))

    def configuration(chosen: Any, _user: GatewayUser) -> dict[str, Any]:
        session = by_choice[chosen.image]
        return {
            "environment": checked_variables(chosen.environment),
            "worker_cores": chosen.worker_cores,
            "worker_memory": int(chosen.worker_memory * _GIB),
            "idle_timeout": settings.idle_timeout_seconds,
            "server_name": session.server_name,
            "image": session.environment,
            "title": session.title,
            "group_names": "\n".join(sorted(user.groups)),
            "keep_hours": chosen.keep_hours if settings.keep_hours_max else 0,
        }

    return fields.Options(*offered, handler=configuration)


def checked_variables(variables: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables a person may set for a cluster. ValueError with a sentence for others."""
    checked: dict[str, str] = {}
    for name, value in variables.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError("environment: a variable's name has letters, digits and underscores only.")
        if name.startswith(_OURS):
            raise ValueError(f"environment: {name} cannot be set for a cluster.")
        if not isinstance(value, str | int | float) or not _is_text(str(value)):
            raise ValueError(f"environment: {name} must be text.")
        checked[name] = str(value)
    if sum(len(name) + len(value) for name, value in checked.items()) > _LONGEST:
        raise ValueError("environment: these are more than 64 KiB of variables.")
    return checked


def _is_text(value: str) -> bool:
    """Whether a process can be given this: no null, no half of a character."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
