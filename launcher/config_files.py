"""Reading configuration: from what an operator wrote in a ``jupyterhub_config.py`` to `Settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traitlets import TraitError
from traitlets.config import Config

from launcher.config import Launcher, Settings
from launcher.dask.config import LauncherDask
from launcher.engine.config import LauncherContainers
from launcher.errors import ConfigurationInvalid, LauncherError


def read_settings(config: Config) -> Settings:
    """Settings from a loaded configuration. Raises ConfigurationInvalid for unknown or wrong traits."""
    for section in (Launcher, LauncherDask, LauncherContainers):
        unknown = sorted(set(config.get(section.__name__, {})) - set(section.class_trait_names(config=True)))
        if unknown:
            raise ConfigurationInvalid(
                f"c.{section.__name__} has no setting called {unknown[0]!r}.",
                hint="The settings are listed in the configuration reference; check the spelling.",
            )
    try:
        return Launcher(config=config).settings()
    except TraitError as error:
        raise ConfigurationInvalid(f"c.Launcher: {error}", hint="Correct the value and start the hub again.") from error


def load_configuration(path: Path) -> Config:
    """What a ``jupyterhub_config.py`` makes of the configuration, as the Hub loads it.

    Raises ConfigurationInvalid when there is no such file or it stops with an error.
    """
    from traitlets.config.loader import PyFileConfigLoader

    if not path.is_file():
        raise ConfigurationInvalid(f"{path} is not a file.", hint="Give --config a jupyterhub_config.py.")
    try:
        return PyFileConfigLoader(path.name, path=str(path.parent.resolve())).load_config()
    except LauncherError:
        raise
    except Exception as error:  # the operator's file may raise anything; say it in one line
        raise ConfigurationInvalid(
            f"The configuration {path} cannot be loaded.", hint=f"It stops with {type(error).__name__}: {error}"
        ) from error


def read_settings_of(path: Path | None, **launcher: Any) -> Settings:
    """Settings where ``launcher``'s traits are the defaults and a ``jupyterhub_config.py`` has the last word.

    Raises ConfigurationInvalid.
    """
    config = Config({"Launcher": launcher})
    if path is not None:
        config.merge(load_configuration(path))
    return read_settings(config)
