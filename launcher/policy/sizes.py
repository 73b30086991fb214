"""Machine sizes: which ones a person is offered, and which one a session gets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from traitlets import TraitError

from launcher.dask.config import size_in_bytes
from launcher.errors import ConfigurationInvalid, MachineSizeNotAllowed
from launcher.models import MachineSize, Person
from launcher.policy.entries import read_name, read_text, require_different
from launcher.policy.groups import is_for, read_groups

__all__ = ["Enforceable", "MachineSize", "MachineSizes", "read_sizes"]

_KEYS = ("name", "title", "description", "memory", "cpus", "groups")
_EXAMPLE = "For example {'name': 'large', 'memory': '8G', 'cpus': 4}."
_SMALLEST_MEMORY = 64 * 2**20
_FEWEST_CPUS = 0.01


@dataclass(frozen=True)
class Enforceable:
    """Which limits the machine that runs sessions can enforce."""

    memory: bool = True
    cpus: bool = True

    @classmethod
    def of(cls, limits: Collection[str]) -> Enforceable:
        """From the names that control groups and container engines have for limits."""
        return cls("memory" in limits, "cpu" in limits)


@dataclass(frozen=True)
class MachineSizes:
    """The operator's sizes, in the order in which they are offered.

    enforceable: a figure that the machine cannot enforce is promised to nobody, neither on pages nor in plans.
    """

    sizes: tuple[MachineSize, ...] = ()
    enforceable: Enforceable = Enforceable()

    def offered(self, person: Person) -> tuple[MachineSize, ...]:
        """The sizes this person may have, the one they get without a choice first."""
        return tuple(self._true(size) for size in self.sizes if is_for(size.groups, person))

    def choose(self, name: str, person: Person) -> MachineSize | None:
        """The size of that name, for "" the first one offered; None on a hub without sizes.

        Raises MachineSizeNotAllowed when there is no such size for this person, or none at all.
        """
        offered = self.offered(person)
        if not offered and self.sizes:
            raise MachineSizeNotAllowed(
                "None of this hub's machine sizes is for your groups.", hint="Ask the people who run this hub."
            )
        if not name:
            return offered[0] if offered else None
        chosen = next((size for size in offered if size.name == name), None)
        if chosen is None:
            names = ", ".join(size.name for size in offered)
            hint = f"You can choose: {names}." if names else "This hub has no machine sizes: leave it out."
            raise MachineSizeNotAllowed(f"There is no machine size “{_shown(name)}” for you.", hint=hint)
        return chosen

    def named(self, name: str | None) -> MachineSize | None:
        """The size of that name as pages show it, whoever may have it; None when there is none (any more)."""
        return next((self._true(size) for size in self.sizes if size.name == name), None)

    def _true(self, size: MachineSize) -> MachineSize:
        return replace(
            size,
            memory_bytes=size.memory_bytes if self.enforceable.memory else None,
            cpus=size.cpus if self.enforceable.cpus else None,
        )


def _shown(name: str) -> str:
    """A name somebody sent, fit for a sentence."""
    return "".join(letter for letter in name[:40] if letter.isprintable())


def read_sizes(entries: Sequence[Mapping[str, Any]]) -> tuple[MachineSize, ...]:
    """``c.Launcher.machine_sizes`` as values. Raises ConfigurationInvalid with a sentence that names the entry."""
    sizes = tuple(_read(entry, number) for number, entry in enumerate(entries, 1))
    require_different("machine_sizes", [size.name for size in sizes])
    return sizes


def _read(entry: Mapping[str, Any], number: int) -> MachineSize:
    name = read_name("machine_sizes", number, entry, keys=_KEYS, hint=_EXAMPLE)
    where = f"machine_sizes, {name!r}"
    return MachineSize(
        name=name,
        title=read_text(where, entry, "title") or name,
        description=read_text(where, entry, "description"),
        memory_bytes=_memory(entry.get("memory"), where),
        cpus=_cpus(entry.get("cpus"), where),
        groups=read_groups(where, entry.get("groups", ())),
    )


def _memory(value: Any, where: str) -> int | None:
    if value is None:
        return None
    try:
        amount = size_in_bytes(value) if _is_number(value) or isinstance(value, str) else 0
    except (TraitError, OverflowError, ValueError):
        amount = 0
    if not amount:
        raise ConfigurationInvalid(f"{where}: memory must be an amount such as '8G' or '512M', not {value!r}.")
    if amount < _SMALLEST_MEMORY:
        raise ConfigurationInvalid(f"{where}: no session starts with less memory than 64M; memory is {value!r}.")
    return amount


def _cpus(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if not _is_number(value) or not _FEWEST_CPUS <= value < float("inf"):
        raise ConfigurationInvalid(f"{where}: cpus must be a number such as 2 or 0.5, not {value!r}.")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
