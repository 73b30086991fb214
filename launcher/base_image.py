"""``launcher base-image``: make the image that containers start from, and say what it is called."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

from launcher.config_files import read_settings_of
from launcher.engine.base_image import base_image_name
from launcher.engine.config import ContainerSettings
from launcher.engine.prepare import only_meanwhile, prepare
from launcher.errors import ConfigurationInvalid


@dataclass(frozen=True)
class BaseImageOptions:
    """The command line of ``launcher base-image``; None leaves what the configuration says."""

    state: Path
    config: Path | None
    base_from: str | None
    mirror: str | None
    packages: tuple[str, ...]


def base_image(options: BaseImageOptions) -> int:
    """Make the image unless it is there; prints its name and id. Returns the exit status.

    Raises ConfigurationInvalid, EngineUnavailable or EngineError.
    """
    settings, state = _settings(options)
    chosen = _with_options(settings, options)
    with only_meanwhile(chosen, state):
        _, image = prepare(chosen, state, _say)
    print(f"{base_image_name(chosen)} {image.id}")  # noqa: T201 - what the command is asked for
    if base_image_name(chosen) != base_image_name(settings):
        print(  # noqa: T201 - for the person, beside the answer
            f"For the hub to use it: c.LauncherContainers.base_image = {base_image_name(chosen)!r}", file=sys.stderr
        )
    return 0


def _settings(options: BaseImageOptions) -> tuple[ContainerSettings, Path]:
    """The settings of the hub, and its state directory."""
    settings = read_settings_of(options.config, runtime="container", state_directory=str(options.state))
    if settings.containers is None:
        raise ConfigurationInvalid(
            "This configuration runs no containers.", hint='Set c.Launcher.runtime = "container" in it.'
        )
    return settings.containers, settings.state


def _with_options(settings: ContainerSettings, options: BaseImageOptions) -> ContainerSettings:
    changes: dict[str, object] = {"base_from": options.base_from, "debian_mirror": options.mirror}
    if options.packages:
        changes["base_packages"] = (*settings.base_packages, *options.packages)
    if options.base_from is not None or options.packages:
        changes["base_image"] = ""  # one is made, whatever the hub uses now
    return dataclasses.replace(settings, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - progress, for a terminal
