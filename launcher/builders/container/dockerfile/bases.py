"""Which images a Dockerfile may start from or copy out of: FROM and ``COPY --from``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from launcher.engine.base import Image, is_image_name
from launcher.engine.base_image import REPOSITORY
from launcher.engine.client import Engine
from launcher.errors import EngineError, RecipeUnsupported


@dataclass(frozen=True)
class Bases:
    """The operator's policy. ``base``: the image that is always allowed, under the name `REPOSITORY`.

    patterns: of full names such as ``docker.io/library/python:3.*`` or ``quay.io/jupyter/*``; ``*`` is anything.
    """

    base: Image
    patterns: Sequence[str]

    def check(self, name: str, where: str) -> None:
        """Raises RecipeUnsupported unless an image may be used."""
        if name == "scratch":
            raise RecipeUnsupported(
                f"{where}: an empty image cannot run a session.", hint=f"Start from {REPOSITORY}, or ask the operator."
            )
        full = full_name(name)
        if self._is_base(name) or (is_image_name(full) and any(fnmatchcase(full, one) for one in self.patterns)):
            return
        raise RecipeUnsupported(
            f"{where}: this hub does not build on {name[:200]}.",
            hint=f"Start from {REPOSITORY}, or ask the operator to list the image in "
            "c.LauncherContainers.allowed_base_images.",
        )

    async def find(self, engine: Engine, name: str) -> Image:
        """An image that may be used, fetched when it is not here. Raises RecipeUnsupported when nobody has it."""
        if self._is_base(name):
            return self.base
        try:
            return await engine.image(full_name(name)) or await engine.pull(full_name(name))
        except EngineError as error:
            raise RecipeUnsupported(f"The image {name[:200]} cannot be fetched.", hint=error.hint or "") from error

    @staticmethod
    def _is_base(name: str) -> bool:
        return name in {REPOSITORY, f"{REPOSITORY}:latest"}


def full_name(name: str) -> str:
    """A name as registries have it: ``python`` is ``docker.io/library/python:latest``. A digest stays as it is."""
    first, slash, rest = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    elif first == "docker.io" and "/" not in rest:
        name = f"docker.io/library/{rest}"
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"
