"""What COPY copies: files of a build's context, as an archive for a container."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import tarfile
from collections.abc import AsyncIterator, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from launcher.builders.container.dockerfile.ignore import Ignored
from launcher.errors import RecipeInvalid

_LINKS = 20
_PIECE = 2**20
_GLOB = re.compile(r"[*?\[]")
_IN_MEMORY = 8 * 2**20
_MOST_FILES = 300_000


@dataclass(frozen=True)
class Copy:
    """What one COPY asks for. sources: in the context. target: absolute, with a slash at its end for a directory.

    owner: (uid, gid). mode: of files, None for their own.
    """

    sources: tuple[str, ...]
    target: str
    owner: tuple[int, int] = (0, 0)
    mode: int | None = None


class Context:
    """The files of an archive below a directory of it, without those that ``.dockerignore`` names. Close it after use.

    Links stay links and are never followed out of the archive.
    """

    def __init__(self, archive: Path, ignored: Sequence[str] = ()) -> None:
        self._archive = tarfile.open(archive, "r:")  # noqa: SIM115 - closed by `close`
        self._members: dict[str, tarfile.TarInfo] = {}
        try:
            self._read(Ignored(ignored))
        except BaseException:
            self.close()
            raise

    def _read(self, ignore: Ignored) -> None:
        for number, member in enumerate(self._archive):
            if number >= _MOST_FILES:
                raise RecipeInvalid(f"There are more than {_MOST_FILES} files to copy.")
            path = _normal(member.name)
            # one more name of a file is copied as that file
            content = self._members.get(_normal(member.linkname)) if member.islnk() else member
            if path and path not in ignore and content and (content.isfile() or content.isdir() or content.issym()):
                self._members[path] = content
        for path in list(self._members):  # archives need not name their directories
            while path := posixpath.dirname(path):
                self._members.setdefault(path, _directory(path))

    def close(self) -> None:
        """Let go of the archive."""
        self._archive.close()

    def select(self, wanted: Copy, *, into_directory: bool) -> Selection:
        """The archive that a COPY puts into a container. ``into_directory``: the target is a directory there.

        Raises RecipeInvalid when a source is not there or climbs out of the repository.
        """
        named = [path for source in wanted.sources for path in self._named(source)]
        inside = into_directory or wanted.target.endswith("/") or len(named) > 1
        found: list[tarfile.TarInfo] = []
        for path in named:
            member = self._followed(path)
            if path == "" or member.isdir():
                found += self._below(_normal(member.name), wanted)
            else:
                target = posixpath.join(wanted.target, posixpath.basename(path)) if inside else wanted.target
                found.append(_placed(member, target, wanted))
        return Selection(self._archive, found)

    def _below(self, directory: str, wanted: Copy) -> Iterator[tarfile.TarInfo]:
        start = f"{directory}/" if directory else ""
        for path, member in sorted(self._members.items()):
            if path.startswith(start):
                yield _placed(member, posixpath.join(wanted.target, path.removeprefix(start)), wanted)

    def _named(self, source: str) -> list[str]:
        path = posixpath.normpath(source.lstrip("/") or ".")
        if path == ".":
            return [""]
        if path.startswith(".."):
            raise RecipeInvalid(f"COPY {source[:200]} climbs out of the repository.")
        if not _GLOB.search(path):
            found = [path] if path in self._members else []
        else:
            parts = path.split("/")
            found = sorted(
                one
                for one in self._members
                if one.count("/") == len(parts) - 1
                and all(fnmatchcase(name, pattern) for name, pattern in zip(one.split("/"), parts, strict=True))
            )
        if not found:
            raise RecipeInvalid(f"COPY {source[:200]}: there is no such file.", hint="See also .dockerignore.")
        return found

    def _followed(self, path: str) -> tarfile.TarInfo:
        """The file or directory that a source names, through links inside the context."""
        current = path
        for _ in range(_LINKS):
            if not current:
                return _directory("")
            member = self._members.get(current)
            if member is None:
                break
            if not member.issym():
                return member
            current = posixpath.normpath(posixpath.join(posixpath.dirname(current), member.linkname))
            if current.startswith(("..", "/")):
                break
            current = "" if current == "." else current
        raise RecipeInvalid(f"COPY {path[:200]}: it is a link to something outside the repository.")


@dataclass(frozen=True)
class Selection:
    """An archive that is made when it is read."""

    _source: tarfile.TarFile | None
    members: Sequence[tarfile.TarInfo]

    def write(self, file: IO[bytes]) -> str:
        """Write it as tar. Returns a digest of what is in it, in which times do not count."""
        digest = hashlib.sha256()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for member in self.members:
                known = (member.name, member.type, member.linkname, member.mode, member.uid, member.gid, member.size)
                digest.update(repr(known).encode())
                content = self._source.extractfile(member) if self._source and member.isfile() else None
                archive.addfile(member, _Hashing(content, digest) if content else None)
        return digest.hexdigest()


class _Hashing(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes], digest: hashlib._Hash) -> None:
        self._file = file
        self._digest = digest

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data


def only_directory(path: str) -> Selection:
    """An archive with nothing but a directory."""
    return Selection(None, [_directory(path.lstrip("/"))])


def spooled(directory: Path) -> IO[bytes]:
    """A file for an archive, in memory as long as it is small."""
    return SpooledTemporaryFile(_IN_MEMORY, dir=str(directory))


async def pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    """A file from its beginning."""
    file.seek(0)
    while piece := file.read(_PIECE):
        yield piece


def _normal(name: str) -> str:
    path = posixpath.normpath(name)
    return "" if path in {".", "/"} or path.startswith("..") else path.lstrip("/")


def _directory(path: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member


def _placed(member: tarfile.TarInfo, target: str, wanted: Copy) -> tarfile.TarInfo:
    placed = copy(member)
    placed.name = target.lstrip("/")
    placed.uid, placed.gid = wanted.owner
    placed.uname = placed.gname = ""
    placed.pax_headers = {}
    if wanted.mode is not None and not member.issym():
        placed.mode = wanted.mode
    elif member.isfile():
        placed.mode = member.mode & 0o1777  # no power of its own comes with a file
    return placed
