"""Fixtures of real parts, shared by system and browser tests: package index, git server, and a way to start launchers.

A conftest imports the fixtures it wants: ``from tests.support.fixtures import git_server, index, start``.
"""

import contextlib
from pathlib import Path

import pytest

from tests.support.git_server import GitServer
from tests.support.package_index import package_index
from tests.support.running import HUB5_PYTHON, ROOT, SERVER_ENVIRONMENTS, running_launcher

WHEELHOUSE = ROOT / ".cache" / "wheelhouse"
HUBS = ["hub6", "hub5"]
on_one_hub = pytest.mark.parametrize("up", HUBS[:1], indirect=True)
"""For what depends on nothing that differs between the versions of JupyterHub: one launcher tells it."""


def require(version: str) -> None:
    """Skip the test, saying why, when what this version of the hub needs is not installed."""
    if version == "hub5" and not HUB5_PYTHON.exists():
        pytest.skip("JupyterHub 5.5 is not installed in .venv-hub5: run scripts/setup-tests")
    if not SERVER_ENVIRONMENTS[version].exists():
        pytest.skip(f"{SERVER_ENVIRONMENTS[version].name} is missing: run scripts/setup-tests")
    if not WHEELHOUSE.exists():
        pytest.skip("the wheelhouse is missing: run scripts/setup-tests")


@pytest.fixture(scope="session")
def index():
    with package_index(WHEELHOUSE) as server:
        yield server


@pytest.fixture(scope="session")
def git_server(tmp_path_factory):
    with GitServer(tmp_path_factory.mktemp("git")) as server:
        yield server


@pytest.fixture(scope="session")
def start(index, git_server):
    """Start a launcher whose builds use the local index and which may reach the local git server."""

    @contextlib.contextmanager
    def _start(state: Path, *arguments: str, version: str = "hub6", trust: str | None = "git/*", **environment: str):
        require(version)
        options = ["--allow-host", git_server.host, "--allow-host", index.host, *arguments]
        if trust:
            options += ["--trust", trust]
        variables = {"UV_DEFAULT_INDEX": index.url, "UV_INDEX_URL": index.url, **environment}
        with running_launcher(state, *options, version=version, environment=variables) as up:
            yield up

    return _start
