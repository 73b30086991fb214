"""Tests share what is expensive to start by running in one process."""

import pytest

from tests.support.spread import ENGINE, HUB5, place_of, unit_of

CLICK = "tests/system/test_click.py"


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        (f"{CLICK}::test_a_click", CLICK),
        (f"{CLICK}::test_a_click[hub6]", CLICK),
        (f"{CLICK}::test_a_click[hub5]", HUB5),
        ("tests/system/test_existing_hub.py::test_it[hub5-/base/]", HUB5),
        ("tests/contract/test_builder.py::test_a_build[container]", ENGINE),
        ("tests/contract/test_builder.py::test_a_build[process]", "tests/contract/test_builder.py"),
        ("tests/docs/test_pages.py::test_links[docs/howto/containers.md]", "tests/docs/test_pages.py"),
    ],
    ids=range(7),
)
def test_what_runs_in_one_process(nodeid, unit):
    assert unit_of(nodeid) == unit


def test_what_takes_long_starts_first():
    engine, hub5, system, unit = (
        place_of(nodeid)
        for nodeid in (
            "tests/contract/test_builder.py::test_a_build[container]",
            f"{CLICK}::test_a_click[hub5]",
            f"{CLICK}::test_a_click[hub6]",
            "tests/unit/test_trust.py::test_trust",
        )
    )
    assert engine < hub5 < system < unit
