"""What Dask adds to a hub: a service, the right to use it, and what sessions need to find it. Off means no trace."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyterhub import orm

from launcher.config import SETTINGS_VARIABLE, Settings
from launcher.dask.config import DaskSettings
from launcher.ports import kept_ports

ROLE = "launcher-dask"
_PORTS = ("port", "api_port", "dashboards_port")


def with_ports(dask: DaskSettings, state: Path) -> DaskSettings:
    """The settings with every port filled. Clusters and sessions outlive the hub and go on asking where they asked."""
    kept = kept_ports(state / "dask" / "ports.json", _PORTS, replace_taken=False)
    chosen: dict[str, Any] = {name: getattr(dask, name) or kept[name] for name in _PORTS}
    return replace(dask, **chosen)


def dask_service(settings: Settings, dask: DaskSettings, environment: Mapping[str, str]) -> dict[str, Any]:
    """The Hub's service in front of the clusters."""
    return {
        "name": dask.service_name,
        "url": f"http://127.0.0.1:{dask.port}",
        "command": [sys.executable, "-m", "launcher", "dask-gateway"],
        "environment": {**environment, SETTINGS_VARIABLE: settings.to_json()},
        # who is an admin: they may look at other people's dashboards
        "oauth_client_allowed_scopes": ["read:users!user"],
        "oauth_no_confirm": True,
        "display": False,
    }


def dask_roles(dask: DaskSettings, roles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The roles with the right to use Dask: everybody's, or a role of ours for the groups that may."""
    if dask.groups:
        ours = {"name": ROLE, "description": "May have Dask clusters", "scopes": [dask.scope], "groups": [*dask.groups]}
        return [*roles, ours]
    return [
        {**role, "scopes": [*role.get("scopes", ["self"]), dask.scope]}
        if role.get("name") == "user" and dask.scope not in role.get("scopes", [])
        else role
        for role in roles
    ]


def roles_without(dask: DaskSettings, roles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The inverse of `dask_roles`."""
    others = [role for role in roles if role.get("name") != ROLE]
    if dask.groups:
        return others
    return [
        {**role, "scopes": [scope for scope in role["scopes"] if scope != dask.scope]}
        if role.get("name") == "user"
        else role
        for role in others
    ]


def token_scopes(before: Any, dask: DaskSettings) -> Callable[[Any], Awaitable[list[str]]]:
    """For ``c.Spawner.server_token_scopes``: what the operator said, and Dask.

    The Hub drops what the person does not have, so that a session never gets more than its person. It asks before it
    knows what is to be started; `withhold` takes the scope back from a start that may not have it.
    """

    async def scopes(spawner: Any) -> list[str]:
        asked = before(spawner) if callable(before) else before
        if inspect.isawaitable(asked):
            asked = await asked
        if not asked:  # the Hub's own default, which a list of ours would replace
            asked = orm.Role.find(spawner.user.db, "server").scopes
        return [*asked, dask.scope]

    # `enable` called twice takes out what the first call put in
    scopes.launcher_scopes, scopes.launcher_dask = before, dask  # type: ignore[attr-defined]
    return scopes


def withhold(spawner: Any, dask: DaskSettings) -> None:
    """Take Dask from the token of a session that is about to start; nobody has seen the token yet."""
    database = spawner.user.db
    token = orm.APIToken.find(database, spawner.api_token)
    token.scopes = [scope for scope in token.scopes if scope != dask.scope]
    database.commit()


def session_variables(dask: DaskSettings, base_url: str) -> dict[str, str]:
    """The variables with which ``Gateway()`` needs no argument. ``base_url`` is the whole hub's, such as ``/``."""
    path = f"{base_url}services/{dask.service_name}"
    return {
        "DASK_GATEWAY__ADDRESS": f"http://127.0.0.1:{dask.port}{path}",
        "DASK_GATEWAY__PROXY_ADDRESS": f"gateway://127.0.0.1:{dask.port}",
        "DASK_GATEWAY__PUBLIC_ADDRESS": path,
        "DASK_GATEWAY__AUTH__TYPE": "jupyterhub",
        # it is on the session's own loopback, and the client does not read NO_PROXY
        "DASK_GATEWAY__HTTP_CLIENT__PROXY": "False",
        # for environments that bring a JupyterLab with its own Dask extension
        "DASK_LABEXTENSION__FACTORY__MODULE": "dask_gateway",
        "DASK_LABEXTENSION__FACTORY__CLASS": "GatewayCluster",
    }
