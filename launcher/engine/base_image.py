"""The base image: what every environment and session starts from, named by what goes into it.

It holds a small Debian, the user jovyan (1000:1000), git, Python and our server environment, and no setuid program.
Light on purpose: JupyterHub imports it. `launcher.engine.bake` makes the image.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from launcher import server_recipe
from launcher.engine.config import ContainerSettings

SERVER_ENVIRONMENT = "/srv/server"
"""Where the server environment is in the base image and all that are made from it."""
INTERPRETER = "/usr/bin/python3"
"""The Python that server environment and environments are made with, unless a recipe asks for another one."""
SUITE = "bookworm"
"""The Debian of a base image that is made from nothing."""
PACKAGES = ("bash", "ca-certificates", "git", "less", "python3", "python3-venv", "unzip", "xz-utils")
VERSION = 1
"""Raised when the image is made in another way than before."""
REPOSITORY = "localhost/launcher/base"
PREPARE = Path(__file__).with_name("inside") / "prepare.sh"


def packages(settings: ContainerSettings) -> tuple[str, ...]:
    """The Debian packages in it, besides what Debian itself calls required."""
    return tuple(sorted({*PACKAGES, *settings.base_packages}))


def inputs(settings: ContainerSettings) -> str:
    """A hash of everything that goes in."""
    parts = [
        VERSION,
        settings.base_from or f"debian:{SUITE}",
        *packages(settings),
        PREPARE.read_text(),
        server_recipe.stamp(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def base_image_name(settings: ContainerSettings) -> str:
    """What the base image is called: the operator's name, or ours with the hash of its inputs."""
    return settings.base_image or f"{REPOSITORY}:{inputs(settings)[:16]}"
