"""How a session of the process runtime comes into its control group."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner

from launcher.control_groups import Limits
from launcher.hub import process
from launcher.hub.process import ProcessSpawnerMixin


class AsPeople(ProcessSpawnerMixin, LocalProcessSpawner):
    """In front of the spawner that gives each person their own system user."""


class AsOne(ProcessSpawnerMixin, SimpleLocalProcessSpawner):
    """In front of the one that does not."""


def steps(kind: type[Any], *, group: bool) -> list[str]:
    done: list[str] = []
    spawner = kind(user=SimpleNamespace(name="ana", settings={}))
    spawner.make_preexec_fn = lambda name: lambda: done.append(f"become {name}")
    found = SimpleNamespace(enter=lambda: done.append("enter"))
    preexec = spawner._preexec(found if group else None)
    if preexec is not None:
        preexec()
    return done


def test_a_session_enters_its_group_as_long_as_it_may() -> None:
    assert steps(AsPeople, group=True) == ["enter", "become ana"]
    assert steps(AsPeople, group=False) == ["become ana"]
    assert steps(AsOne, group=True) == ["enter"]
    assert steps(AsOne, group=False) == []


def test_the_spawners_own_limits_hold_as_far_as_the_machine_enforces_them(monkeypatch: pytest.MonkeyPatch) -> None:
    spawner: Any = AsOne(mem_limit="1G", cpu_limit=2.0)
    for found, limits in (
        ({"memory", "cpu", "pids"}, Limits(memory_bytes=2**30, cpus=2.0)),
        ({"memory", "pids"}, Limits(memory_bytes=2**30)),
        (set(), Limits()),
    ):
        monkeypatch.setattr(process, "enforceable", lambda found=found: frozenset(found))
        assert spawner.own_limits() == limits
    monkeypatch.setattr(process, "enforceable", lambda: pytest.fail("nothing is asked for"))
    assert AsOne().own_limits() == Limits()
