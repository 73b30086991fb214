"""CI leaves no test out in silence."""

from __future__ import annotations

import pytest

from tests.support.skips import is_deliberate

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.fixture
def program():
    pytest.skip("the wheelhouse is missing: run scripts/setup-tests")

def test_something_is_missing(program): pass
def test_the_machine_cannot(): pytest.skip("this engine cannot limit memory here")
@pytest.mark.skip(reason="some day")
def test_some_day(): pass
@pytest.mark.xfail
def test_that_fails(): assert False
"""


@pytest.mark.parametrize(("variable", "outcomes"), [("yes", {"errors": 2, "skipped": 1}), ("", {"skipped": 3})])
def test_what_is_skipped_without_a_reason_of_the_list_has_failed_in_ci(pytester, monkeypatch, variable, outcomes):
    monkeypatch.setenv("CI", variable)
    pytester.makeconftest("from tests.conftest import pytest_runtest_makereport")
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:asyncio")
    result.assert_outcomes(xfailed=1, **outcomes)


def test_programs_that_only_root_installs_may_be_missing_where_nobody_is_root():
    reason = "podman is not installed: run scripts/setup-tests as root on Debian or Ubuntu"
    assert is_deliberate(reason, root=False)
    assert not is_deliberate(reason, root=True)
