"""A launcher on each supported JupyterHub, and the real parts around it."""

import pytest

from tests.support.dask import dask_world
from tests.support.fixtures import HUBS, git_server, index, require, start
from tests.support.people import world

__all__ = ["HUBS", "dask_world", "git_server", "index", "require", "start", "up", "world"]


@pytest.fixture(scope="session", params=HUBS)
def up(request, start, tmp_path_factory):
    """One launcher for many tests, for each JupyterHub; tests use repositories of their own."""
    with start(tmp_path_factory.mktemp(request.param) / "state", version=request.param) as running:
        yield running
