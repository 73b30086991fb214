"""Unpacking zip and tar files of strangers.

The work is done by a process of its own: decompression and the formats' tables can eat memory and time in ways no check
of ours foresees, and a process can be limited and killed. `unpack` is the door; `extract` is what runs behind it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
import lzma
import os
import resource
import shutil
import stat
import struct
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, NoReturn

from launcher.errors import LauncherError, SourceInvalid, SourceTooLarge, StateUnusable
from launcher.sources.untrusted import ArchiveLimits, UntrustedTree, shown

_CHUNK = 256 * 1024
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_UNIX_SYSTEMS = (3, 19)  # Unix and macOS: the upper half of a member's attributes is its mode
_DOS_DIRECTORY = 0x10
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_ERRORS: dict[str, type[LauncherError]] = {
    error.code: error for error in (SourceInvalid, SourceTooLarge, StateUnusable)
}
_UNREADABLE = (
    EOFError, NotImplementedError, RecursionError, RuntimeError, UnicodeError, ValueError, OverflowError,
    lzma.LZMAError, struct.error, tarfile.TarError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def is_archive(path: Path, name: str) -> bool:
    """Whether the file is a zip or tar file by its public name *and* by its first bytes.

    The name decides too, because ``.docx``, ``.npz`` or ``.whl`` are zip files nobody wants unpacked.
    """
    lowered = name.lower()
    if lowered.endswith(".zip"):
        return zipfile.is_zipfile(path)
    if not lowered.endswith(_TAR_SUFFIXES):
        return False
    with path.open("rb") as file:  # not tarfile.is_tarfile: it would decompress, here and without limits
        head = file.read(512)
    return head.startswith(_COMPRESSED) or head[257:262] == b"ustar"


async def unpack(archive: Path, destination: Path, limits: ArchiveLimits | None = None) -> None:
    """Unpack a zip or tar file into ``destination``, which must not exist yet; archives inside stay packed.

    Regular files and directories are made; symbolic links and ``.git`` are left out; hard links to files of the archive
    become copies. Nothing is left behind on any error or cancellation.
    Raises SourceInvalid, SourceTooLarge, StateUnusable (disk full).
    """
    limits = limits or ArchiveLimits()
    job = json.dumps({"archive": str(archive), "destination": str(destination), "limits": dataclasses.asdict(limits)})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", "from launcher.sources.archives import main; main()",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={},
    )  # fmt: skip
    done = False
    try:
        answer, _ = await asyncio.wait_for(process.communicate(job.encode()), limits.seconds)
        _check(process.returncode, answer)
        done = True
    except TimeoutError:
        raise _too_slow() from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if not done:
            await asyncio.to_thread(shutil.rmtree, destination, ignore_errors=True)


def _check(returncode: int | None, answer: bytes) -> None:
    """Raise what the unpacking process said, or what its end means."""
    if returncode == 0:
        return
    try:
        error = json.loads(answer)
        raise _ERRORS[error["code"]](error["message"], hint=error["hint"])
    except (ValueError, KeyError):
        raise _too_slow() from None  # killed by a limit before it could say anything


def _too_slow() -> SourceTooLarge:
    return SourceTooLarge(
        "The archive needs too much time or memory to unpack.", hint="Ask the author for a smaller one."
    )


def main() -> NoReturn:
    """Unpack the job on standard input under resource limits; an error is one JSON object on standard output."""
    job = json.load(sys.stdin)
    limits = ArchiveLimits(**job["limits"])
    seconds = max(1, int(limits.seconds))
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits.total_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        soft = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (soft, hard))
    try:
        extract(Path(job["archive"]), Path(job["destination"]), limits)
    except LauncherError as error:
        print(json.dumps(error.to_dict()))  # noqa: T201 - this process speaks on standard output
        sys.exit(1)
    sys.exit(0)


def extract(archive: Path, destination: Path, limits: ArchiveLimits) -> None:
    """What `unpack` promises, in this process and without its limits of time and memory."""
    packed_bytes = archive.stat().st_size
    try:
        destination.mkdir(mode=0o700)
        tree = _Extraction(UntrustedTree(destination, limits), packed_bytes)
        if zipfile.is_zipfile(archive):
            tree.zip(archive)
        else:
            tree.tar(archive)
    except BaseException as error:
        shutil.rmtree(destination, ignore_errors=True)
        if isinstance(error, (OSError, MemoryError, *_UNREADABLE)):
            raise _explained(error) from error
        raise


def _explained(error: Exception) -> LauncherError:
    """What the readers' own errors mean to a person. They raise OSError for damage too, so its number decides."""
    if isinstance(error, MemoryError):
        return _too_slow()
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EFBIG:
        return SourceTooLarge("A file of the archive is too large.")
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.EIO):
        return StateUnusable("The archive could not be unpacked: the disk is full or not writable.")
    return SourceInvalid(
        "The archive cannot be read: it is damaged, encrypted, or of a kind we do not know.",
        hint="Open it on your own machine to see whether it is complete.",
    )


