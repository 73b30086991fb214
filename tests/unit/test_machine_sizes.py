"""Machine sizes: what an operator may write, who is offered what, and what a session is told of it."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from launcher import runtimes
from launcher.config import Settings
from launcher.config_files import read_settings
from launcher.control_groups import Limits
from launcher.errors import ConfigurationInvalid, MachineSizeNotAllowed
from launcher.hub.limits import first_size, limit_variables, limits_of
from launcher.models import LaunchPlan, MachineSize, Person, Username
from launcher.policy.sizes import Enforceable, MachineSizes, read_sizes
from tests.support import examples

ANA = Person(Username("ana"), groups=frozenset({"staff", "others"}))
BOB = Person(Username("bob"))
ROOT = Person(Username("root"), admin=True)
ENTRIES = [
    {"name": "small", "title": "Small", "description": "For a look.", "memory": "512M", "cpus": 0.5},
    {"name": "large", "memory": "8G", "cpus": 4, "groups": ["staff"]},
]
SMALL, LARGE = read_sizes(ENTRIES)
SIZES = MachineSizes((SMALL, LARGE))


def settings(entries: Any) -> Settings:
    return read_settings(Config({"Launcher": {"machine_sizes": entries}}))


def names(sizes: tuple[MachineSize, ...]) -> list[str]:
    return [size.name for size in sizes]


def test_what_an_operator_writes_becomes_values_and_goes_to_the_service() -> None:
    made = settings(ENTRIES)
    assert made.machine_sizes == (
        MachineSize("small", "Small", "For a look.", 512 * 2**20, 0.5, ()),
        MachineSize("large", "large", "", 8 * 2**30, 4.0, ("staff",)),
    )
    assert Settings.from_json(made.to_json()) == made
    assert settings([]).machine_sizes == ()


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "entry 1: it needs a name"),
        ({"name": "Large One"}, "lower-case"),
        ({"name": "a" * 64}, "lower-case"),
        ({"name": 3}, "name"),
        ({"name": "a", "memory": "lots"}, "'a': memory must be an amount such as '8G' or '512M', not 'lots'"),
        ({"name": "a", "memory": "8 potatoes"}, "memory"),
        ({"name": "a", "memory": -1}, "memory"),
        ({"name": "a", "memory": True}, "memory"),
        ({"name": "a", "memory": float("inf")}, "memory"),
        ({"name": "a", "memory": "1M"}, "64M"),
        ({"name": "a", "cpus": "4"}, "'a': cpus must be a number such as 2 or 0.5, not '4'"),
        ({"name": "a", "cpus": 0}, "cpus"),
        ({"name": "a", "cpus": float("nan")}, "cpus"),
        ({"name": "a", "groups": "staff"}, "groups must be a list"),
        ({"name": "a", "groups": [""]}, "groups? must|group must"),
        ({"name": "a", "title": 1}, "title must be text"),
        ({"name": "a", "gpus": 1}, "there is no 'gpus'; there are name"),
    ],
)
def test_a_wrong_entry_is_refused_at_start_and_named(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="machine_sizes") as refused:
        settings([entry])
    refused.match(words)


def test_two_sizes_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationInvalid, match="machine_sizes: there are two called 'a'"):
        settings([{"name": "a"}, {"name": "b"}, {"name": "a"}])
    with pytest.raises(ConfigurationInvalid):
        settings(["a"])


def test_people_are_offered_what_is_for_their_groups_and_admins_everything() -> None:
    assert names(SIZES.offered(BOB)) == ["small"]
    for person in (ANA, ROOT):
        assert names(SIZES.offered(person)) == ["small", "large"]


def test_without_a_choice_it_is_the_first_one_offered() -> None:
    assert SIZES.choose("", BOB) == SMALL
    assert SIZES.choose("large", ANA) == LARGE
    assert MachineSizes((LARGE, SMALL)).choose("", BOB) == SMALL
    assert MachineSizes().choose("", BOB) is None


@pytest.mark.parametrize("name", ["large", "huge", "SMALL", "small ", "\x1b[31m", "x" * 10_000])
def test_a_size_of_other_groups_is_refused_like_one_that_is_not_there(name: str) -> None:
    with pytest.raises(MachineSizeNotAllowed) as refused:
        SIZES.choose(name, BOB)
    assert refused.value.hint == "You can choose: small."
    assert len(refused.value.message) < 100
    assert "\x1b" not in refused.value.message


def test_who_is_in_no_group_of_any_size_gets_none_instead_of_no_limit() -> None:
    only = MachineSizes((LARGE,))
    with pytest.raises(MachineSizeNotAllowed, match="None of this hub's machine sizes"):
        only.choose("", BOB)
    with pytest.raises(MachineSizeNotAllowed, match="large"):
        MachineSizes().choose("large", BOB)


def test_a_figure_that_the_machine_does_not_enforce_is_promised_to_nobody() -> None:
    without_cpus = MachineSizes((SMALL, LARGE), Enforceable.of({"memory", "pids"}))
    assert [(size.memory_bytes, size.cpus) for size in without_cpus.offered(ANA)] == [(2**29, None), (2**33, None)]
    nothing = MachineSizes((SMALL, LARGE), Enforceable.of(()))
    chosen, known = nothing.choose("large", ANA), nothing.named("large")
    assert chosen == known is not None
    assert (chosen.title, chosen.memory_bytes, chosen.cpus) == ("large", None, None)
    assert nothing.named("gone") is None
    assert nothing.named(None) is None


def test_a_plan_carries_its_size() -> None:
    plan = LaunchPlan(**{**vars(examples.plan()), "size": LARGE})
    assert LaunchPlan.from_json(plan.to_json()) == plan
    assert asdict(plan)["size"]["memory_bytes"] == 2**33
    assert LaunchPlan.from_json({**examples.plan().to_json(), "size": None}).size is None


def user(name: str, *groups: str, admin: bool = False) -> Any:
    return SimpleNamespace(name=name, admin=admin, groups=[SimpleNamespace(name=group) for group in groups])


def test_a_regular_session_without_a_plan_gets_the_first_size_of_its_person() -> None:
    """Nobody gets around sizes by the Hub's own pages."""
    sizes = read_sizes([{"name": "staff", "memory": "8G", "groups": ["staff"]}, ENTRIES[0]])
    everything = {"memory", "cpu", "pids"}
    assert first_size(sizes, user("ana", "staff"), everything).name == "staff"
    assert first_size(sizes, user("root", admin=True), everything).name == "staff"
    assert first_size(sizes, user("bob"), everything) == SMALL
    assert first_size(sizes, user("bob"), set()).memory_bytes is None
    with pytest.raises(MachineSizeNotAllowed):
        first_size((LARGE,), user("bob"), everything)


