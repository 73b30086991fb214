"""Everything measurements share: one index and one git server on loopback, a launcher, and a stock JupyterHub."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Self

from benchmarks.observe import Hub, Person
from tests.support.git_server import GitServer, make_repository
from tests.support.hub import RunningHub
from tests.support.package_index import package_index
from tests.support.running import ROOT, git_spec, running_launcher

WHEELS = ROOT / ".cache" / "benchmark-wheelhouse"
STOCK = ROOT / ".cache" / "benchmark-stock-environment"
WATCHER_NAMES = [f"watcher-{number:02}" for number in range(50)]
SCIENCE = "numpy\npandas\nmatplotlib\n"
NOTEBOOK = '{"cells": [], "metadata": {"round": %d}, "nbformat": 4, "nbformat_minor": 5}\n'

PEOPLE = f"""
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = { {"admin", *WATCHER_NAMES}!r}
"""

_STOCK = """
c.Authenticator.admin_users = {{"boss"}}
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.Spawner.cmd = [{command!r}]
c.Spawner.args = {arguments!r}
c.Spawner.environment = {{"PATH": {path!r}}}
c.Spawner.start_timeout = 180
c.Spawner.http_timeout = 180
c.JupyterHub.log_level = "WARN"
"""

AS_ROOT = ["--allow-root"] if os.getuid() == 0 else []


class Stage:
    """Parts start when they are first asked for and end with the block.

    >>> with Stage() as stage:
    ...     stage.launcher, stage.stock
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._people: dict[tuple[str, int], Person] = {}

    def __enter__(self) -> Self:
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        (self.directory / "git").mkdir()
        self.git = self._stack.enter_context(GitServer(self.directory / "git"))
        self.index = self._stack.enter_context(package_index(WHEELS))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def repository(self, name: str, files: dict[str, str]) -> tuple[Path, str]:
        """A new repository on the git server: where it is and its spec for the launcher."""
        path = make_repository(self.git.directory / name, files)
        return path, git_spec(self.git.url(name), "main")

    @property
    def launcher_arguments(self) -> list[str]:
        """Trust the git server's repositories, reach it and the index."""
        return ["--trust", "git/*", "--allow-host", self.git.host, "--allow-host", self.index.host]

    @property
    def variables(self) -> dict[str, str]:
        """The environment that makes every uv and pip use our index."""
        return {
            "UV_DEFAULT_INDEX": self.index.url,
            "UV_INDEX_URL": self.index.url,
            "PIP_INDEX_URL": self.index.url,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    @cached_property
    def launcher(self) -> Hub:
        """``launcher up`` for many people."""
        config = self.directory / "people.py"
        config.write_text(PEOPLE)
        state = self.directory / "state"
        arguments = [*self.launcher_arguments, "--config", str(config)]
        up = self._stack.enter_context(running_launcher(state, *arguments, environment=self.variables))
        hub = Hub(up.url + "/", up.token)
        self._stack.callback(hub.stop_everything)
        return hub

    @cached_property
    def stock(self) -> Hub:
        """JupyterHub with SimpleLocalProcessSpawner, whose sessions have JupyterLab and nbgitpuller from PyPI."""
        homes = self.directory / "stock-homes"
        homes.mkdir()
        text = _STOCK.format(
            homes=str(homes / "{username}"),
            command=str(STOCK / "bin" / "jupyterhub-singleuser"),
            arguments=AS_ROOT,
            path=os.pathsep.join([str(STOCK / "bin"), os.environ["PATH"]]),
        )
        running = self._stack.enter_context(RunningHub(text))
        hub = Hub(running.url, running.token_for("boss"))
        self._stack.callback(hub.stop_everything)
        return hub

    def person(self, hub: Hub, number: int) -> Person:
        """A person of a hub, logged in; the same one for the same number."""
        known = self._people.get((hub.url, number))
        if known is None:
            known = self._people[hub.url, number] = hub.person(f"person-{number:02}")
        return known
