"""Binder as a feature flag on any JupyterHub: ``launcher.enable(c)`` in ``jupyterhub_config.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traitlets.config import Config

__all__ = ["enable"]
__version__ = "0.1.0"


def enable(c: Config, **settings: Any) -> None:
    """Switch the launcher on for the hub that ``c`` configures.

    Call it last in ``jupyterhub_config.py``. Keyword arguments are settings of `launcher.config.Launcher` and win over
    ``c.Launcher.…``. Calling it twice changes nothing; taking the line out leaves the hub as it was.
    Raises ConfigurationInvalid, with what to change, when the launcher cannot work with this configuration.
    """
    from launcher.hub.preset import enable as enable_preset

    enable_preset(c, **settings)
