"""One launcher and one Chromium; every test has its own profile, logged in by the printed link."""

import pytest

from tests.support.browser import log_in, profile, running_chromium
from tests.support.fixtures import git_server, index, start
from tests.support.gate import Gates
from tests.support.git_server import make_repository
from tests.support.running import git_spec

__all__ = ["git_server", "index", "start"]

TRUSTED = "git/*/trusted-*"


@pytest.fixture(scope="session")
def up(start, tmp_path_factory):
    """Repositories whose name begins with ``trusted-`` are trusted, all others unknown."""
    with start(tmp_path_factory.mktemp("browser") / "state", trust=TRUSTED) as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    # Not for the whole run: playwright's event loop would be in the way of asynchronous tests elsewhere.
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def logged_in(chromium, up):
    """A profile of the launcher's user."""
    with profile(chromium) as context:
        log_in(context, up).close()
        yield context


@pytest.fixture
def page(logged_in):
    return logged_in.new_page()


@pytest.fixture
def gates(git_server):
    gates = Gates(git_server)
    yield gates
    gates.close()


@pytest.fixture
def repository(git_server):
    """Makes a repository with a name and files; gives its spec."""

    def make(name, files=None):
        make_repository(git_server.directory / name, files or {"README.md": f"{name}\n"})
        return git_spec(git_server.url(name), "main")

    return make
