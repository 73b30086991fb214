"""What a session may use of the machine, and what it is told of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from launcher.control_groups import Limits
from launcher.hub.spawner import person_of
from launcher.models import MachineSize
from launcher.policy.sizes import Enforceable, MachineSizes

_MEMORY, _CPU = "MEM", "CPU"


def first_size(sizes: tuple[MachineSize, ...], user: Any, limits: Collection[str]) -> MachineSize | None:
    """The machine size of a regular session that is started without a plan: the first one that is for the person.

    So nobody gets around sizes by the Hub's own pages. ``limits``: which ones this machine can enforce. Raises
    MachineSizeNotAllowed when no size is for the person.
    """
    return MachineSizes(sizes, Enforceable.of(limits)).choose("", person_of(user))


def limits_of(size: MachineSize | None, own: Limits) -> Limits:
    """The limits of a size; what it says nothing about is as the spawner's ``own`` ``mem_limit`` and ``cpu_limit``."""
    if size is None:
        return own
    return Limits(memory_bytes=size.memory_bytes or own.memory_bytes, cpus=size.cpus or own.cpus)


def limit_variables(limits: Limits, environment: Mapping[str, str]) -> dict[str, str]:
    """JupyterHub's variables about limits, which programs such as jupyter-resource-usage read.

    A guarantee in ``environment`` that is more than the limit comes down to it.
    """
    found: dict[str, str] = {}
    known = ((_MEMORY, limits.memory_bytes), (_CPU, limits.cpus))
    for name, limit in known:
        if limit is None:
            continue
        found[f"{name}_LIMIT"] = str(limit)
        if float(environment.get(f"{name}_GUARANTEE", 0)) > limit:
            found[f"{name}_GUARANTEE"] = str(limit)
    return found
