"""The JupyterHub configuration of ``launcher up``: one machine, one admin, everything below one state directory.

JupyterHub executes this file; `launcher.up` puts what it needs to know into the environment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from traitlets.config import Config

import launcher
from launcher.hub.link_login import LinkAuthenticator

UP_VARIABLE = "LAUNCHER_UP"
HUB_DATABASE = "jupyterhub.sqlite"
ADDRESS = "address.json"
"""File in the state directory: base_url and the service's name, which the operator's own file may have changed."""


def configure(c: Config, up: dict[str, object]) -> None:
    """The defaults of ``launcher up``; the operator's own file is read after it and wins."""
    state = Path(str(up["state"]))
    hub = c.JupyterHub
    hub.bind_url = up["bind_url"]
    hub.public_url = up["public_url"]
    hub.hub_port = up["hub_port"]
    hub.db_url = f"sqlite:///{state / HUB_DATABASE}"
    hub.upgrade_db = True
    hub.cookie_secret_file = str(state / "secrets" / "jupyterhub-cookie-secret")
    hub.pid_file = str(state / "jupyterhub.pid")
    hub.authenticator_class = LinkAuthenticator
    hub.spawner_class = "simple"
    hub.api_tokens = {up["api_token"]: up["user"]}
    hub.log_level = "WARN"
    c.LinkAuthenticator.user = up["user"]
    c.LinkAuthenticator.key = up["login_key"]
    c.LinkAuthenticator.admin_users = {up["user"]}
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{up['proxy_api_port']}"
    c.ConfigurableHTTPProxy.command = up["proxy_command"]
    c.ConfigurableHTTPProxy.pid_file = str(state / "jupyterhub-proxy.pid")
    c.Spawner.start_timeout = 180
    c.Launcher.update(up["launcher"])


def _main(c: Config) -> None:
    up = json.loads(os.environ[UP_VARIABLE])
    configure(c, up)
    if up["config"]:
        load_subconfig(up["config"])  # type: ignore[name-defined]  # noqa: F821 - given by traitlets to executed files
    base_url = "/" + str(c.JupyterHub.pop("base_url", "/")).strip("/")
    if base_url != "/":  # on its own it would make JupyterHub forget the address: it belongs to bind_url
        for name in ("bind_url", "public_url"):
            if c.JupyterHub[name] == up[name]:  # not the operator's own either
                c.JupyterHub[name] = str(up[name]) + base_url
    launcher.enable(c)
    where = {"base_url": base_url}
    where["service_name"] = c.JupyterHub.spawner_class.launch_settings.service_name
    (Path(up["state"]) / ADDRESS).write_text(json.dumps(where))


if "get_config" in globals():
    _main(get_config())  # type: ignore[name-defined]  # noqa: F821 - given by traitlets to executed files
