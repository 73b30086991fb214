"""Bare repositories of ours: one per repository, shallow, filled by fetches and imports, safe to kill at any time.

Every accepted commit is kept alive by ``refs/launcher/<commit>``; that ref is written last, so a commit that has it is
complete. One task of one process writes to a repository at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from pathlib import Path

from launcher.errors import RefNotFound, SourceError, SourceInvalid, SourceTooLarge
from launcher.models import RepositoryId
from launcher.sources.fast_import import IMPORTED, ImportLimits, commit_stream
from launcher.sources.git import Git, GitResult, Remote, remote_failure
from launcher.sources.locks import KeyedLocks

_SHA256_LENGTH = 64
_TIP = "refs/fetched/tip"
_REFSPECS = ("+refs/heads/*:refs/upstream/heads/*", "+refs/tags/*:refs/upstream/tags/*")
_MOVED = ("couldn't find remote ref", "not our ref", "unadvertised object")


class RepositoryCache:
    """The bare repositories below one directory.

    max_repository_bytes: what git may store for one repository. max_content_bytes, max_files: what the files of one
    commit may be. timeout: seconds for one fetch or import.
    """

    def __init__(
        self,
        directory: Path,
        git: Git,
        *,
        max_repository_bytes: int = 2_000_000_000,
        max_content_bytes: int = 5_000_000_000,
        max_files: int = 200_000,
        timeout: float = 300.0,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._git = git
        self._max_repository_bytes = max_repository_bytes
        self._max_content_bytes = max_content_bytes
        self._max_files = max_files
        self._timeout = timeout
        self._locks = KeyedLocks(timeout=timeout)

    def path(self, repository: RepositoryId) -> Path:
        """Where the bare repository of an identity is, whether it is there yet or not."""
        return self._directory / f"{hashlib.sha256(repository.encode()).hexdigest()}.git"

    async def holds(self, repository: RepositoryId, commit: str) -> bool:
        """Whether every object of an accepted commit is here."""
        path = self.path(repository)
        if not path.is_dir():
            return False
        ref = f"refs/launcher/{commit}"
        # --objects walks every tree and looks for every blob: half a repository is no repository.
        result = await self._git.run("rev-list", "--objects", "--quiet", "--no-walk", ref, "--", directory=path)
        return result.ok

    async def fetch(self, repository: RepositoryId, remote: Remote, commit: str, ref_name: str | None) -> Path:
        """The bare repository with all files of ``commit``; quick and without network when they are there already.

        ref_name: the full name of the ref the commit was seen at (``refs/heads/main``), or ``HEAD``; one commit deep
        is enough then. None: a commit out of a link, which is accepted only when a branch or tag reaches it, because
        hosts also hand out commits of forks and pull requests.
        Raises RefNotFound, RepositoryNotFound, SourceUnavailable, SourceTooLarge.
        """
        path = self.path(repository)
        async with self._locks.hold(self.path(repository).with_suffix(".lock")):
            if not await self.holds(repository, commit):
                fresh = await self._prepare(path, commit)
                try:
                    await self._fetch_commit(path, remote, commit, ref_name)
                except SourceTooLarge:
                    await self._discard(path)  # what is refused shall not fill the disk
                    raise
                except SourceError:
                    if fresh or await self._healthy(path):
                        raise
                    await self._discard(path)
                    await self._prepare(path, commit)
                    await self._fetch_commit(path, remote, commit, ref_name)
        return path

    async def import_directory(
        self,
        repository: RepositoryId,
        directory: Path,
        *,
        message: str,
        paths: list[str] | None = None,
    ) -> tuple[Path, str]:
        """A plain directory as a commit: the bare repository and the commit's id, the same for the same files.

        paths: which files (relative, ``/`` between), default all. Symlinks are stored as symlinks and never followed;
        whatever is called ``.git`` and what is neither file nor symlink is left out.
        Raises SourceTooLarge, SourceInvalid.
        """
        path = self.path(repository)
        async with self._locks.hold(self.path(repository).with_suffix(".lock")):
            await self._prepare(path, "")
            limits = ImportLimits(self._max_content_bytes, self._max_files)
            stream = commit_stream(directory, message=message, paths=paths, limits=limits)
            result = await self._git.run(
                "fast-import", "--quiet", "--date-format=raw", "--force",
                directory=path, stdin=stream, timeout=self._timeout,
                watch=(path, self._max_repository_bytes),
            )  # fmt: skip
            if not result.ok:
                raise SourceError("The files could not be stored.", hint="Is the disk of the launcher full?")
            commit = await self._commit_of(path, IMPORTED)
            await self._keep(path, commit)
        return path, commit

    async def forget(self, repository: RepositoryId) -> None:
        """Delete a repository; the next fetch starts over."""
        async with self._locks.hold(self.path(repository).with_suffix(".lock")):
            await self._discard(self.path(repository))

    async def _fetch_commit(self, path: Path, remote: Remote, commit: str, ref_name: str | None) -> None:
        """Get a commit and accept it, or leave nothing that counts."""
        ref_name = ref_name or await self._tip_at(remote, commit)
        if ref_name is not None:
            await self._fetch_named(path, remote, commit, ref_name)
        else:
            await self._fetch_reachable(path, remote, commit)
        await self._check_size(path, commit)
        await self._keep(path, commit)

    async def _tip_at(self, remote: Remote, commit: str) -> str | None:
        """The branch or tag that points at a commit now: the cheap proof that the commit is the repository's own."""
        listing = await self._git.list_refs(remote, "refs/heads/*", "refs/tags/*")
        return next((name.removesuffix("^{}") for name, target in listing.items() if target == commit), None)

    async def _fetch_named(self, path: Path, remote: Remote, commit: str, ref_name: str) -> None:
        """The tip of a ref; when it moved since it was resolved, the commit we saw there is asked for by its id."""
        for wanted in (ref_name, commit):
            result = await self._run_fetch(path, remote, "--depth=1", refspecs=(f"+{wanted}:{_TIP}",))
            if result.ok and await self._commit_of(path, _TIP) == commit:
                return
            if not result.ok and not any(mark in result.error.lower() for mark in _MOVED):
                raise remote_failure(result)
        raise RefNotFound("The branch or tag moved while it was being fetched.", hint="Launch it again.")

    async def _fetch_reachable(self, path: Path, remote: Remote, commit: str) -> None:
        """Prove by the history alone that a branch or tag reaches the commit, then get its files."""
        with tempfile.TemporaryDirectory(dir=self._directory, prefix="history-") as scratch:
            history = Path(scratch)
            await self._initialise(history, commit)
            result = await self._run_fetch(history, remote, "--filter=tree:0", refspecs=_REFSPECS)
            if not result.ok:
                raise remote_failure(result)
            found = await self._git.run(
                "for-each-ref", "--count=1", f"--contains={commit}", "refs/upstream/", directory=history
            )
        if not found.ok or not found.output.strip():
            raise RefNotFound(
                "No branch or tag of the repository has this commit.",
                hint="Commits of forks and pull requests launch from the repository they belong to.",
            )
        await self._fetch_proven(path, remote, commit)

    async def _fetch_proven(self, path: Path, remote: Remote, commit: str) -> None:
        """One commit by its id; everything, from a host that does not hand out commits by id."""
        result = await self._run_fetch(path, remote, "--depth=1", refspecs=(f"+{commit}:{_TIP}",))
        if not result.ok:
            unshallow = ("--unshallow",) if (path / "shallow").exists() else ()
            result = await self._run_fetch(path, remote, *unshallow, "--prune", refspecs=_REFSPECS)
        if not result.ok:
            raise remote_failure(result)

    async def _run_fetch(self, path: Path, remote: Remote, *options: str, refspecs: tuple[str, ...]) -> GitResult:
        return await self._git.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
            "--no-auto-maintenance", *options, "--end-of-options", remote.url, *refspecs,
            directory=path, remote=remote, timeout=self._timeout, watch=(path, self._max_repository_bytes),
        )  # fmt: skip

    async def _check_size(self, path: Path, commit: str) -> None:
        """Refuse a commit whose files are too many or too large, whatever they were packed to."""
        listing = await self._git.run(
            "ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", commit,
            directory=path, output_limit=self._max_files * 400 + 100_000,
        )  # fmt: skip
        if not listing.ok:
            raise SourceInvalid("The repository's files cannot be read.")
        sizes = [entry.split(maxsplit=4)[3] for entry in listing.output.split(b"\0") if entry]
        if len(sizes) > self._max_files:
            raise SourceTooLarge("The repository has more files than is accepted.")
        if sum(int(size) for size in sizes if size.isdigit()) > self._max_content_bytes:
            raise SourceTooLarge("The repository's files are larger than is accepted.")

    async def _commit_of(self, path: Path, ref: str) -> str:
        result = await self._git.run("rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", directory=path)
        if not result.ok:
            raise RefNotFound("The tag does not point to a commit.")
        return result.output.decode().strip()

    async def _keep(self, path: Path, commit: str) -> None:
        """The last step: from now on the commit counts as being here."""
        whole = await self._git.run(
            "rev-list", "--objects", "--quiet", "--no-walk", "--end-of-options", commit, directory=path
        )
        if not whole.ok:
            raise SourceInvalid("The repository arrived with parts missing.", hint="Launch it again.")
        await self._git.run("update-ref", f"refs/launcher/{commit}", commit, directory=path)

    async def _prepare(self, path: Path, commit: str) -> bool:
        """A bare repository without the remains of killed processes; whether it is new."""
        if await asyncio.to_thread(_clear_remains, path):
            wanted = "sha256" if len(commit) == _SHA256_LENGTH else "sha1"
            result = await self._git.run("rev-parse", "--show-object-format", directory=path)
            if result.ok and result.output.decode().strip() == wanted:
                return False
            await self._discard(path)
        with tempfile.TemporaryDirectory(dir=self._directory, prefix="new-") as scratch:
            fresh = Path(scratch) / "repository"
            await self._initialise(fresh, commit)
            await asyncio.to_thread(fresh.rename, path)
        return True

    async def _initialise(self, path: Path, commit: str) -> None:
        kind = "sha256" if len(commit) == _SHA256_LENGTH else "sha1"
        result = await self._git.run(
            "init",
            "--quiet",
            "--bare",
            "--template=",
            f"--object-format={kind}",
            "--initial-branch=none",
            "--",
            str(path),
        )
        if not result.ok:
            raise SourceError("The repository could not be stored.", hint="Is the disk of the launcher full?")

    async def _healthy(self, path: Path) -> bool:
        result = await self._git.run("fsck", "--connectivity-only", "--no-dangling", directory=path)
        return result.ok

    async def _discard(self, path: Path) -> None:
        await asyncio.to_thread(_move_away_and_delete, path)


def _clear_remains(path: Path) -> bool:
    """Delete what a killed git leaves: lock files and half packs. Whether there is a repository at all.

    Only under the repository's lock.
    """
    for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp*", "objects/??/tmp_obj_*"):
        for remain in path.glob(pattern):
            remain.unlink(missing_ok=True)
    return path.exists()


def _move_away_and_delete(path: Path) -> None:
    """Out of the way in one step, so that a kill leaves either all or nothing under the name."""
    if path.exists():
        doomed = Path(tempfile.mkdtemp(dir=path.parent, prefix="old-"))
        path.rename(doomed / "repository")
        shutil.rmtree(doomed)