def test_a_size_wins_over_the_spawners_own_limit_and_leaves_what_it_says_nothing_about() -> None:
    own = Limits(memory_bytes=2**30, cpus=1.0)
    assert limits_of(None, own) == own
    assert limits_of(LARGE, own) == Limits(memory_bytes=2**33, cpus=4.0)
    assert limits_of(MachineSize("a", "A", memory_bytes=2**31), own) == Limits(memory_bytes=2**31, cpus=1.0)
    assert limits_of(MachineSize("a", "A"), Limits()) == Limits()


def test_programs_in_a_session_read_its_limits_where_jupyterhub_says_them() -> None:
    limits = Limits(memory_bytes=2**30, cpus=0.5)
    assert limit_variables(limits, {}) == {"MEM_LIMIT": "1073741824", "CPU_LIMIT": "0.5"}
    guaranteed = {"MEM_GUARANTEE": str(2**31), "CPU_GUARANTEE": "0.25", "MEM_LIMIT": "7"}
    found = {**guaranteed, **limit_variables(limits, guaranteed)}
    assert found == {"MEM_LIMIT": "1073741824", "MEM_GUARANTEE": "1073741824", "CPU_LIMIT": "0.5"} | {
        "CPU_GUARANTEE": "0.25"
    }
    assert limit_variables(Limits(), guaranteed) == {}


def test_the_check_says_what_the_machine_does_not_enforce_and_pages_then_promise_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look(*limits: str) -> Any:
        monkeypatch.setattr(runtimes, "enforceable", lambda: frozenset(limits))
        made = settings(ENTRIES)
        findings = [one for one in runtimes.runtime_findings(made) if one.what.startswith("limits of machine sizes")]
        return findings[0], runtimes.machine_sizes(made).choose("small", BOB)

    finding, small = look("memory", "cpu", "pids")
    assert (finding.good, finding.what) == (True, "limits of machine sizes: memory, cpu")
    assert small == SMALL
    finding, small = look("memory", "pids")
    assert (finding.good, finding.what) == (False, "limits of machine sizes: cpu")
    assert "Delegate=" in finding.hint
    assert (small.memory_bytes, small.cpus) == (2**29, None)
    finding, small = look()
    assert finding.what == "limits of machine sizes: memory, cpu"
    assert (small.memory_bytes, small.cpus) == (None, None)


def test_sizes_without_figures_need_nothing_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "enforceable", frozenset)
    found = {one.what: one.good for one in runtimes.runtime_findings(settings([{"name": "a"}]))}
    assert found["limits of machine sizes: none asked for"]
    assert runtimes.machine_sizes(settings([])).offered(ROOT) == ()
