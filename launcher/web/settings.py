"""What the web is told once, at start: frozen values and the parts it may talk to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.services.auth import HubOAuth

from launcher.errors import ConfigurationInvalid
from launcher.retention.catalogue import EnvironmentCatalogue
from launcher.sessions.base import Launches
from launcher.sessions.clusters import Clusters
from launcher.sessions.documents import Documents
from launcher.sessions.history import BuildHistory
from launcher.sessions.mine import MyLaunches
from launcher.sessions.new_session import NewSession
from launcher.sessions.rebuild import Rebuilds
from launcher.sources.base import Sources
from launcher.web.words import Languages

_ORIGIN = re.compile(r"https?://[^/?#@\s]+/?")
_SECRET_BYTES = 32  # HS256 wants a key as long as its digest

HealthCheck = Callable[[], Awaitable[dict[str, object]]]
"""Gives one entry of ``/health``: at least ``service`` and ``ok``; ``_ignore_failure`` keeps the whole healthy."""


@dataclass(frozen=True)
class WebSettings:
    """Decisions about the web. Raises ConfigurationInvalid when they cannot work.

    service_prefix: URL path of the service, ``/services/binder/``. hub_base_url: URL path of the Hub, ``/``.
    public_url: ``scheme://host`` as browsers see the Hub; None answers API clients with the host they asked.
    cors_origins: origins that may call the API from a page of theirs, or ``("*",)``.
    build_token_secret: at least 32 bytes, the same in every replica; ``previous_token_secrets`` still verify.
    builder_info: what ``/versions`` says about the builder.
    languages: what pages speak.
    authenticate_metrics: ask for a Hub token with ``read:metrics`` at ``/metrics``.
    """

    build_token_secret: bytes
    service_prefix: str = "/services/binder/"
    hub_base_url: str = "/"
    public_url: str | None = None
    cors_origins: tuple[str, ...] = ()
    previous_token_secrets: tuple[bytes, ...] = ()
    build_token_expires_seconds: int = 300
    version: str = "0.1.0"
    builder_info: Mapping[str, str] = field(default_factory=dict)
    banner: str = ""
    template_variables: Mapping[str, str] = field(default_factory=dict)
    authenticate_metrics: bool = False
    keepalive_seconds: float = 25.0
    linger_seconds: float = 60.0
    slow_reader_seconds: float = 60.0
    streams_per_person: int = 30
    streams_total: int = 2000
    launches_per_minute: int = 30
    max_body_bytes: int = 64 * 1024
    max_url_bytes: int = 8 * 1024
    noscript_wait_seconds: float = 5.0
    languages: Languages = field(default_factory=Languages)

    def __post_init__(self) -> None:
        for path in (self.service_prefix, self.hub_base_url):
            if not (path.startswith("/") and path.endswith("/")) or "//" in path or "?" in path:
                raise ConfigurationInvalid(f"The URL path {path!r} must begin and end with one slash.")
        if any(len(secret) < _SECRET_BYTES for secret in (self.build_token_secret, *self.previous_token_secrets)):
            raise ConfigurationInvalid("The build token secret is shorter than 32 bytes.")
        if self.public_url is not None and not _ORIGIN.fullmatch(self.public_url):
            raise ConfigurationInvalid("public_url must be scheme://host, such as https://hub.example.org.")

    @property
    def cookie_secret(self) -> bytes:
        """Signs cookies; follows from the build token secret, so that it survives a restart with it."""
        return hashlib.sha256(b"cookies:" + self.build_token_secret).digest()


@dataclass(frozen=True)
class WebParts:
    """Everything handlers may talk to, in tornado's ``settings["parts"]``.

    hub_auth: None makes one from the ``JUPYTERHUB_*`` environment of a service. clusters: None on a hub without Dask.
    environments, rebuilds: None where nobody keeps a list of them. documents: None shows no READMEs.
    health_checks: asked by ``/health``. extra_handlers: tornado route tuples with full paths, before all of ours.
    """

    launches: Launches
    history: BuildHistory
    mine: MyLaunches
    new_session: NewSession
    sources: Sources
    settings: WebSettings
    hub_auth: HubOAuth | None = None
    clusters: Clusters | None = None
    health_checks: Sequence[HealthCheck] = ()
    environments: EnvironmentCatalogue | None = None
    rebuilds: Rebuilds | None = None
    documents: Documents | None = None
    extra_handlers: Sequence[tuple[Any, ...]] = ()
