"""The feature flag: merges the launcher into a JupyterHub configuration without taking anything away."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.spawner import Spawner
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from launcher.config import SETTINGS_VARIABLE, Settings
from launcher.config_files import read_settings
from launcher.errors import ConfigurationInvalid
from launcher.hub import culling
from launcher.hub.dask import dask_roles, dask_service, roles_without, token_scopes, with_ports
from launcher.hub.redirect import redirect_hook
from launcher.hub.spawner_class import has_own_form, launch_spawner, resolve_spawner_class
from launcher.ports import free_port
from launcher.tickets import new_secret

_PASSED_ON = re.compile(
    "PATH|HOME|LANG|LC_ALL|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR|GIT_SSL_CAINFO|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|PIP_CERT"
    "|UV_DEFAULT_INDEX|UV_INDEX_URL|UV_EXTRA_INDEX_URL|UV_FIND_LINKS|PIP_INDEX_URL|PIP_EXTRA_INDEX_URL"
    "|DOCKER_HOST|XDG_RUNTIME_DIR|LAUNCHER_CRASH_AT|LAUNCHER_CRASH_MARKS"
)
"""The variables of the hub's environment that the service gets; everything else, secrets among it, stays behind."""
_SCOPES_OF_TOKENS = "server_token_scopes"
OAUTH_SCOPES = ("servers!user", "read:users!user", "access:servers!user")
"""What the launcher may do with a visitor's login: their own servers, their own name and groups. Nothing else."""
ACTIVITY_SCOPE = "users:activity!user"
"""Where idle sessions are ended: to say that a person's own session is used."""


def enable(c: Config, **options: Any) -> None:
    """See `launcher.enable`."""
    for name, value in options.items():
        c.Launcher[name] = value
    settings = _with_cullers(c, _completed(c, read_settings(c)))
    _take_dask_out(c)
    _add_service(c, settings)
    _allow_everyone(c, settings)
    _set_spawner(c, settings)
    hub = c.JupyterHub
    if hub.get("allow_named_servers") is False:
        raise ConfigurationInvalid(
            "The launcher starts one named server for each repository, but c.JupyterHub.allow_named_servers is False.",
            hint="Remove that line; c.JupyterHub.named_server_limit_per_user can still limit their number.",
        )
    hub.allow_named_servers = True
    hook = hub.get("user_redirect_hook")
    if not getattr(hook, "launcher_hook", False):
        hub.user_redirect_hook = redirect_hook(settings.service_name, hook)


def _completed(c: Config, settings: Settings) -> Settings:
    """Settings with what only a start of the hub can fill in: port, secret, public address."""
    public_url = settings.public_url or str(_value(c.JupyterHub, "public_url", "") or "")
    return replace(
        settings,
        port=settings.port or free_port(),
        ticket_secret=settings.ticket_secret or new_secret(),
        public_url=_origin(public_url),
        dask=with_ports(settings.dask, settings.state) if settings.dask else None,
    )


def _with_cullers(c: Config, settings: Settings) -> Settings:
    """Settings with what ends idle sessions: an operator's own services, else ours if it is wanted."""
    found = culling.cullers_of(_value(c.JupyterHub, "services", []))
    seconds = settings.cull_idle_after_seconds
    own = (culling.own_culler(seconds),) if seconds and not found else ()
    return replace(settings, cullers=found or own, cull_idle_after_seconds=seconds if own else 0)


def _origin(url: str) -> str:
    """``scheme://host`` of an address; JupyterHub's own ``public_url`` may go on with its base_url."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _value(section: Config, name: str, default: Any) -> Any:
    """A configured value, also when it was built by ``append`` or ``update`` on an untouched trait."""
    value = section.get(name, default)
    return value.get_value(default) if isinstance(value, LazyConfigValue) else value


def _add_service(c: Config, settings: Settings) -> None:
    """Put our services into the hub's list, in place of older entries of ours."""
    environment = {"PYTHONUNBUFFERED": "1"}
    environment |= {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    service = {
        "name": settings.service_name,
        "url": f"http://127.0.0.1:{settings.port}",
        "command": [sys.executable, "-m", "launcher", "serve"],
        "environment": {**environment, SETTINGS_VARIABLE: settings.to_json()},
        "oauth_client_allowed_scopes": [
            *OAUTH_SCOPES,
            *([ACTIVITY_SCOPE] if settings.cullers else []),
            *([settings.dask.scope] if settings.dask else []),
        ],
        "oauth_no_confirm": True,
        "display": True,
    }
    services = [service, *([dask_service(settings, settings.dask, environment)] if settings.dask else [])]
    if settings.cull_idle_after_seconds:
        services.append(culling.culler_service(settings.cull_idle_after_seconds))
    ours = {culling.SERVICE, *(entry["name"] for entry in services)}
    others = [entry for entry in _value(c.JupyterHub, "services", []) if entry.get("name") not in ours]
    c.JupyterHub.services = [*others, *services]


def _allow_everyone(c: Config, settings: Settings) -> None:
    """Let every user reach the service: merged into an existing ``user`` role, because two of them stop the hub.

    The culler, if it is ours, gets a role of its own.
    """
    scope = f"access:services!service={settings.service_name}"
    roles = [dict(role) for role in _value(c.JupyterHub, "load_roles", []) if role.get("name") != culling.SERVICE]
    roles += [culling.culler_role()] if settings.cull_idle_after_seconds else []
    user = next((role for role in roles if role.get("name") == "user"), None)
    if user is None:
        user = {"name": "user", "description": "Standard user privileges", "scopes": ["self"]}
        roles.append(user)
    scopes = list(user.get("scopes", ["self"]))
    user["scopes"] = scopes if scope in scopes else [*scopes, scope]
    c.JupyterHub.load_roles = dask_roles(settings.dask, roles) if settings.dask else roles


def _set_spawner(c: Config, settings: Settings) -> None:
    """Put the launcher's spawner on top of the one the hub uses."""
    base = resolve_spawner_class(c.JupyterHub.get("spawner_class"))
    if settings.spawn_form and has_own_form(base, c):
        raise ConfigurationInvalid(
            "c.Launcher.spawn_form: this hub's spawner has an options_form of its own, and there can be one only.",
            hint="Remove the other options_form, or leave spawn_form out.",
        )
    c.JupyterHub.spawner_class = launch_spawner(base, settings)
    if settings.dask:
        section = _token_scopes_section(c)
        before = _value(section, _SCOPES_OF_TOKENS, [])
        section[_SCOPES_OF_TOKENS] = token_scopes(before, settings.dask)


def _token_scopes_section(c: Config) -> Config:
    """Where the scopes of sessions' tokens are said: for the operator's own spawner, else for all."""
    base = resolve_spawner_class(c.JupyterHub.get("spawner_class"))
    sections: list[Config] = [c[one.__name__] for one in base.__mro__ if issubclass(one, Spawner)]
    return next((section for section in sections if _SCOPES_OF_TOKENS in section), sections[-1])


def _take_dask_out(c: Config) -> None:
    """Undo what an earlier call did for Dask, which may be off now, or for others."""
    section = _token_scopes_section(c)
    scopes: Any = section.get(_SCOPES_OF_TOKENS)
    dask = getattr(scopes, "launcher_dask", None)
    if dask is None:
        return
    section[_SCOPES_OF_TOKENS] = scopes.launcher_scopes
    services = _value(c.JupyterHub, "services", [])
    c.JupyterHub.services = [service for service in services if service.get("name") != dask.service_name]
    c.JupyterHub.load_roles = roles_without(dask, _value(c.JupyterHub, "load_roles", []))
