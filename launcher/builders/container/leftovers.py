"""What a launcher leaves in an engine besides its environments: layers under none of them, containers that ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from launcher.engine.base import Image
from launcher.engine.client import Engine
from launcher.engine.labels import KIND, STATE, Kind, ours, state_id

_LAYERS = (Kind.LAYER, Kind.PACKAGES)
_ENDED = (Kind.SESSION, Kind.CLUSTER)
_AFTER = timedelta(hours=1)  # who started a container has had its time to look at how it ended


async def collect_layers(engine: Engine, state: Path, base: Image, unused_since: datetime) -> int:
    """Remove layers of Debian packages and of Dockerfiles that came before a moment; bytes that are free now.

    Those that an environment is made of stay, and those that a container uses. Base images are left to the operator:
    other launchers on this machine may start from them.
    """
    layers = [image for kind in _LAYERS for image in await engine.images(ours(state, kind))]
    layers.sort(key=lambda layer: len(layer.layers), reverse=True)  # from the top
    kept = await engine.images({KIND: Kind.ENVIRONMENT}) + [one for one in layers if one.created > unused_since]
    freed = 0
    for layer in layers:
        unused = layer.created <= unused_since and not _is_below(layer, kept)
        if unused and await engine.remove_image(layer.id, every_name=True):
            freed += max(layer.size - base.size, 0)
    return freed


async def remove_ended(engine: Engine, state: Path) -> None:
    """Remove containers of sessions and clusters that ended some time ago, and that nobody removed.

    Those in which a base image was being made, too: whoever was killed meanwhile left one that never ends.
    """
    limit = datetime.now(UTC) - _AFTER
    for container in await engine.containers({STATE: state_id(state)}):
        kind = container.labels.get(KIND)
        left = kind == Kind.BASE or (kind in _ENDED and not container.running)
        if left and container.created < limit:
            await engine.remove(container.id)


def _is_below(image: Image, others: Iterable[Image]) -> bool:
    """Whether another image is made of this one: its layers begin with all of these."""
    count = len(image.layers)
    return any(other.id != image.id and other.layers[:count] == image.layers for other in others)
