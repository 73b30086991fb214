"""What holds for every test, and how the suite is spread over the processes of pytest-xdist."""

import os

import hypothesis
import pytest
import structlog

from tests.support.skips import is_deliberate
from tests.support.spread import Spread, place_of

# On a busy machine an example may take any time.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")

# By default structlog writes to what is stdout when it is asked, which may be the closed capture of an earlier test.
structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
LOGGING = structlog.get_config()


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """A command that configured logging wrote to the streams of its test."""
    yield
    if structlog.get_config() != LOGGING:
        structlog.configure(**LOGGING)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI nothing is left out in silence: see `tests.support.skips`."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        reason = str(call.excinfo.value)
        if not is_deliberate(reason):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped in CI: {reason}. Run scripts/setup-tests."
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Spread(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place_of(item.nodeid))
