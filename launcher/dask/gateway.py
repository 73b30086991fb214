"""The service ``launcher dask-gateway``: a dask-gateway-server with the launcher's decisions in it.

JupyterHub starts it; all it needs is in its environment. Three listeners, all on loopback: Dask-Gateway's Go proxy
(what sessions and the Hub's proxy speak to), the gateway's API behind it, and the guard of the dashboards.
"""

from __future__ import annotations

import base64
import os
import socket
from pathlib import Path
from typing import Any

import structlog
from dask_gateway_server.app import DaskGateway
from tornado.httpserver import HTTPServer
from traitlets.config import Config

from launcher.config import SETTINGS_VARIABLE, Settings
from launcher.dask.api import remember_who_asks
from launcher.dask.authenticator import SessionAuthenticator
from launcher.dask.backend import LauncherBackend
from launcher.dask.config import DaskSettings
from launcher.dask.dashboards import close_dashboards, make_dashboards
from launcher.dask.middleware import speak_in_sentences
from launcher.dask.preflight import require_database, require_ports
from launcher.dask.proxy import ProxyKeeper, find_proxy
from launcher.errors import ConfigurationInvalid
from launcher.log import configure_logging
from launcher.runtimes import make_clusters
from launcher.store import StateLock
from launcher.supervise import supervise
from launcher.tickets import kept_secret

log = structlog.get_logger(__name__)
_TAKE_OVER_SECONDS = 30
_AT_ONCE = 200
"""Clusters and workers that start or stop at once, more than a few people can have that never finish it."""


class Gateway(DaskGateway):  # type: ignore[misc]  # dask-gateway-server has no types
    """Upstream's application, configured by us alone, with the guard of the dashboards beside it."""

    keeper: ProxyKeeper
    settings: Settings
    dask: DaskSettings

    def load_config_file(self, filename: str, path: Any = None) -> None:
        """No file: upstream would run ``dask_gateway_config.py`` of whatever directory this is started in."""

    async def setup(self) -> None:
        """Start everything."""
        self.app.middlewares.extend([speak_in_sentences, remember_who_asks])
        await super().setup()
        self.dashboards = make_dashboards(
            self.backend,
            prefix=os.environ["JUPYTERHUB_SERVICE_PREFIX"],
            hub_base_url=os.environ["JUPYTERHUB_BASE_URL"] + "hub/",
            public_url=self.settings.public_url,
            cookie_secret=kept_secret(self.settings.state / "secrets" / "dask-dashboards").encode(),
        )
        self.dashboards_server = HTTPServer(self.dashboards)
        self.dashboards_server.listen(self.dask.dashboards_port, "127.0.0.1")
        await self.keeper.start(self.backend.proxy)
        log.info("dask_gateway.ready", port=self.dask.port)

    async def cleanup(self) -> None:
        """Stop everything but clusters, and the proxy as long as there are some."""
        if hasattr(self, "dashboards_server"):
            self.dashboards_server.stop()
            await close_dashboards(self.dashboards)
        clusters = bool(list(self.backend.db.active_clusters())) if hasattr(self.backend, "db") else False
        await self.keeper.close(keep_running=clusters)
        await super().cleanup()


def configuration(settings: Settings, dask: DaskSettings, prefix: str) -> Config:
    """Upstream's configuration. ``prefix`` is the service's path on the hub, without the last slash."""
    config = Config()
    config.DaskGateway.address = f"127.0.0.1:{dask.api_port}"
    config.DaskGateway.authenticator_class = SessionAuthenticator
    config.DaskGateway.backend_class = LauncherBackend
    config.DaskGateway.log_level = "WARN"
    config.SessionAuthenticator.jupyterhub_service_name = dask.service_name
    backend = config.LauncherBackend
    backend.api_url = f"http://127.0.0.1:{dask.api_port}/api"
    backend.db_url = f"sqlite:///{_database(settings)}"
    backend.db_encrypt_keys = [_fernet_key(settings)]
    backend.stop_clusters_on_shutdown = False
    backend.check_timeouts_period = 5
    backend.parallelism = _AT_ONCE
    proxy = config.Proxy
    proxy.address = f"127.0.0.1:{dask.port}"
    proxy.prefix = prefix
    proxy.externally_managed = True
    proxy.api_token = kept_secret(settings.state / "secrets" / "dask-proxy")
    return config


def _directory(settings: Settings) -> Path:
    directory = settings.state / "dask"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory


def _database(settings: Settings) -> Path:
    return _directory(settings) / "gateway.sqlite"


def _ports(settings: Settings, dask: DaskSettings) -> list[tuple[str, int]]:
    """Where we are about to listen; the proxy of the gateway before us may do so already."""
    mine = [("api_port", dask.api_port), ("dashboards_port", dask.dashboards_port)]
    proxy = find_proxy(_directory(settings))
    listens = proxy is not None and f"127.0.0.1:{dask.port}" in proxy.cmdline()
    return mine if listens else [("port", dask.port), *mine]


def _fernet_key(settings: Settings) -> str:
    secret = bytes.fromhex(kept_secret(settings.state / "secrets" / "dask-database"))
    return base64.urlsafe_b64encode(secret).decode()


def _run(settings: Settings, dask: DaskSettings) -> int:
    try:
        prefix = os.environ["JUPYTERHUB_SERVICE_PREFIX"].rstrip("/")
    except KeyError as error:
        raise ConfigurationInvalid(
            "`launcher dask-gateway` is started by JupyterHub, not by hand.",
            hint="Put `launcher.enable(c, dask=True)` into jupyterhub_config.py, or run `launcher up`.",
        ) from error
    with StateLock(_directory(settings), patience_seconds=_TAKE_OVER_SECONDS):
        require_ports(_ports(settings, dask))
        require_database(_database(settings), _fernet_key(settings))
        gateway = Gateway(config=configuration(settings, dask, prefix))
        gateway.settings, gateway.dask, gateway.keeper = settings, dask, ProxyKeeper(_directory(settings))
        gateway.initialize([])
        # traitlets would copy what comes through the configuration
        gateway.backend.settings, gateway.backend.runtime = dask, make_clusters(settings)
        gateway.start()
    return 0


def serve(listener: socket.socket | None) -> int:
    """Run the gateway until SIGTERM or Ctrl-C; killed, it starts again. Raises OperatorError when it cannot start.

    ``listener`` kept the port of the proxy while this was loaded; the proxy is a program of its own and takes it over.
    """
    if listener:
        listener.close()
    configure_logging()
    settings = Settings.from_json(os.environ.get(SETTINGS_VARIABLE, ""))
    os.environ.pop(SETTINGS_VARIABLE, None)  # children need none of it
    dask = settings.dask
    if dask is None:
        raise ConfigurationInvalid("Dask is not switched on.", hint="Set c.Launcher.dask = True.")
    return supervise(lambda: _run(settings, dask))
