"""The settings of the container builder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from launcher.builders.uv.config import UvBuilderConfig


@dataclass(frozen=True, kw_only=True)
class ContainerBuilderConfig(UvBuilderConfig):
    """Everything a `ContainerBuilder` needs to know besides its engine and base image.

    state_directory: which everything in the engine carries in its labels.
    """

    state_directory: Path

    @classmethod
    def from_environment(cls, state: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """As `UvBuilderConfig.from_environment`."""
        return super().from_environment(state, environment, **{"state_directory": state, **settings})
