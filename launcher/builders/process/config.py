"""The settings of the process builder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from launcher.builders.uv.config import UvBuilderConfig


@dataclass(frozen=True, kw_only=True)
class ProcessBuilderConfig(UvBuilderConfig):
    """Everything a `ProcessBuilder` needs to know.

    store: finished environments; on the file system of ``cache``, so that publishing is a rename.
    compile_bytecode: compile finished environments in the background.
    python_downloads: whether uv may fetch a Python that is not here. pythons: further interpreters to offer.
    """

    store: Path
    compile_bytecode: bool = False
    python_downloads: bool = False
    pythons: tuple[Path, ...] = ()

    @classmethod
    def from_environment(cls, state: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """As `UvBuilderConfig.from_environment`, with the store below ``state`` too."""
        return super().from_environment(state, environment, **{"store": state / "environments", **settings})