class _Extraction:
    """One archive on its way into a tree."""

    def __init__(self, tree: UntrustedTree, packed_bytes: int) -> None:
        self._tree = tree
        self._packed_bytes = max(packed_bytes, 1)

    def zip(self, archive: Path) -> None:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            self._tree.check_entries(len(members))
            for member in members:
                self._zip_member(opened, member)

    def _zip_member(self, opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
        name = member.orig_filename.replace("\\", "/")  # as some Windows programs wrote them; `filename` hides NULs
        mode = member.external_attr >> 16 if member.create_system in _UNIX_SYSTEMS else 0
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFLNK:
            self._tree.leave_out(name)
        elif name.endswith("/") or kind == stat.S_IFDIR or (kind == 0 and member.external_attr & _DOS_DIRECTORY):
            self._tree.make_directory(name)
        elif kind in (0, stat.S_IFREG):
            with opened.open(member) as source:
                self._write(name, source, executable=bool(mode & 0o100))
        else:
            _refuse_special(name)

    def tar(self, archive: Path) -> None:
        # A stream is read once from front to back, so nothing can make us jump or read twice.
        with tarfile.open(archive, mode="r|*") as opened:
            for member in opened:
                self._tar_member(opened, member)

    def _tar_member(self, opened: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.issym():
            self._tree.leave_out(member.name)
        elif member.isdir():
            self._tree.make_directory(member.name)
        elif member.islnk():
            self._copy(member)
        elif member.isreg():
            source = opened.extractfile(member)
            if source is not None:
                with source:
                    self._write(member.name, source, executable=bool(member.mode & 0o100))
        else:
            _refuse_special(member.name)

    def _copy(self, member: tarfile.TarInfo) -> None:
        original = self._tree.existing_file(member.linkname)
        if original is None:
            raise SourceInvalid(f"The link {shown(member.name)} points to a file the archive does not have.")
        with original.open("rb") as source:
            self._write(member.name, source, executable=bool(member.mode & 0o100))

    def _write(self, name: str, source: IO[bytes], *, executable: bool) -> None:
        path = self._tree.place(name)
        if path is None:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o755 if executable else 0o644), "wb") as target:
            while chunk := source.read(_CHUNK):
                self._tree.count_bytes(len(chunk))
                self._check_ratio()
                target.write(chunk)

    def _check_ratio(self) -> None:
        limits, total = self._tree.limits, self._tree.total_bytes
        if total > limits.ratio_from and total > limits.ratio * self._packed_bytes:
            raise SourceTooLarge(
                "The archive unpacks to far more than it looks like.", hint="Ask the author for the files themselves."
            )


def _refuse_special(name: str) -> NoReturn:
    raise SourceInvalid(f"The archive holds {shown(name)}, which is neither a file nor a directory nor a link.")
