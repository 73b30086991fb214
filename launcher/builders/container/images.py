"""Finished environments of the container runtime: images with one layer of their own, described by their labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.engine.base import Image
from launcher.engine.client import Engine
from launcher.engine.labels import KIND, Kind, ours, state_id
from launcher.models import BuiltEnvironment, EnvironmentSize, SessionMode, Storage

NAME = "launcher.environment"
"""Label: what equal environments have in common; see `launcher.builders.uv.runtime.Publisher`."""
_BELOW, _MODE, _PYTHON, _LOCK, _EDITABLE, _PACKAGES = (
    f"launcher.{word}" for word in ("below", "mode", "python", "lock", "editable", "packages")
)
_REPOSITORY = "localhost/launcher/environment"
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class EnvironmentImage:
    """What is known of an environment in an image; all of it is in the image's labels.

    below: id of the image that it adds its layer to. lock: digest. packages: ``name==version`` as installed.
    editable: see `launcher.builders.uv.runtime.Finished`.
    """

    below: str
    mode: SessionMode
    python: str
    lock: str
    packages: tuple[str, ...]
    editable: bool

    def labels(self) -> dict[str, str]:
        """The inverse of `read`."""
        return {
            _BELOW: self.below,
            _MODE: self.mode.value,
            _PYTHON: self.python,
            _LOCK: self.lock,
            _EDITABLE: str(int(self.editable)),
            _PACKAGES: " ".join(self.packages),
        }

    @classmethod
    def read(cls, labels: Mapping[str, str]) -> EnvironmentImage | None:
        """What the labels of an image say; None when it is no environment."""
        if labels.get(KIND) != Kind.ENVIRONMENT or not _IMAGE_ID.fullmatch(labels.get(_BELOW, "")):
            return None  # an engine takes fright at an odd id
        try:
            return cls(
                below=labels[_BELOW],
                mode=SessionMode(labels[_MODE]),
                python=labels[_PYTHON],
                lock=labels[_LOCK],
                packages=tuple(labels.get(_PACKAGES, "").split()),
                editable=labels.get(_EDITABLE) == "1",
            )
        except (KeyError, ValueError):
            return None


def image_name(state: Path, name: str) -> str:
    """What the image of an environment of the launcher with a state directory is called."""
    return f"{_REPOSITORY}:{state_id(state)}-{name}"


async def built_before(engine: Engine, state: Path, name: str) -> BuiltEnvironment | None:
    """The environment that was built here with this name, see `NAME`."""
    found = await engine.named(image_name(state, name), {**ours(state, Kind.ENVIRONMENT), NAME: name})
    return await as_built(engine, found) if found is not None and EnvironmentImage.read(found.labels) else None


async def present(engine: Engine, state: Path) -> list[Image]:
    """The environments of the launcher with a state directory."""
    found = await engine.images(ours(state, Kind.ENVIRONMENT))
    return [image for image in found if EnvironmentImage.read(image.labels) is not None]


async def as_built(engine: Engine, image: Image) -> BuiltEnvironment:
    """An environment as sessions need it. KeyError when the image is none."""
    known = EnvironmentImage.read(image.labels)
    if known is None:
        raise KeyError(image.id)
    size = await _own_bytes(engine, image)
    return BuiltEnvironment(image.id, known.lock, known.mode, known.python, size)


async def storage(engine: Engine, images: list[Image], base: Image) -> Storage:
    """What environments take: each its own layer; what is below it, but for the base image, is shared."""
    shared: dict[str, int] = {}
    sizes: dict[str, EnvironmentSize] = {}
    for image in images:
        own = await _own_bytes(engine, image)
        below = max(image.size - own - base.size, 0)
        sizes[image.id] = EnvironmentSize(own, below)
        known = EnvironmentImage.read(image.labels)
        shared[known.below if known else image.id] = below
    return Storage(sizes, sum(one.own_bytes for one in sizes.values()) + sum(shared.values()))


async def _own_bytes(engine: Engine, image: Image) -> int:
    """Bytes of an environment's own layer; of all of it when what was below has lost its name."""
    known = EnvironmentImage.read(image.labels)
    below = await engine.image(known.below) if known is not None else None
    return max(image.size - (below.size if below else 0), 1)
