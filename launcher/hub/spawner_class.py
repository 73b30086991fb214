"""The class the Hub starts sessions with: the operator's own spawner with the launcher's runtime in front of it."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from jupyterhub.spawner import LocalProcessSpawner, Spawner
from traitlets import import_item
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from launcher.config import Settings
from launcher.errors import ConfigurationInvalid
from launcher.hub.isolated import IsolatedSpawnerMixin
from launcher.hub.spawn_form import SessionFormMixin
from launcher.hub.spawner import LaunchSpawnerMixin

_NOBODYS_FORM = ("jupyterhub", "dockerspawner")
"""Packages whose own forms nobody chose; that of dockerspawner is one of images that we do not start."""


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
    classes: list[type] = [mixin, mixin.on_top_of(base)]
    if not mixin.runs_regular_sessions(settings):
        for setting, is_set in (("spawn_form", mixin.shows_form(settings)), ("environments", settings.environments)):
            if is_set:
                raise ConfigurationInvalid(
                    f"c.Launcher.{setting}: on this hub the regular sessions are not the launcher's.",
                    hint=f"Set c.Launcher.homes_directory, so that the launcher starts them; or leave {setting} out.",
                )
    if mixin.shows_form(settings):
        classes.insert(0, SessionFormMixin)
    return type("LaunchSpawner", tuple(classes), members)


def runs_regular_sessions(settings: Settings) -> bool:
    """Whether regular sessions are the launcher's own on a hub with these settings."""
    return _runtime(settings.runtime).runs_regular_sessions(settings)


def has_own_form(base: type[Spawner], c: Config) -> bool:
    """Whether the operator's spawner, or their configuration, shows a form of its own when a session starts."""
    kinds = [kind for kind in base.__mro__ if issubclass(kind, Spawner)]
    in_file = any("options_form" in c[kind.__name__] for kind in kinds if kind.__name__ in c)
    return in_file or any(_brings_form(kind) for kind in kinds if kind.__module__.split(".")[0] not in _NOBODYS_FORM)


def _brings_form(kind: type[Spawner]) -> bool:
    """Whether this class says what the form is, in any of the ways of traitlets."""
    own = vars(kind)
    generators: dict[str, Any] = own.get("_trait_default_generators", {})
    return "options_form" in own or "options_form" in generators or "_options_form_default" in own


def _runtime(name: str) -> type[IsolatedSpawnerMixin]:
    """The one place in the Hub that knows which runtime is on."""
    if name == "container":
        from launcher.hub.container.spawner import ContainerSpawnerMixin

        return ContainerSpawnerMixin
    from launcher.hub.process import ProcessSpawnerMixin

    return ProcessSpawnerMixin
