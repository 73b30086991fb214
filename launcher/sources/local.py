"""``local/<percent-encoded path>/<ref>``: a directory of this machine, edits and all, before it is pushed anywhere."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from urllib.parse import quote

from launcher.errors import RepositoryNotFound, SourceUnavailable, SpecInvalid
from launcher.models import Repository, Resolved, Snapshot, Spec
from launcher.sources.providers import SourceTools, decode_once, directory_name, repository_id

WORKING_TREE = "worktree"

_DISPLAY: dict[str, object] = {
    "displayName": "Local directory",
    "id": "local",
    "enabled": False,
    "spec": {"validateRegex": r"[^/]+(/.+)?"},
    "repo": {"label": "Directory of the hub's machine", "placeholder": "/srv/course", "urlEncode": True},
    "ref": {"enabled": False, "default": WORKING_TREE},
}


class LocalProvider:
    """Directories the operator listed; a git working tree or not. Its content is what is there now.

    Files that ``.gitignore`` names are left out unless they are tracked. The ref in the spec is for the eye only.
    """

    id = "local"
    display_config = _DISPLAY

    def __init__(self, tools: SourceTools) -> None:
        self._tools = tools
        self._listed = {str(directory): directory for directory in tools.config.local_directories}

    def parse(self, raw: str) -> Spec:
        """A spec that names a listed directory; RepositoryNotFound tells nothing about other directories."""
        self._directory(raw)
        return Spec(self.id, raw)

    def repository(self, spec: Spec) -> Repository:
        """The directory as a repository. Its path is the operator's own and already in the link."""
        directory = self._directory(spec.raw)
        path = quote(str(directory).lstrip("/"))
        return Repository(
            repository_id(self.id, "", path),
            self.id,
            directory.name,
            directory_name(directory.name),
            directory.as_uri(),
        )

    async def resolve(self, spec: Spec) -> Resolved:
        """The directory's present content: it is imported, and the commit it makes is the ref."""
        repository, directory = self.repository(spec), self._directory(spec.raw)
        if not await asyncio.to_thread(directory.is_dir):
            raise RepositoryNotFound("The directory is not there any more.")
        _, commit = await self._tools.cache.import_directory(
            repository.id, directory, message=f"Working tree of {directory.name}", paths=await self._paths(directory)
        )
        persistent = f"{self.id}/{quote(str(directory), safe='')}/{WORKING_TREE}"
        return Resolved(spec, repository, commit, None, persistent, repository.url)

    async def fetch(self, resolved: Resolved) -> Snapshot:
        """The commit that `resolve` made; it may be gone when the cache was emptied since."""
        cache, repository = self._tools.cache, resolved.repository
        if not await cache.holds(repository.id, resolved.ref):
            again = await self.resolve(resolved.spec)
            if again.ref != resolved.ref:
                raise SourceUnavailable("The directory has changed since it was looked at.", hint="Launch it again.")
        return Snapshot(resolved, cache.path(repository.id), resolved.ref)

    def _directory(self, raw: str) -> Path:
        quoted, _, _ = raw.partition("/")
        path = decode_once(quoted)
        if not path.startswith("/"):
            raise SpecInvalid('Spec is not of the form "<percent-encoded absolute path>/worktree".')
        found = self._listed.get(os.path.normpath(path))
        if found is None:
            raise RepositoryNotFound(
                "This directory is not offered for launching.", hint="The operator names directories at start."
            )
        return found

    async def _paths(self, directory: Path) -> list[str] | None:
        """The files git would know of; None (all) when git has nothing to say about the directory."""
        listed = ("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
        # The repository is the operator's: that it belongs to another account is no reason to refuse it.
        known = ("-C", str(directory), "-c", f"safe.directory={directory}", "-c", "core.excludesFile=/dev/null")
        result = await self._tools.git.run(*known, *listed, output_limit=64_000_000)
        if not result.ok:
            return None
        paths = [os.fsdecode(path) for path in result.output.split(b"\0") if path and not path.endswith(b"/")]
        return paths or None  # a directory that a repository around it ignores as a whole
