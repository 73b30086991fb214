"""What all sections of the configuration share: from an operator's traits to a frozen dataclass, and through JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from traitlets.config import Configurable

Kind = TypeVar("Kind")


def traits_for(section: Configurable, kind: type) -> dict[str, Any]:
    """The values of those traits of ``section`` that the dataclass ``kind`` has a field for. Lists become tuples."""
    return _frozen({one.name: getattr(section, one.name) for one in fields(kind) if section.has_trait(one.name)})


def revived(kind: type[Kind], body: Mapping[str, Any]) -> Kind:
    """The inverse of ``dataclasses.asdict`` after a way through JSON. TypeError when the fields are other ones."""
    return kind(**_frozen(body))


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
