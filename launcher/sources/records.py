"""What the providers of published records share: a record is a list of files behind addresses, not a git repository."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from launcher.errors import SourceInvalid, SourceTooLarge, SourceUnavailable
from launcher.models import Repository, Resolved, Snapshot, Spec
from launcher.sources.archives import is_archive, unpack
from launcher.sources.http import HttpClient
from launcher.sources.locks import KeyedLocks
from launcher.sources.providers import SourceTools
from launcher.sources.untrusted import ArchiveLimits, UntrustedTree, content_root, shown

_PARALLEL_DOWNLOADS = 4
_PAGE_BYTES = 65_536
_REF = re.compile(r"[A-Za-z0-9._-]{1,200}")


@dataclass(frozen=True)
class RecordFile:
    """One file of a record as its host describes it. ``name`` may be anything; ``size`` and ``md5`` when known."""

    name: str
    url: str
    size: int | None = None
    md5: str | None = None


@contextmanager
def answer_of(host: str) -> Iterator[None]:
    """Reading a host's JSON: whatever is missing or of another type becomes SourceInvalid naming the host."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError, StopIteration) as error:
        raise SourceInvalid(f"{host} gave an answer we do not understand.", hint="Try again later.") from error


def epoch(timestamp: object) -> int:
    """Seconds since 1970 of an ISO 8601 time, UTC when it names no zone, cut to whole seconds. Raises ValueError."""
    moment = datetime.fromisoformat(str(timestamp))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def display_config(
    provider: str, name: str, *, label: str, example: str, pattern: str = r"10\.\d+\/(.)+", url_encode: bool = False
) -> dict[str, object]:
    """BinderHub's description of a provider without refs; ``pattern`` is what a form checks input with."""
    return {
        "displayName": name,
        "id": provider,
        "spec": {"validateRegex": pattern},
        "repo": {"label": label, "placeholder": f"example: {example}", "urlEncode": url_encode},
        "ref": {"enabled": False},
    }


class RecordDownload:
    """Fetches the files of a record into a directory, within limits that count for all of them together."""

    def __init__(self, http: HttpClient, limits: ArchiveLimits) -> None:
        self._http = http
        self.limits = limits

    async def files(self, files: Sequence[RecordFile], directory: Path) -> None:
        """Download every file under its own name into ``directory``, which must be empty.

        Raises SourceInvalid (unsafe names, wrong checksum), SourceTooLarge, SourceUnavailable, RepositoryNotFound,
        AddressRefused. What was downloaded until then is the caller's to remove.
        """
        tree = UntrustedTree(directory, self.limits)
        tree.check_entries(len(files))
        tree.count_bytes(sum(max(file.size or 0, 0) for file in files))
        places = [(file, tree.place(file.name)) for file in files]
        turns, alone = asyncio.Semaphore(_PARALLEL_DOWNLOADS), asyncio.Lock()

        async def fetch(file: RecordFile, path: Path) -> None:
            # Announced sizes are counted already; the others go one by one, so that the sum stays exact.
            async with alone if file.size is None else turns:
                left = self.limits.total_bytes - tree.total_bytes if file.size is None else max(file.size, 0)
                size = await self._one(file, path, max_bytes=left)
                tree.count_bytes(size if file.size is None else 0)

        try:
            async with asyncio.timeout(self.limits.seconds), asyncio.TaskGroup() as group:
                for file, path in places:
                    if path is not None:
                        group.create_task(fetch(file, path))
        except TimeoutError:
            raise SourceUnavailable("The files could not be downloaded in time.") from None
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def content(self, files: Sequence[RecordFile], directory: Path) -> Path:
        """The files, or when the record is one single archive, what is in it. Returns the directory they are in.

        As repo2docker does: a single directory around everything in an archive is left away.
        """
        packed, unpacked = directory / "files", directory / "content"
        packed.mkdir()
        await self.files(files, packed)
        found = [path for path in packed.rglob("*") if path.is_file()]
        if len(files) != 1 or len(found) != 1 or not await asyncio.to_thread(is_archive, found[0], found[0].name):
            return packed
        await unpack(found[0], unpacked, self.limits)
        found[0].unlink()
        return content_root(unpacked)

    async def _one(self, file: RecordFile, path: Path, *, max_bytes: int) -> int:
        # A redirect or an error page may be larger than the file it leads to.
        most = max_bytes + _PAGE_BYTES
        size = await self._http.download(file.url, path, max_bytes=most, timeout=self.limits.seconds)
        if size > max_bytes:
            raise SourceTooLarge(f"The file {shown(file.name)} is larger than its host said, or than is accepted.")
        if file.md5 and await asyncio.to_thread(_md5, path) != file.md5.lower():
            raise SourceInvalid(f"The file {shown(file.name)} did not arrive as it was published.", hint="Try again.")
        return size


