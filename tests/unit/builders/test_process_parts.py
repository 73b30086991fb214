"""The parts of the process builder that need no sandbox."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from packaging.version import Version

from launcher.builders.process.config import ProcessBuilderConfig
from launcher.builders.process.interpreters import own
from launcher.builders.process.sandbox import Sandbox
from launcher.builders.process.store import EnvironmentStore
from launcher.builders.removal import remove_tree
from launcher.builders.uv import harvest
from launcher.builders.uv.limits import BuildLimits, disk_usage, readable, usage_below
from launcher.builders.uv.pythons import Interpreter, choose
from launcher.errors import ConfigurationInvalid, PythonUnavailable


def interpreter(version: str) -> Interpreter:
    return Interpreter(Version(version), Path(f"/opt/{version}/bin/python"), Path(f"/opt/{version}"), "linux")


THERE = [interpreter(version) for version in ("3.11.7", "3.9.1", "3.12.1", "3.13.0")]


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        (None, "3.11.7"), ("", "3.11.7"), ("3", "3.11.7"), ("3.11", "3.11.7"), ("3.9", "3.9.1"), ("3.12.1", "3.12.1"),
        (">=3.10", "3.11.7"), (">=3.12", "3.13.0"), ("<3.11", "3.9.1"), ("==3.13.*", "3.13.0"),
        (">=3.12,<3.13", "3.12.1"),
    ],
)  # fmt: skip
def test_the_own_python_when_it_fits_else_the_newest_that_does(wanted: str | None, version: str) -> None:
    assert choose(wanted, THERE).version == Version(version)


@pytest.mark.parametrize("wanted", ["3.8", "2.7", ">=4", "3.11.8", "nonsense", "3.x", "; rm -rf /"])
def test_a_python_nobody_has_is_refused_with_what_there_is(wanted: str) -> None:
    with pytest.raises(PythonUnavailable) as refusal:
        choose(wanted, THERE)
    assert refusal.value.hint


def test_the_launchers_own_python_can_be_found_outside_its_virtualenv() -> None:
    found = own()
    assert found is not None
    assert found.executable.exists()
    assert (
        not found.prefix.samefile(os.environ.get("VIRTUAL_ENV", "/nonexistent"))
        if "VIRTUAL_ENV" in os.environ
        else True
    )


def test_the_operators_index_is_allowed_by_name_and_pypi_brings_its_files() -> None:
    plain = ProcessBuilderConfig.from_environment(Path("/state"), {})
    assert plain.egress_policy.allowed == {"pypi.org:443", "files.pythonhosted.org:443"}
    mirror = ProcessBuilderConfig.from_environment(
        Path("/state"),
        {"PIP_INDEX_URL": "http://mirror.example:8080/simple", "UV_EXTRA_INDEX_URL": "https://b.example/x"},
    )
    assert mirror.index_url == "http://mirror.example:8080/simple"
    assert mirror.egress_policy.allowed == {"mirror.example:8080", "b.example:443"}


@pytest.mark.parametrize("url", ["ftp://x/simple", "not a url", "https://x:port/", "/etc"])
def test_an_index_that_is_no_web_address_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        _ = ProcessBuilderConfig.from_environment(Path("/state"), {}, index_url=url).egress_policy


@pytest.mark.parametrize("host", ["", "x", ":80", "x:", "x:y"])
def test_an_allowed_host_without_a_port_is_a_configuration_error(host: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        _ = ProcessBuilderConfig.from_environment(Path("/state"), {}, allow_hosts=(host,)).egress_policy


def test_a_sandbox_inherits_nothing_and_shares_only_what_it_says() -> None:
    closed = Sandbox(environment={"A": "b"}).argv(["true"])
    assert "--clearenv" in closed
    assert "--unshare-net" in closed
    assert "--die-with-parent" in closed
    assert closed[-2:] == ["--", "true"]
    opened = Sandbox(share_network=True, die_with_parent=False).argv(["true"])
    assert "--unshare-net" not in opened
    assert "--die-with-parent" not in opened
    assert "/etc/resolv.conf" in opened
    assert "/etc/resolv.conf" not in closed


def test_limits_are_words_the_bridge_understands() -> None:
    assert (
        BuildLimits(memory_bytes=None, processes=None, file_bytes=5, open_files=None).resource_limits(
            count_processes=True
        )
        == "core=0,fsize=5"
    )
    assert readable(256 * 2**20) == "256 MiB"
    assert readable(3 * 2**30) == "3 GiB"


def test_usage_counts_the_processes_below_and_not_the_one_asked_about(tmp_path: Path) -> None:
    assert usage_below(2**22 + 1).threads == 0
    assert usage_below(os.getppid()).threads >= 1
    assert usage_below(os.getppid()).memory_bytes > 0


def test_disk_usage_counts_a_file_with_two_names_once_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    once = disk_usage(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("/usr")
    assert once <= disk_usage(tmp_path) < once + 10_000
    assert disk_usage(tmp_path / "nothing") == 0


def test_only_new_files_and_links_that_stay_inside_are_moved(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "target"
    (root / "d").mkdir(parents=True)
    (root / "old").write_text("old")
    before = harvest.files(root)
    (root / "d" / "new").write_text("new")
    (root / "d" / "in").symlink_to("../old")
    (root / "d" / "out").symlink_to("../../x")
    (root / "abs").symlink_to("/etc")
    os.mkfifo(root / "pipe")
    harvest.move_new(root, before, target)
    assert sorted(str(path) for path in harvest.files(target)) == ["d/in", "d/new"]


def test_removing_never_follows_a_link_and_opens_what_is_closed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("x")
    doomed = tmp_path / "doomed"
    (doomed / "closed" / "deep").mkdir(parents=True)
    (doomed / "link").symlink_to(tmp_path / "victim")
    (doomed / "closed").chmod(0)
    remove_tree(doomed)
    remove_tree(doomed)
    assert (tmp_path / "victim" / "file").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]


@pytest.mark.parametrize("reference", ["", ".", "..", "a", "0" * 63, "0" * 64 + "/..", "A" * 64])
def test_a_store_knows_only_its_own_names(tmp_path: Path, reference: str) -> None:
    store = EnvironmentStore(tmp_path)
    assert store.built(reference) is None
    store.remove(reference)
    assert tmp_path.exists()
    with pytest.raises(ValueError, match="reference"):
        store.path(reference)


def test_half_an_environment_does_not_exist_and_is_listed_for_the_sweep(tmp_path: Path) -> None:
    name = "a" * 64
    (tmp_path / name).mkdir()
    store = EnvironmentStore(tmp_path)
    assert store.built(name) is None
    assert store.references() == {name}
    (tmp_path / name / "meta.json").write_text('{"mode": "kernel"}')
    assert store.built(name) is None


def test_what_is_installed_below_tmp_is_still_there_under_the_sandboxes_own_tmp(tmp_path):
    installed, own = tmp_path / "installed", tmp_path / "own"
    for directory in (installed, own):
        directory.mkdir()
    (installed / "program").write_text("here")
    outer = str(tmp_path)
    sandbox = Sandbox(read_only=((installed, f"{outer}/installed"),), read_write=((own, outer),))
    command = ["/bin/sh", "-c", f"cat {outer}/installed/program; touch {outer}/mine; touch {outer}/installed/x || true"]
    done = subprocess.run(sandbox.argv(command), capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "here"
    assert (own / "mine").exists()
    assert not (installed / "x").exists()
