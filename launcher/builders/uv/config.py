"""The settings that builders with uv have in common."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from packaging.version import Version

from launcher.builders.uv.egress import EgressMode, EgressPolicy
from launcher.builders.uv.limits import BuildLimits
from launcher.errors import ConfigurationInvalid

_PYPI = "https://pypi.org/simple"
_PYPI_FILES = "files.pythonhosted.org:443"
_PORTS = {"https": 443, "http": 80}
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")


def full_mode_requirements() -> tuple[str, ...]:
    """What an environment with its own Jupyter server gets: a single-user server that this Hub understands."""
    hub = Version(importlib.metadata.version("jupyterhub"))
    return (f"jupyterhub>=5,<{hub.major + 1}", "jupyterlab", "nbgitpuller")


@dataclass(frozen=True, kw_only=True)
class UvBuilderConfig:
    """Everything the pipeline needs to know.

    work: builds under way. cache: uv's cache and environments that are being filled. Both belong on one file
        system: then wheels are linked instead of copied.
    index_url: the package index, None for the public one. extra_index_urls, find_links: further places of wheels
        (find_links: directories of this machine or URLs).
    allow_hosts: ``host:port`` pairs that builds may reach whatever their address.
    hosts: fixed name -> addresses answers for the egress proxy.
    egress: how far builds reach. limits: see `BuildLimits`.
    certificates: a file of CA certificates to trust instead of the system's.
    kernel_requirements, full_requirements: what is added to the repository's packages in either mode.
    dask_requirements: what environments with Dask get besides; empty when there is no Dask.
    """

    work: Path
    cache: Path
    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    egress: EgressMode = EgressMode.INTERNET
    limits: BuildLimits = field(default_factory=BuildLimits)
    certificates: Path | None = None
    kernel_requirements: tuple[str, ...] = ("ipykernel", "pip")
    full_requirements: tuple[str, ...] = field(default_factory=full_mode_requirements)
    dask_requirements: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, state: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """The configuration below ``state``, with the operator's usual variables honoured.

        ``UV_DEFAULT_INDEX``, ``UV_INDEX_URL``, ``PIP_INDEX_URL`` (first one wins), ``UV_EXTRA_INDEX_URL``,
        ``PIP_EXTRA_INDEX_URL``, ``UV_FIND_LINKS`` and ``SSL_CERT_FILE``; ``settings`` win over all of them.
        """
        variables = os.environ if environment is None else environment

        def first(*names: str) -> str | None:
            return next((variables[name] for name in names if variables.get(name)), None)

        certificates = first(*_CERTIFICATES)
        found: dict[str, Any] = {
            "work": state / "builds",
            "cache": state / "cache",
            "index_url": first("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"),
            "extra_index_urls": tuple((first("UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL") or "").split()),
            "find_links": tuple(shlex.split((first("UV_FIND_LINKS") or "").replace(",", " "))),
            "certificates": Path(certificates) if certificates and Path(certificates).is_file() else None,
        }
        return cls(**{**found, **settings})

    @property
    def egress_policy(self) -> EgressPolicy:
        """The policy of the egress proxy: indexes by name, the operator's hosts, and what ``egress`` says.

        Raises ConfigurationInvalid when an index or host cannot be understood.
        """
        urls = [self.index_url or _PYPI, *self.extra_index_urls]
        urls += [link for link in self.find_links if "://" in link]
        allowed = {_host_and_port(url) for url in urls}
        if any(name.startswith("pypi.org:") for name in allowed):
            allowed.add(_PYPI_FILES)
        for host in self.allow_hosts:
            if not host.rpartition(":")[2].isdigit() or not host.rpartition(":")[0]:
                raise ConfigurationInvalid(f"The allowed host {host!r} is not HOST:PORT.")
            allowed.add(host.replace("[", "").replace("]", "").lower())
        return EgressPolicy(self.egress, frozenset(allowed), dict(self.hosts))


def _host_and_port(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise ConfigurationInvalid("A package index is not an http or https URL.") from error
    return f"{(parts.hostname or '').lower()}:{port}"
