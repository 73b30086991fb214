"""All providers behind one door."""

from __future__ import annotations

import re
from collections.abc import Iterable

from launcher.errors import ProviderUnknown
from launcher.models import Repository, Resolved, Snapshot, Spec
from launcher.sources.addresses import AddressPolicy, Resolver, system_resolver
from launcher.sources.cache import RepositoryCache
from launcher.sources.ckan import CkanProvider
from launcher.sources.dataverse import DataverseProvider
from launcher.sources.figshare import FigshareProvider
from launcher.sources.gist import GistProvider
from launcher.sources.git import Git
from launcher.sources.git_based import GitBasedProvider
from launcher.sources.github import GitHubProvider
from launcher.sources.gitlab import GitLabProvider
from launcher.sources.http import HttpClient
from launcher.sources.hydroshare import HydroshareProvider
from launcher.sources.local import LocalProvider
from launcher.sources.plain_git import PlainGitProvider
from launcher.sources.providers import Provider, SourcesConfig, SourceTools
from launcher.sources.zenodo import ZenodoProvider

_SHOWABLE = re.compile("[A-Za-z0-9._-]{1,40}")


def make_tools(config: SourcesConfig, *, resolver: Resolver = system_resolver) -> SourceTools:
    """What providers work with, wired from a configuration. Raises ConfigurationInvalid."""
    addresses = AddressPolicy(config.allow_hosts, resolver)
    git = Git(addresses, timeout=config.timeout)
    cache = RepositoryCache(
        config.cache_directory,
        git,
        max_repository_bytes=config.max_repository_bytes,
        max_content_bytes=config.max_content_bytes,
        max_files=config.max_files,
        timeout=config.fetch_timeout,
    )
    return SourceTools(config, addresses, HttpClient(addresses, timeout=config.timeout), git, cache)


def default_providers(tools: SourceTools) -> list[Provider]:
    """Every provider of the launcher; ``local`` only when the operator listed directories."""
    providers: list[Provider] = [
        GitHubProvider(tools),
        GistProvider(tools),
        PlainGitProvider(tools),
        GitLabProvider(tools),
        ZenodoProvider(tools),
        FigshareProvider(tools),
        DataverseProvider(tools),
        HydroshareProvider(tools),
        CkanProvider(tools),
    ]
    if tools.config.local_directories:
        providers.append(LocalProvider(tools))
    return providers


class RepositorySources:
    """`launcher.sources.base.Sources` over a set of providers.

    providers: by default all of them; more can be given by an operator who has a place of their own.
    """

    def __init__(
        self,
        config: SourcesConfig,
        *,
        resolver: Resolver = system_resolver,
        providers: Iterable[Provider] | None = None,
    ) -> None:
        self.tools = make_tools(config, resolver=resolver)
        chosen = default_providers(self.tools) if providers is None else providers
        self._providers = {provider.id: provider for provider in chosen}

    def parse(self, provider: str, raw: str) -> Spec:
        """A spec with the right shape for its provider; touches nothing outside."""
        return self._provider(provider).parse(raw)

    def repository(self, spec: Spec) -> Repository:
        """The canonical repository of a spec, without asking anybody."""
        return self._provider(spec.provider).repository(spec)

    async def resolve(self, spec: Spec) -> Resolved:
        """What the spec points to now."""
        return await self._provider(spec.provider).resolve(spec)

    async def longest_ref(self, spec: Spec, path: str) -> str | None:
        """The longest branch or tag that begins a path of an address; only git repositories have any."""
        provider = self._provider(spec.provider)
        return await provider.longest_ref(spec, path) if isinstance(provider, GitBasedProvider) else None

    async def fetch(self, resolved: Resolved) -> Snapshot:
        """The files of a resolved ref."""
        return await self._provider(resolved.spec.provider).fetch(resolved)

    def describe(self) -> list[dict[str, object]]:
        """``display_config`` of every provider, in BinderHub's shape."""
        return [provider.display_config for provider in self._providers.values()]

    async def check(self) -> None:
        """Nothing when this machine's git can be used. Raises ConfigurationInvalid."""
        await self.tools.git.check()

    def _provider(self, name: str) -> Provider:
        try:
            return self._providers[name]
        except KeyError:
            known = ", ".join(self._providers)
            shown = name if _SHOWABLE.fullmatch(name) else "of this link"
            raise ProviderUnknown(f"No provider found for prefix {shown}", hint=f"Known prefixes: {known}.") from None