def _md5(path: Path) -> str:
    with path.open("rb") as file:  # the hosts publish MD5: it shows damage, it does not stop people
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class RecordProvider(ABC):
    """A provider whose repositories are records: resolved to a version, downloaded, and stored as one commit."""

    id: str
    display_config: dict[str, object]

    def __init__(self, tools: SourceTools) -> None:
        config = tools.config
        self.http = tools.http
        self._tools = tools
        self._locks = KeyedLocks(timeout=config.fetch_timeout)
        self.downloads = RecordDownload(
            tools.http,
            ArchiveLimits(
                total_bytes=min(config.max_content_bytes, config.max_repository_bytes),
                entries=config.max_files,
                seconds=config.fetch_timeout,
            ),
        )

    @abstractmethod
    def repository(self, spec: Spec) -> Repository:
        """The canonical repository, without asking anybody. Raises SpecInvalid, AddressRefused."""

    @abstractmethod
    async def resolve(self, spec: Spec) -> Resolved:
        """What the spec points to now. Raises as `launcher.sources.base.Sources.resolve`."""

    @abstractmethod
    async def download(self, resolved: Resolved, directory: Path) -> Path:
        """Get the files somewhere below an empty directory and say where they are. Raises SourceError."""

    def parse(self, raw: str) -> Spec:
        """A spec of the right shape. Raises SpecInvalid, AddressRefused."""
        spec = Spec(self.id, raw)
        self.repository(spec)
        return spec

    async def fetch(self, resolved: Resolved) -> Snapshot:
        """The files as a commit; without network when this version was fetched before. Raises SourceError."""
        repository, cache = resolved.repository.id, self._tools.cache
        async with self._locks.hold(cache.path(repository).with_suffix(".record.lock")):
            commit = await self._known(resolved)
            if commit is None:
                async with _scratch_directory(cache.path(repository).with_suffix(".record")) as scratch:
                    content = await self.download(resolved, scratch)
                    _, commit = await cache.import_directory(repository, content, message=f"{self.id} {resolved.ref}\n")
                await self._remember(resolved, commit)
        return Snapshot(resolved, cache.path(repository), commit)

    def resolved(self, spec: Spec, *, ref: str, persistent: str, ref_url: str) -> Resolved:
        """A `Resolved` of this provider; ``persistent`` is without its name. Raises SourceInvalid for an odd ref."""
        if not _REF.fullmatch(ref):
            raise SourceInvalid("The record's version is not one we understand.")
        return Resolved(spec, self.repository(spec), ref, None, f"{self.id}/{persistent}", ref_url)

    async def _known(self, resolved: Resolved) -> str | None:
        """The commit a version was stored as, when all of it is still there."""
        path = self._tools.cache.path(resolved.repository.id)
        if not path.is_dir():
            return None
        name = f"{_version_ref(resolved)}^{{commit}}"
        result = await self._tools.git.run("rev-parse", "--verify", "--quiet", name, directory=path)
        commit = result.output.decode().strip()
        return commit if result.ok and await self._tools.cache.holds(resolved.repository.id, commit) else None

    async def _remember(self, resolved: Resolved, commit: str) -> None:
        path = self._tools.cache.path(resolved.repository.id)
        await self._tools.git.run("update-ref", _version_ref(resolved), commit, directory=path)


def _version_ref(resolved: Resolved) -> str:
    """The git ref that remembers which commit a version is; hashed, so that any version is a valid name."""
    return f"refs/records/{hashlib.sha256(resolved.ref.encode()).hexdigest()}"


@asynccontextmanager
async def _scratch_directory(directory: Path) -> AsyncIterator[Path]:
    """An empty directory that is gone afterwards. What a killed launcher left under its name goes first.

    Only under the repository's lock. Removing many files does not hold up the loop.
    """
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True)
    try:
        yield directory
    finally:
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
