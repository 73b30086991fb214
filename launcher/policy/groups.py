"""What is offered to members of some groups only: one rule for machine sizes and listed environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from launcher.errors import ConfigurationInvalid
from launcher.models import Person


def is_for(groups: Sequence[str], person: Person) -> bool:
    """Whether something for these groups is for this person. No groups: for everybody. Admins have everything."""
    return not groups or person.admin or not person.groups.isdisjoint(groups)


def read_groups(where: str, value: Any) -> tuple[str, ...]:
    """The ``groups`` of an entry in the configuration, which ``where`` names. Raises ConfigurationInvalid."""
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        raise ConfigurationInvalid(f"{where}: groups must be a list of names of groups, such as ['staff'].")
    if not all(isinstance(group, str) and group for group in value):
        raise ConfigurationInvalid(f"{where}: every group must be the name of a group.")
    return tuple(value)
