"""Archives of strangers: what is in them arrives, what they try does not."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import LauncherError, SourceInvalid, SourceTooLarge
from launcher.sources.archives import extract, is_archive, unpack
from launcher.sources.untrusted import ArchiveLimits, UntrustedTree, content_root, path_components

LIMITS = ArchiveLimits(total_bytes=4_000_000, entries=200, ratio=50, ratio_from=500_000, path_bytes=300, depth=12)


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return path


def tar_of(path: Path, *members: tuple[str | tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, body in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(body) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(body))
    return path


def tar_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


async def refused_with(error: type[LauncherError], archive: Path, limits: ArchiveLimits = LIMITS) -> LauncherError:
    """Unpacking ends in this error and leaves nothing beside the archive."""
    before = set(archive.parent.rglob("*"))
    with pytest.raises(error) as caught:
        await unpack(archive, archive.parent / "out", limits)
    assert set(archive.parent.rglob("*")) == before
    assert str(archive.parent) not in caught.value.message + caught.value.hint
    return caught.value


@pytest.mark.parametrize("make", [zip_of, tar_of])
async def test_files_and_directories_arrive_with_their_bytes(tmp_path: Path, make: Callable[..., Path]) -> None:
    archive = make(
        tmp_path / "a", ("repo/README.md", b"hello"), ("repo/data/x.csv", b"1,2"), ("repo/naïve 文.txt", b"")
    )
    await unpack(archive, tmp_path / "out", LIMITS)
    assert files_of(tmp_path / "out") == {
        "repo/README.md": b"hello",
        "repo/data/x.csv": b"1,2",
        "repo/naïve 文.txt": b"",
    }


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
async def test_every_usual_tar_compression_is_read(tmp_path: Path, mode: str) -> None:
    await unpack(tar_of(tmp_path / "a", ("x", b"1"), mode=mode), tmp_path / "out", LIMITS)
    assert files_of(tmp_path / "out") == {"x": b"1"}


async def test_programs_stay_executable_and_nothing_else_of_the_mode_survives(tmp_path: Path) -> None:
    info = tarfile.TarInfo("postBuild")
    info.mode = 0o6777
    await unpack(tar_of(tmp_path / "a", (info, b"#!"), ("plain", b"")), tmp_path / "out", LIMITS)
    assert (tmp_path / "out/postBuild").stat().st_mode & 0o7777 in {0o755, 0o700, 0o750}
    assert not (tmp_path / "out/plain").stat().st_mode & 0o111


async def test_an_archive_inside_stays_packed(tmp_path: Path) -> None:
    inner = zip_of(tmp_path / "inner.zip", ("deep.txt", b"x"))
    await unpack(zip_of(tmp_path / "a", ("inner.zip", inner.read_bytes())), tmp_path / "out", LIMITS)
    assert set(files_of(tmp_path / "out")) == {"inner.zip"}


async def test_links_are_left_out_and_hard_links_become_copies(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "a",
        ("file", b"x"),
        (tar_member("passwd", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (tar_member("same", tarfile.LNKTYPE, "file"), b""),
    )
    await unpack(archive, tmp_path / "out", LIMITS)
    assert files_of(tmp_path / "out") == {"file": b"x", "same": b"x"}
    await unpack(zip_of(tmp_path / "b", (zip_link("l"), b"/etc"), ("f", b"")), tmp_path / "out2", LIMITS)
    assert set(files_of(tmp_path / "out2")) == {"f"}


@pytest.mark.parametrize(
    "private", [".git/config", "sub/.GIT/hooks/post-checkout", "git~1/x", ".git /x", ".g\u200cit/x"]
)
async def test_git_directories_are_left_out(tmp_path: Path, private: str) -> None:
    await unpack(zip_of(tmp_path / "a", (private, b"evil"), (".gitignore", b"")), tmp_path / "out", LIMITS)
    assert set(files_of(tmp_path / "out")) == {".gitignore"}


@pytest.mark.parametrize("make", [zip_of, tar_of])
@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "/etc/evil",
        "//evil",
        "a\nb",
        "a\x1b]0;x\x07",
        "x" * 300,
        "d/" * 20 + "f",
        "/".join("ab" * 60),
    ],
)
async def test_names_that_lead_outside_or_make_no_sense_are_refused(
    tmp_path: Path, make: Callable[..., Path], name: str
) -> None:
    await refused_with(SourceInvalid, make(tmp_path / "a", ("fine", b""), (name, b"evil")))


async def test_a_path_of_4096_characters_is_refused(tmp_path: Path) -> None:
    await refused_with(SourceInvalid, tar_of(tmp_path / "a", ("a/" * 2047 + "bc", b"")))
    await refused_with(SourceInvalid, zip_of(tmp_path / "b", ("a" * 4096, b"")))


async def test_windows_separators_cannot_hide_a_way_out(tmp_path: Path) -> None:
    await refused_with(SourceInvalid, zip_of(tmp_path / "a", ("..\\..\\evil", b"")))


async def test_a_zip_made_on_windows_keeps_its_folders(tmp_path: Path) -> None:
    folder = zipfile.ZipInfo("folder")
    folder.create_system, folder.external_attr = 0, 0x10
    archive = zip_of(tmp_path / "a", (folder, b""), ("folder\\sub\\x.txt", b"1"))
    await unpack(archive, tmp_path / "out", LIMITS)
    assert files_of(tmp_path / "out") == {"folder/sub/x.txt": b"1"}


async def test_a_nul_in_a_zip_name_is_refused_and_not_cut_off(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a", ("fineXevil", b""))
    archive.write_bytes(archive.read_bytes().replace(b"fineXevil", b"fine\0evil"))
    await refused_with(SourceInvalid, archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_a_file_through_a_link_is_refused(tmp_path: Path) -> None:
    await refused_with(
        SourceInvalid,
        tar_of(tmp_path / "a", (tar_member("sub", tarfile.SYMTYPE, str(tmp_path)), b""), ("sub/evil", b"x")),
    )
    await refused_with(SourceInvalid, zip_of(tmp_path / "b", (zip_link("l"), b"/tmp"), ("l/evil", b"x")))
    await refused_with(SourceInvalid, zip_of(tmp_path / "c", (zip_link("l"), b"/tmp/evil"), ("l", b"x")))


@pytest.mark.parametrize("target", ["/etc/passwd", "../a", "missing"])
async def test_a_hard_link_to_anything_else_is_refused(tmp_path: Path, target: str) -> None:
    await refused_with(SourceInvalid, tar_of(tmp_path / "a", (tar_member("l", tarfile.LNKTYPE, target), b"")))


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"])
async def test_devices_and_the_like_are_refused(tmp_path: Path, kind: bytes) -> None:
    await refused_with(SourceInvalid, tar_of(tmp_path / "a", (tar_member("dev", kind), b"")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
async def test_a_name_that_appears_twice_is_refused(tmp_path: Path) -> None:
    await refused_with(SourceInvalid, zip_of(tmp_path / "a", ("x", b"1"), ("x", b"2")))
    await refused_with(SourceInvalid, tar_of(tmp_path / "b", ("x", b"1"), ("./x", b"2")))
    await refused_with(SourceInvalid, zip_of(tmp_path / "c", ("x", b"1"), ("x/y", b"2")))
    await refused_with(SourceInvalid, zip_of(tmp_path / "d", ("x/y", b"1"), ("x", b"2")))


async def test_names_that_differ_in_case_are_two_files(tmp_path: Path) -> None:
    await unpack(zip_of(tmp_path / "a", ("README", b"1"), ("readme", b"2")), tmp_path / "out", LIMITS)
    assert len(files_of(tmp_path / "out")) == 2


async def test_a_zip_bomb_is_stopped_by_its_ratio(tmp_path: Path) -> None:
    await refused_with(SourceTooLarge, zip_of(tmp_path / "a", ("zeros", bytes(3_000_000))))


async def test_too_many_bytes_are_stopped_whatever_the_ratio(tmp_path: Path) -> None:
    lenient = replace(LIMITS, ratio=10**9)
    await refused_with(SourceTooLarge, zip_of(tmp_path / "a", *[(str(n), bytes(1_000_000)) for n in range(5)]), lenient)
    await refused_with(SourceTooLarge, tar_of(tmp_path / "b", ("x", bytes(5_000_000))), lenient)


async def test_a_tar_of_a_hundred_thousand_entries_is_stopped(tmp_path: Path) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(gzip.compress(tar_member("d", tarfile.DIRTYPE).tobuf() * 100_000 + bytes(1024), 1))
    error = await refused_with(SourceTooLarge, archive)
    assert "200" in error.message
    directories = zip_of(tmp_path / "b", *[(f"d{n}/", b"") for n in range(201)])
    await refused_with(SourceTooLarge, directories)


async def test_deep_names_cannot_multiply_directories(tmp_path: Path) -> None:
    await refused_with(SourceTooLarge, zip_of(tmp_path / "a", *[(f"{n}/" * 10 + "f", b"") for n in range(30)]))


async def test_a_header_that_asks_for_memory_is_stopped(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "A" * 30_000_000}
    archive = tmp_path / "a"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as opened:
        opened.addfile(info)
    await refused_with(SourceTooLarge, archive, replace(LIMITS, memory_bytes=96 * 2**20))


def endless_archive(directory: Path) -> Path:
    """A pipe nobody writes to: opening it never ends."""
    path = directory / "endless"
    os.mkfifo(path)
    return path


def children_of_this_process() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - another process's files have no event to wait for
            await asyncio.sleep(0.01)


async def test_an_archive_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    before = children_of_this_process()
    error = await refused_with(SourceTooLarge, endless_archive(tmp_path), replace(LIMITS, seconds=0.5))
    assert "time" in error.message
    assert children_of_this_process() == before


async def test_cancelling_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    fifo = endless_archive(tmp_path)
    before = children_of_this_process()
    task = asyncio.create_task(unpack(fifo, tmp_path / "out", LIMITS))
    await until((tmp_path / "out").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_of(tmp_path) == {}
    assert not (tmp_path / "out").exists()
    assert children_of_this_process() == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not an archive",
        b"PK\x03\x04" + bytes(40),
        b"\x1f\x8b\x08" + bytes(60),
        b"BZh9" + bytes(60),
        b"\xfd7zXZ\x00" + bytes(60),
        gzip.compress(b"x" * 2000, mtime=0)[:-12],
    ],
)
async def test_damage_is_a_clear_error(tmp_path: Path, body: bytes) -> None:
    archive = tmp_path / "a"
    archive.write_bytes(body)
    assert "cannot be read" in (await refused_with(SourceInvalid, archive)).message


async def test_an_empty_archive_is_an_empty_directory(tmp_path: Path) -> None:
    await unpack(tar_of(tmp_path / "a"), tmp_path / "out", LIMITS)
    await unpack(zip_of(tmp_path / "b"), tmp_path / "out2", LIMITS)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "out2") == {}


async def test_a_cut_or_changed_zip_is_refused(tmp_path: Path) -> None:
    whole = zip_of(tmp_path / "whole", ("x", bytes(range(256)) * 20)).read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[:100] + whole[140:])
    await refused_with(SourceInvalid, cut)
    encrypted = tmp_path / "encrypted"
    encrypted.write_bytes(
        whole.replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00").replace(
            b"\x14\x00\x00\x00\x08", b"\x14\x00\x01\x00\x08"
        )
    )
    await refused_with(SourceInvalid, encrypted)


def test_only_files_named_and_made_as_archives_are_unpacked(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a", ("x", b""))
    text = tmp_path / "t"
    text.write_bytes(b"text")
    tar = tar_of(tmp_path / "b", ("x", b""))
    assert is_archive(archive, "repo-v1.ZIP")
    assert is_archive(tar, "repo.tar.gz")
    assert is_archive(tar_of(tmp_path / "c", ("x", b""), mode="w:"), "repo.tar")
    assert not is_archive(archive, "paper.docx")
    assert not is_archive(text, "text.zip")
    assert not is_archive(text, "text.tgz")


def test_a_single_wrapping_directory_is_stripped_but_never_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "org-repo-abc/sub").mkdir(parents=True)
    assert content_root(tmp_path) == tmp_path / "org-repo-abc"
    (tmp_path / "beside").touch()
    assert content_root(tmp_path) == tmp_path
    (tmp_path / "other/binder").mkdir(parents=True)
    assert content_root(tmp_path / "other") == tmp_path / "other"


@given(st.text(max_size=60))
def test_no_name_gets_out_of_the_tree(name: str) -> None:
    try:
        components = path_components(name, LIMITS)
    except SourceInvalid:
        return
    assert ".." not in components
    assert all(part and "/" not in part and "\0" not in part for part in components)


def test_names_that_are_not_utf8_are_kept_readable(tmp_path: Path) -> None:
    tree = UntrustedTree(tmp_path, LIMITS)
    place = tree.place(b"caf\xe9.txt".decode("utf-8", "surrogateescape"))
    assert place is not None
    assert place.name == "caf\ufffd.txt"


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_end_in_anything_but_our_errors(body: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory, "a")
        archive.write_bytes(body)
        try:
            extract(archive, Path(directory, "out"), LIMITS)
        except LauncherError:
            assert not Path(directory, "out").exists()
