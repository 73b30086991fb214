"""What environments take on disk, and what of uv's cache may go."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from uv import find_uv_bin

from launcher.builders.process.storage import measure
from launcher.builders.uv.cache import collect_wheels
from tests.support.wheels import wheel

_SOME = 40_000


def fill(path: Path, size: int = _SOME) -> int:
    """Write a file; the bytes it takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path.stat().st_blocks * 512


def test_a_file_in_two_environments_is_shared_and_counted_once(tmp_path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    alone = fill(one / "a")
    common = fill(one / "common")
    other.mkdir()
    os.link(one / "common", other / "common")
    storage = measure([one, other])
    assert {name: size.shared_bytes for name, size in storage.environments.items()} == {"one": common, "other": common}
    own = storage.environments["one"].own_bytes
    assert alone <= own < alone + common
    assert storage.total_bytes == own + storage.environments["other"].own_bytes + common


def test_a_file_with_two_names_in_one_environment_is_its_own(tmp_path) -> None:
    size = fill(tmp_path / "one" / "a")
    os.link(tmp_path / "one" / "a", tmp_path / "one" / "b")
    measured = measure([tmp_path / "one"]).environments["one"]
    assert measured.shared_bytes == 0
    assert size <= measured.own_bytes < 2 * size


def test_a_link_out_of_an_environment_is_not_followed(tmp_path) -> None:
    fill(tmp_path / "far" / "big", 4_000_000)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "link").symlink_to(tmp_path / "far")
    assert measure([tmp_path / "one", tmp_path / "gone"]).total_bytes < 100_000


@pytest.fixture
def index(tmp_path) -> Path:
    directory = tmp_path / "index"
    directory.mkdir()
    for name in ("used", "unused"):
        wheel(directory, name)
    return directory


def install(tmp_path: Path, index: Path, name: str, *packages: str) -> Path:
    """An environment that links its packages to the cache."""
    environment = tmp_path / name
    cache = ["--cache-dir", str(tmp_path / "cache"), "--quiet", "--no-config"]
    subprocess.run([find_uv_bin(), "venv", *cache, environment], check=True)
    command = [find_uv_bin(), "pip", "install", *cache, "--python", environment / "bin" / "python", "--no-index"]
    subprocess.run([*command, "--link-mode", "hardlink", "--find-links", index, *packages], check=True)
    return environment


def archives(cache: Path) -> set[str]:
    return {path.name.partition("-")[0] for path in cache.glob("archive-v*/*/*.dist-info")}


def test_wheels_that_no_environment_links_to_go_when_they_are_old(tmp_path, index) -> None:
    cache = tmp_path / "cache"
    install(tmp_path, index, "keeps", "used", "unused")
    install(tmp_path, index, "other", "used")
    assert archives(cache) == {"used", "unused"}
    subprocess.run(["rm", "-r", tmp_path / "keeps"], check=True)
    assert collect_wheels(cache, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert archives(cache) == {"used", "unused"}
    assert collect_wheels(cache, datetime.now(UTC)) > 0
    assert archives(cache) == {"used"}
    assert install(tmp_path, index, "again", "used", "unused").is_dir()
    assert archives(cache) == {"used", "unused"}


def test_a_cache_that_is_not_there_is_empty(tmp_path) -> None:
    assert collect_wheels(tmp_path / "cache", datetime.now(UTC)) == 0
