"""What the rest of the launcher may ask of the places repositories come from."""

from __future__ import annotations

from typing import Protocol

from launcher.models import Repository, Resolved, Snapshot, Spec


class Sources(Protocol):
    """All providers behind one door."""

    def parse(self, provider: str, raw: str) -> Spec:
        """A spec with the right shape for its provider; touches nothing outside.

        Raises ProviderUnknown, SpecInvalid, AddressRefused.
        """

    def repository(self, spec: Spec) -> Repository:
        """The canonical repository of a spec, without asking anybody."""

    async def resolve(self, spec: Spec) -> Resolved:
        """What the spec points to now.

        Raises RepositoryNotFound, RefNotFound, RefAmbiguous, SourceError, AddressRefused.
        """

    async def longest_ref(self, spec: Spec, path: str) -> str | None:
        """The longest branch or tag of a spec's repository whose name begins ``path``; None when there is none.

        For addresses such as ``…/tree/feature/x/docs``, which do not say where the branch ends. Raises as `resolve`.
        """

    async def fetch(self, resolved: Resolved) -> Snapshot:
        """The files of a resolved ref; single flight per repository, quick when they are there already.

        Raises SourceError.
        """

    def describe(self) -> list[dict[str, object]]:
        """``display_config`` of every provider, in BinderHub's shape."""


def spec_at(sources: Sources, path: str) -> Spec:
    """The spec of ``<provider>/<raw spec>``: the inverse of `Spec.path`. Raises as `Sources.parse`."""
    provider, _, raw = path.partition("/")
    return sources.parse(provider, raw)


class Tree(Protocol):
    """Read-only view of one commit, from git objects only: no checkout, no symlink is ever followed."""

    id: str
    """The tree's object id."""

    def files(self) -> dict[str, str]:
        """Path -> blob id of every regular file (symlinks and submodules are left out)."""

    def directories(self) -> dict[str, str]:
        """Path -> tree id of every directory, without the root."""

    def modes(self) -> dict[str, str]:
        """Path -> git mode of everything that is not a directory.

        ``100644``, ``100755`` (executable), ``120000`` (symlink), ``160000`` (submodule): the way to tell a symlink
        from a file that is not there.
        """

    def read(self, path: str, *, limit: int = 1_000_000) -> bytes:
        """A file's bytes. KeyError when there is no such regular file, SourceTooLarge over ``limit`` bytes."""
