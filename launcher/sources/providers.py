"""What a provider is, and what it gets to work with."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote_to_bytes

from launcher.errors import SpecInvalid
from launcher.models import RepositoryId

if TYPE_CHECKING:
    from launcher.models import Repository, Resolved, Snapshot, Spec
    from launcher.sources.addresses import AddressPolicy
    from launcher.sources.cache import RepositoryCache
    from launcher.sources.git import Git
    from launcher.sources.http import HttpClient

MAX_SPEC_LENGTH = 4096
MAX_REF_LENGTH = 512
_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class SourcesConfig:
    """Everything the sources can be told.

    cache_directory: bare repositories live below it. allow_hosts: ``host:port`` that may be private and http.
    local_directories: the only directories ``local/`` may name. timeout: seconds for one question (resolve);
    fetch_timeout: seconds for getting files. max_*: caps of one repository or archive.
    github_token: for asking about public repositories more often; it is sent to GitHub's API only, and should have no
    scope, because whatever it can see can be launched by everybody.
    *_url: where GitHub, GitLab and their APIs are.
    """

    cache_directory: Path
    allow_hosts: frozenset[str] = frozenset()
    local_directories: tuple[Path, ...] = ()
    timeout: float = 20.0
    fetch_timeout: float = 300.0
    max_repository_bytes: int = 2_000_000_000
    max_content_bytes: int = 5_000_000_000
    max_files: int = 200_000
    github_url: str = "https://github.com"
    github_api_url: str = "https://api.github.com"
    github_token: str | None = field(default=None, repr=False)
    gist_url: str = "https://gist.github.com"
    allow_secret_gist: bool = False
    gitlab_url: str = "https://gitlab.com"
    provider_urls: Mapping[str, str] = field(default_factory=dict)
    """Other base URLs by name (``doi``, ``zenodo`` …) of the providers that have them."""
    dataverse_hosts: frozenset[str] | None = None
    """The Dataverse installations that DOIs may lead to, as lower-case host names; None for any public host."""


@dataclass(frozen=True)
class SourceTools:
    """What every provider works with."""

    config: SourcesConfig
    addresses: AddressPolicy
    http: HttpClient
    git: Git
    cache: RepositoryCache


class Provider(Protocol):
    """One kind of place repositories come from. Made with `SourceTools` as its only argument.

    The methods promise what `launcher.sources.base.Sources` says of them; ``spec.provider`` is always ``id``.
    """

    id: str
    """The prefix in links: ``gh``, ``zenodo`` …"""
    display_config: dict[str, object]
    """BinderHub's description of the provider for forms and link generators."""

    def parse(self, raw: str) -> Spec:
        """A spec of the right shape; ``raw`` is kept as it is. Raises SpecInvalid, AddressRefused."""

    def repository(self, spec: Spec) -> Repository:
        """The canonical repository, without asking anybody."""

    async def resolve(self, spec: Spec) -> Resolved:
        """What the spec points to now."""

    async def fetch(self, resolved: Resolved) -> Snapshot:
        """The files as a commit in the cache."""


def repository_id(provider: str, host: str, path: str) -> RepositoryId:
    """``provider:host/path``. The parts must be canonical already; ``provider`` and ``host`` hold no ``:/`` mix-ups."""
    return RepositoryId(f"{provider}:{host}/{path}")


def directory_name(text: str) -> str:
    """A name that is safe for a directory: ``[A-Za-z0-9][A-Za-z0-9._-]*``, at most 100 characters, no ``.git``."""
    name = _UNSAFE_NAME.sub("-", text.removesuffix(".git"))[:100].strip(".-_")
    while name.lower().endswith(".git"):
        name = name[:-4].rstrip(".-_")
    return name or "repository-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def decode_once(text: str) -> str:
    """Percent-decoding, once and strictly: UTF-8 without control characters. Raises SpecInvalid."""
    try:
        decoded = unquote_to_bytes(text).decode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        raise SpecInvalid("The spec is not text.") from None
    if len(text) > MAX_SPEC_LENGTH or not decoded.isprintable():
        raise SpecInvalid("The spec has characters that no repository has, or too many of them.")
    return decoded
