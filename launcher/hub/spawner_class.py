"""The class the Hub starts sessions with: the operator's own spawner with the launcher's runtime in front of it."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, Spawner
from traitlets import import_item
from traitlets.config.loader import LazyConfigValue

from launcher.config import Settings
from launcher.errors import ConfigurationInvalid
from launcher.hub.isolated import IsolatedSpawnerMixin
from launcher.hub.spawner import LaunchSpawnerMixin


def resolve_spawner_class(configured: Any) -> type[Spawner]:
    """The class behind ``c.JupyterHub.spawner_class``: a class, a dotted name, an entry point, or unset.

    Raises ConfigurationInvalid when there is no such spawner.
    """
    if configured is None or isinstance(configured, LazyConfigValue):
        return LocalProcessSpawner  # type: ignore[no-any-return]
    if isinstance(configured, type):
        return configured
    for entry in entry_points(group="jupyterhub.spawners"):
        if entry.name == str(configured):
            return entry.load()  # type: ignore[no-any-return]
    try:
        return import_item(str(configured))  # type: ignore[no-any-return]
    except ImportError as error:
        raise ConfigurationInvalid(
            f"c.JupyterHub.spawner_class: there is no spawner {configured!r}.",
            hint="Install its package into the hub's Python, or correct the name.",
        ) from error


def launch_spawner(base: type[Spawner], settings: Settings) -> type[Spawner]:
    """A spawner class: ``base`` with the launcher's runtime in front of it.

    Raises ConfigurationInvalid when the runtime cannot work on top of ``base``.
    """
    if issubclass(base, LaunchSpawnerMixin):
        base = base.launch_base  # `enable` called twice: start again from the operator's own class
    mixin = _runtime(settings.runtime)
    members = {"launch_settings": settings, "launch_base": base, "__module__": __name__}
    return type("LaunchSpawner", (mixin, mixin.on_top_of(base)), members)


def _runtime(name: str) -> type[IsolatedSpawnerMixin]:
    """The one place in the Hub that knows which runtime is on."""
    if name == "container":
        from launcher.hub.container.spawner import ContainerSpawnerMixin

        return ContainerSpawnerMixin
    from launcher.hub.process import ProcessSpawnerMixin

    return ProcessSpawnerMixin
