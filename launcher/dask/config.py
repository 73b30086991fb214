"""Settings of Dask: traits at the edge (``c.LauncherDask.…``), one frozen `DaskSettings` inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from traitlets import Dict, Enum, Float, Integer, List, TraitError, Unicode, Union
from traitlets.config import Configurable

from launcher.traits import traits_for

LIMIT_KINDS = ("clusters", "workers", "cores", "memory")
"""What can be limited; ``memory`` counts bytes of workers, ``cores`` those of workers."""
Limits = Mapping[str, int]
"""Kind -> most. A kind that is missing has no limit."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def size_in_bytes(value: float | str) -> int:
    """Bytes of ``"4 G"``, ``"512M"`` or a number. TraitError when it is neither."""
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise TraitError(f"{value!r} is not an amount of memory such as '4 G' or '512 M'.")
        value = float(match[1]) * _UNITS[match[2].upper()]
    if value <= 0:
        raise TraitError("An amount of memory must be more than nothing.")
    return int(value)


@dataclass(frozen=True)
class DaskSettings:
    """Everything an operator decided about Dask, checked. Field by field the traits of `LauncherDask`.

    Ports that are 0 in the traits are filled when the hub starts, and stay the same from one start to the next.
    """

    service_name: str
    port: int
    api_port: int
    dashboards_port: int
    groups: tuple[str, ...]
    user_limits: Limits
    group_user_limits: Mapping[str, Limits]
    group_limits: Mapping[str, Limits]
    worker_cores: int
    worker_cores_max: int
    worker_memory: int
    worker_memory_max: int
    scheduler_memory: int
    idle_timeout_seconds: float
    session_grace_seconds: float
    keep_hours_max: float
    home: str
    environments: str
    packages: tuple[str, ...] = field(default=())

    @property
    def scope(self) -> str:
        """The Hub's scope that lets somebody have clusters."""
        return f"access:services!service={self.service_name}"


class LauncherDask(Configurable):
    """The operator's traits about Dask; ``c.Launcher.dask = True`` switches it on."""

    service_name = Unicode("dask-gateway", help="Name of the Hub service in front of the clusters.").tag(config=True)
    port = Integer(
        0,
        min=0,
        max=65535,
        help="Loopback port of Dask-Gateway's proxy; 0 picks a free one, which is kept from start to start.",
    ).tag(config=True)
    api_port = Integer(0, min=0, max=65535, help="Loopback port of Dask-Gateway itself; 0 as for `port`.").tag(
        config=True
    )
    dashboards_port = Integer(
        0, min=0, max=65535, help="Loopback port behind which dashboards ask for the Hub's login; 0 as for `port`."
    ).tag(config=True)
    groups = List(
        Unicode(),
        help="Groups of the Hub whose members may have clusters. Empty: everybody may. Admins of the Hub always may.",
    ).tag(config=True)
    user_limits = Dict(
        {"clusters": 4, "workers": 16, "cores": 16, "memory": "32 G"},
        help="What one person may have at once: `clusters`, `workers`, `cores` and `memory` of workers. Asked-for "
        "sizes count, not used ones. Leave a kind out for no limit.",
    ).tag(config=True)
    group_user_limits = Dict(
        help="Other limits for each member of a group, by group: `{'course-1': {'workers': 4}}`. Kinds that are left "
        "out are as in `user_limits`; somebody in several groups gets the most generous of them."
    ).tag(config=True)
    group_limits = Dict(
        help="What all members of a group may have together, by group: `{'course-1': {'cores': 64}}`."
    ).tag(config=True)
    worker_cores = Integer(1, min=1, help="Cores of a worker, unless the person chooses.").tag(config=True)
    worker_cores_max = Integer(4, min=1, help="Most cores a worker can be given.").tag(config=True)
    worker_memory = Union(
        [Integer(), Float(), Unicode()], default_value="2 G", help="Memory of a worker, unless the person chooses."
    ).tag(config=True)
    worker_memory_max = Union(
        [Integer(), Float(), Unicode()], default_value="8 G", help="Most memory of one worker."
    ).tag(config=True)
    scheduler_memory = Union(
        [Integer(), Float(), Unicode()],
        default_value="2 G",
        help="Memory of a scheduler, in the runtimes that limit a cluster as a whole: containers.",
    ).tag(config=True)
    idle_timeout_seconds = Float(
        1800, min=0, help="A cluster without work ends after this time; 0 lets it idle as long as its session lives."
    ).tag(config=True)
    session_grace_seconds = Float(
        30, min=0, help="How long a cluster waits for its session to come back before it ends too."
    ).tag(config=True)
    keep_hours_max = Float(
        24, min=0, help="For how many hours at most a person may keep a cluster after its session; 0 forbids it."
    ).tag(config=True)
    home = Enum(
        ["read-write", "read-only"], "read-write", help="How workers see the home of the session they belong to."
    ).tag(config=True)
    environments = Enum(
        ["asked", "choice", "always"],
        "choice",
        help="Which environments get Dask's packages: those whose packages include one of them (`asked`), also those "
        "for which the person says so on the launch page (`choice`), or all (`always`).",
    ).tag(config=True)
    packages = List(
        Unicode(),
        ["dask", "distributed", "dask-gateway", "bokeh"],
        help="Packages that make an environment fit for clusters and dashboards, as requirements.",
    ).tag(config=True)

    def settings(self) -> DaskSettings:
        """The traits as `DaskSettings`. TraitError when they cannot work together."""
        values = traits_for(self, DaskSettings)
        for name in ("worker_memory", "worker_memory_max", "scheduler_memory"):
            values[name] = size_in_bytes(values[name])
        values["user_limits"] = _limits("user_limits", self.user_limits)
        for name in ("group_user_limits", "group_limits"):
            values[name] = {str(group): _limits(f"{name}[{group!r}]", limits) for group, limits in values[name].items()}
        settings = DaskSettings(**values)
        if settings.worker_cores > settings.worker_cores_max or settings.worker_memory > settings.worker_memory_max:
            raise TraitError(
                "worker_cores and worker_memory cannot be more than worker_cores_max and worker_memory_max."
            )
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", settings.service_name):
            raise TraitError(f"service_name {settings.service_name!r}: only lower-case letters, digits and hyphens.")
        return settings


def _limits(where: str, limits: Any) -> dict[str, int]:
    """One set of limits, checked: known kinds, numbers of at least 0, memory in bytes."""
    if not isinstance(limits, Mapping):
        raise TraitError(f"{where} must be a dict such as {{'workers': 8, 'memory': '16 G'}}.")
    unknown = sorted(set(limits) - set(LIMIT_KINDS))
    if unknown:
        raise TraitError(f"{where}: there is no limit called {unknown[0]!r}; there are {', '.join(LIMIT_KINDS)}.")
    found = {kind: size_in_bytes(value) if kind == "memory" else value for kind, value in limits.items()}
    for kind, value in found.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise TraitError(f"{where}: {kind} must be a whole number of at least 0, not {value!r}.")
    return found
