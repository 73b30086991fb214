"""What all providers share whose repositories are git repositories behind an address."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from launcher.errors import AddressRefused, ConfigurationInvalid, RepositoryNotFound
from launcher.models import Repository, Resolved, Snapshot, Spec
from launcher.sources.addresses import WebAddress, refused
from launcher.sources.git import Remote, RepositoryMoved
from launcher.sources.identity import Forges, place
from launcher.sources.providers import SourceTools
from launcher.sources.refs import find_ref, longest_ref, proposal_of

Answer = TypeVar("Answer")
_SERVICE = "/info/refs"
_QUERY = "?service=git-upload-pack"


@dataclass(frozen=True)
class Target:
    """A spec taken apart.

    address: where git finds the repository. ref: checked. prefix: the spec without its ref, ``gh/org/repo``.
    """

    address: WebAddress
    ref: str
    prefix: str


class GitBasedProvider(ABC):
    """A provider over git; a subclass says how its specs are written and, if it knows better, how refs are found."""

    id: str
    display_config: dict[str, object]
    default_for: frozenset[str] = frozenset()
    """Branch names of old links that mean the default branch when they are gone."""

    def __init__(self, tools: SourceTools) -> None:
        self.tools = tools
        self.forges = forges_of(tools)

    @abstractmethod
    def read(self, raw: str) -> Target:
        """Take a provider spec apart. Raises SpecInvalid, AddressRefused."""

    @abstractmethod
    def ref_url(self, target: Target, repository: Repository, commit: str) -> str:
        """Where a person sees the commit."""

    def parse(self, raw: str) -> Spec:
        """A spec of the right shape."""
        self._repository(self.read(raw))
        return Spec(self.id, raw)

    def repository(self, spec: Spec) -> Repository:
        """The canonical repository, the same for every spelling of it."""
        return self._repository(self.read(spec.raw))

    async def resolve(self, spec: Spec) -> Resolved:
        """What the spec points to now."""
        target = self.read(spec.raw)
        repository = self._repository(target)
        commit, ref_name = await self.find(target)
        url = self.ref_url(target, repository, commit)
        persistent = f"{target.prefix}/{ref_name if repository.is_proposal else commit}"
        return Resolved(spec, repository, commit, ref_name, persistent, url)

    async def longest_ref(self, spec: Spec, path: str) -> str | None:
        """The longest branch or tag that begins a path, by asking the host with git."""
        git = self.tools.git
        return await with_remote(self.tools, self.read(spec.raw).address, lambda remote: longest_ref(git, remote, path))

    def _repository(self, target: Target) -> Repository:
        return self.forges.repository(target.address, proposal=proposal_of(target.ref))

    async def find(self, target: Target) -> tuple[str, str | None]:
        """Commit and full ref name of a target, by asking its host with git."""
        tools = self.tools
        return await with_remote(
            tools,
            target.address,
            lambda remote: find_ref(tools.git, remote, target.ref, default_for=self.default_for),
        )

    async def fetch(self, resolved: Resolved) -> Snapshot:
        """The commit's files in the cache."""
        tools, repository = self.tools, resolved.repository
        if await tools.cache.holds(repository.id, resolved.ref):
            return Snapshot(resolved, tools.cache.path(repository.id), resolved.ref)
        path = await with_remote(
            tools,
            self.read(resolved.spec.raw).address,
            lambda remote: tools.cache.fetch(repository.id, remote, resolved.ref, resolved.ref_name),
        )
        return Snapshot(resolved, path, resolved.ref)


def forges_of(tools: SourceTools) -> Forges:
    """The hosts of the configuration whose rules we know. Raises ConfigurationInvalid for an address not allowed."""
    config = tools.config
    hosts = {"gh": config.github_url, "gist": config.gist_url, "gl": config.gitlab_url}
    try:
        return Forges({place(tools.addresses.check_url(url)): provider for provider, url in hosts.items()})
    except AddressRefused:
        raise ConfigurationInvalid(
            "The address configured for GitHub, gists or GitLab is not allowed.",
            hint="It must be public and https, or its HOST:PORT one of the allowed hosts.",
        ) from None


def below(tools: SourceTools, base: str, path: str) -> WebAddress:
    """The address of a path below a configured base URL. Raises AddressRefused."""
    return tools.addresses.check_url(f"{base.rstrip('/')}/{path}")


async def with_remote(tools: SourceTools, address: WebAddress, action: Callable[[Remote], Awaitable[Answer]]) -> Answer:
    """Do something with a remote; when its host says it has moved within the host (a rename), do it there."""
    try:
        return await action(await tools.git.remote(address.url))
    except RepositoryMoved:
        moved = await _new_address(tools, address)
        return await action(await tools.git.remote(moved.url))


async def _new_address(tools: SourceTools, address: WebAddress) -> WebAddress:
    """Where a renamed repository is now. Another host is another matter: its repository was not asked for."""
    asked = f"{address.url}{_SERVICE}{_QUERY}"
    response = await tools.http.get(asked, headers={"Git-Protocol": "version=2"})
    found = tools.addresses.check_url(response.url)
    if (found.scheme, found.host, found.port) != (address.scheme, address.host, address.port):
        raise refused()
    if not found.path.endswith(_SERVICE) or response.url == asked:
        raise RepositoryNotFound("There is no public repository at this address.")
    return replace(found, path=found.path.removesuffix(_SERVICE), query="")
