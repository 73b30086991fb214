"""Which image a session starts from, and what of it must not reach the session's server."""

from __future__ import annotations

import re
from collections.abc import Iterable

from launcher.engine.base import Image
from launcher.engine.base_image import base_image_name
from launcher.engine.client import Engine
from launcher.engine.config import ContainerSettings
from launcher.engine.labels import KIND, Kind
from launcher.errors import SessionStartFailed

_OF_LOGIN = re.compile(
    r"JUPYTERHUB_.*|JPY_.*|CONFIGPROXY_.*|JUPYTER_TOKEN|JUPYTER_PASSWORD|DASK_GATEWAY__.*", re.IGNORECASE
)
"""Variables that decide who may come in, and whom the server asks."""
_OF_REPOSITORIES = frozenset({Kind.BUILD, Kind.ENVIRONMENT, Kind.LAYER, Kind.PACKAGES})


async def base_image(engine: Engine, settings: ContainerSettings) -> Image:
    """The image of regular sessions. Raises SessionStartFailed when it has gone."""
    image = await engine.image(base_image_name(settings))
    if image is None:
        raise SessionStartFailed(
            "The image of this hub's sessions is missing.", hint="Ask the people who run it to make one."
        )
    return image


async def environment_image(engine: Engine, reference: str) -> Image:
    """The image of an environment. Raises SessionStartFailed when it has gone."""
    image = await engine.image(reference)
    if image is None:
        raise SessionStartFailed(
            "The environment of this session is not there any more.", hint="Open the launch link again to build it."
        )
    return image


async def named_image(engine: Engine, name: str) -> Image:
    """An image that the plan names.

    Raises SessionStartFailed when the machine does not have it, and for what was built for a repository, which a
    pattern of images may match by its id or in a registry: whether that is trusted is asked where it is chosen.
    """
    image = await engine.image(name)
    if image is None:
        raise SessionStartFailed(
            "That image is not on the hub's machine.", hint="Ask the people who run this hub to fetch it."
        )
    if image.labels.get(KIND) in _OF_REPOSITORIES:
        raise SessionStartFailed("That image was built for a repository.", hint="Choose the repository.")
    return image


def baked_in(image: Image, given: Iterable[str]) -> list[str]:
    """Variables of the image that are a login's business, and that we do not set ourselves.

    Whoever made the image knows their values: a token baked into it would open the server to them.
    """
    ours = set(given)
    return sorted(name for name in image.environment if _OF_LOGIN.fullmatch(name) and name not in ours)
