"""Control groups as the kernel's files have them. What they do to processes is in ``tests/contract``."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import control_groups
from launcher.control_groups import Limits, killed_for_memory, make_group, remove_empty_groups, remove_group

EVERYTHING = Limits(memory_bytes=512 * 2**20, cpus=0.5, processes=100)
NAME = "launcher-test"


def files(directory: Path, **texts: str) -> Path:
    """A directory with files as the kernel would have made them: nothing of ours makes one."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name.replace("__", ".")).write_text(text)
    return directory


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control_groups, "_MOUNT", tmp_path)
    return tmp_path


def own_group(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(control_groups, "_groups_of", lambda _: iter([("", path)]))


def unified(mount: Path, *below: str) -> Path:
    """A tree of version 2, and a group that the kernel has filled already."""
    files(mount, cgroup__controllers="cpu memory pids", cgroup__subtree_control="")
    base = files(mount.joinpath(*below), cgroup__subtree_control="")
    files(base / NAME, memory__max="max", memory__swap__max="max", cpu__max="max 100000", pids__max="max")
    return base


def content(group: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in group.iterdir() if path.is_file()}


def test_version_1_has_a_group_for_each_controller(mount: Path) -> None:
    files(mount / "memory" / NAME, memory__use_hierarchy="0", memory__limit_in_bytes="-1")
    files(mount / "cpu" / NAME, cpu__cfs_period_us="100000", cpu__cfs_quota_us="-1")
    files(mount / "pids" / NAME, pids__max="max")
    group = make_group(NAME, EVERYTHING)
    assert content(mount / "memory" / NAME) == {"memory.use_hierarchy": "1", "memory.limit_in_bytes": "536870912"}
    assert content(mount / "cpu" / NAME) == {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}
    assert content(mount / "pids" / NAME) == {"pids.max": "100"}
    assert group.doors == tuple(mount / one / NAME / "inside" / "cgroup.procs" for one in ("memory", "cpu", "pids"))


def test_version_2_has_one_group_without_swap(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_group(monkeypatch, "/")
    base = unified(mount)
    group = make_group(NAME, EVERYTHING)
    assert content(base / NAME) == {
        "memory.max": "536870912",
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
        "pids.max": "100",
    }
    assert group.doors == (base / NAME / "inside" / "cgroup.procs",)
    assert (base / "cgroup.subtree_control").read_text() != ""


def test_a_part_of_the_tree_that_was_delegated_comes_first(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_group(monkeypatch, "/system.slice/hub.service/hub")
    monkeypatch.setattr(control_groups, "_is_delegated", lambda directory: directory.name == "hub.service")
    base = unified(mount, "system.slice", "hub.service")
    assert make_group(NAME, Limits(memory_bytes=2**29)).doors == (base / NAME / "inside" / "cgroup.procs",)
    own_group(monkeypatch, "/system.slice/hub.service")  # nobody delegated system.slice
    with pytest.raises(OSError, match=r"memory\.max"):
        make_group("launcher-other", Limits(memory_bytes=2**29))


@pytest.mark.parametrize("controller", ["memory", "cpu", "pids"])
def test_a_limit_that_cannot_be_set_is_an_error_and_leaves_nothing(mount: Path, controller: str) -> None:
    for one in {"memory", "cpu", "pids"} - {controller}:
        files(mount / one)
    with pytest.raises(OSError):  # noqa: PT011 - whatever the kernel says
        make_group(NAME, EVERYTHING)
    assert not [path for path in mount.rglob("*") if path.name == NAME]


def test_nothing_is_asked_for_what_has_no_limit(mount: Path) -> None:
    files(mount / "cpu" / NAME, cpu__cfs_period_us="100000", cpu__cfs_quota_us="-1")
    assert len(make_group(NAME, Limits(cpus=0.001)).doors) == 1
    assert content(mount / "cpu" / NAME)["cpu.cfs_quota_us"] == "1000", "the kernel takes no less"


def test_removal_takes_what_a_program_made_below_and_reports_what_stays(mount: Path) -> None:
    deep = mount / "memory" / NAME / "inside"
    for _ in range(200):
        deep /= "a"
    deep.mkdir(parents=True)
    (mount / "memory" / NAME / "inside" / "b").mkdir()
    assert remove_group(NAME)
    assert remove_group(NAME), "nothing there is fine"
    files(mount / "pids" / NAME / "inside", cgroup__procs="7")  # rmdir refuses, as the kernel would
    assert not remove_group(NAME, patience_seconds=0.05)


def test_what_was_left_is_found_by_how_its_name_begins(mount: Path) -> None:
    for name in ("launcher-a-1", "launcher-a-2", "launcher-b-1"):
        (mount / "memory" / name / "inside").mkdir(parents=True)
    files(mount / "memory" / "launcher-a-2" / "inside", cgroup__procs="7")
    remove_empty_groups("launcher-a-")
    assert sorted(path.name for path in (mount / "memory").iterdir()) == ["launcher-a-2", "launcher-b-1"]


@pytest.mark.parametrize(
    ("places", "kills"),
    [
        ({"memory/{}/inside": {"memory__oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"}}, 3),
        ({"memory/{}/inside": {"memory__oom_control": "nonsense"}}, 0),
        ({}, 0),
        ({".": {"cgroup__controllers": "memory"}, "{}": {"memory__events": "low 0\noom 2\noom_kill 2\n"}}, 2),
    ],
)
def test_how_many_were_killed_for_memory(mount: Path, places: dict[str, dict[str, str]], kills: int) -> None:
    for place, texts in places.items():
        files(mount / place.format(NAME), **texts)
    assert killed_for_memory(NAME) == kills


def test_a_kernel_file_that_is_not_there_is_never_made(mount: Path) -> None:
    (mount / "memory").mkdir()
    with pytest.raises(FileNotFoundError):
        control_groups._write(mount / "memory" / "memory.limit_in_bytes", "1")
