"""The files of a commit, read from git objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import SourceInvalid, SourceTooLarge
from launcher.sources.git import Git

_REGULAR = frozenset({"100644", "100755"})
_LISTING_LIMIT = 128_000_000
# Recipe files are small and near the root: they come along with the listing, so that reading them waits for nothing.
_AHEAD_FILE = 256 * 1024
_AHEAD_TOTAL = 4 * 1024 * 1024
_AHEAD_FOLDERS = frozenset({"", "binder", ".binder"})


@dataclass(frozen=True)
class _Entry:
    mode: str
    kind: str
    id: str
    size: int


class GitTree:
    """`launcher.sources.base.Tree` over one commit of a bare repository. Make it with `load`.

    Paths are text with surrogate escapes where a name is not UTF-8.
    """

    def __init__(
        self, tree_id: str, entries: Mapping[str, _Entry], contents: Mapping[str, bytes], cache: Path, git: Git
    ) -> None:
        self.id = tree_id
        self._entries = entries
        self._contents = dict(contents)
        self._cache = cache
        self._git = git

    @classmethod
    async def load(cls, cache: Path, commit: str, git: Git | None = None) -> GitTree:
        """List a commit. Raises SourceInvalid when its objects are damaged, SourceTooLarge for an endless tree."""
        git = git or Git()
        listing = await git.run(
            "ls-tree", "-r", "-t", "-l", "-z", "--full-tree", "--end-of-options", commit,
            directory=cache, output_limit=_LISTING_LIMIT,
        )  # fmt: skip
        root = await git.run(
            "rev-parse", "--verify", "--quiet", "--end-of-options", commit + "^{tree}", directory=cache
        )
        if not listing.ok or not root.ok:
            raise _damaged()
        entries = dict(_parse(line) for line in listing.output.split(b"\0") if line)
        contents = await _read_ahead(git, cache, entries)
        return cls(root.output.decode().split("\n")[-2], entries, contents, cache, git)

    def files(self) -> dict[str, str]:
        """Path -> blob id of every regular file (symlinks and submodules are left out)."""
        return {path: entry.id for path, entry in self._entries.items() if entry.mode in _REGULAR}

    def directories(self) -> dict[str, str]:
        """Path -> tree id of every directory, without the root."""
        return {path: entry.id for path, entry in self._entries.items() if entry.kind == "tree"}

    def modes(self) -> dict[str, str]:
        """Path -> git mode of everything that is not a directory."""
        return {path: entry.mode for path, entry in self._entries.items() if entry.kind != "tree"}

    def sizes(self) -> dict[str, int]:
        """Path -> size in bytes of every regular file."""
        return {path: entry.size for path, entry in self._entries.items() if entry.mode in _REGULAR}

    def read(self, path: str, *, limit: int = 1_000_000) -> bytes:
        """A file's bytes. KeyError when there is no such regular file, SourceTooLarge over ``limit`` bytes."""
        entry = self._entries[path]
        if entry.mode not in _REGULAR:
            raise KeyError(path)
        if entry.size > limit:
            raise SourceTooLarge(f"The file {path!a} is larger than is accepted.")
        if entry.id not in self._contents:
            content = self._git.run_now("cat-file", "blob", entry.id, directory=self._cache, output_limit=limit)
            self._contents[entry.id] = content
        return self._contents[entry.id]


def _damaged() -> SourceInvalid:
    return SourceInvalid("The repository's files cannot be read.", hint="Launch it again.")


def _parse(line: bytes) -> tuple[str, _Entry]:
    about, _, path = line.partition(b"\t")
    mode, kind, identity, size = about.decode("ascii").split()
    entry = _Entry(mode, kind, identity, int(size) if size.isdigit() else 0)
    return path.decode("utf-8", "surrogateescape"), entry


async def _read_ahead(git: Git, cache: Path, entries: Mapping[str, _Entry]) -> dict[str, bytes]:
    """The contents of the small files where recipes are, by blob id, in one run of git."""
    wanted: dict[str, int] = {}
    for path, entry in entries.items():
        small = entry.mode in _REGULAR and entry.size <= _AHEAD_FILE
        if small and path.rpartition("/")[0] in _AHEAD_FOLDERS and sum(wanted.values()) + entry.size <= _AHEAD_TOTAL:
            wanted[entry.id] = entry.size
        if len(wanted) >= 500:  # noqa: PLR2004 - a folder of thousands of files is data, not a recipe
            break
    if not wanted:
        return {}
    asked = "".join(f"{identity}\n" for identity in wanted).encode()
    result = await git.run("cat-file", "--batch", directory=cache, stdin=asked)
    if not result.ok:
        raise _damaged()
    contents: dict[str, bytes] = {}
    rest = memoryview(result.output)
    for identity, size in wanted.items():
        header = f"{identity} blob {size}\n".encode()
        if rest[: len(header)] != header:
            raise _damaged()
        contents[identity] = bytes(rest[len(header) : len(header) + size])
        rest = rest[len(header) + size + 1 :]
    return contents
