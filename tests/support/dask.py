"""Code for kernels of sessions that use Dask, and a hub whose people may have different amounts of it."""

from __future__ import annotations

import contextlib

import psutil
import pytest
import requests

from tests.support.people import World, people_hub
from tests.support.running import Session, eventually

DASK = "dask\n"
"""A requirements.txt that asks for Dask and says nothing about clusters."""

CLUSTER = """
import gc, json
from dask_gateway import Gateway
gateway = Gateway()
cluster = gateway.new_cluster({options})
cluster.scale({workers})
client = cluster.get_client()
client.wait_for_workers({workers}, timeout=90)
"""


def with_cluster(code: str, *, workers: int = 1, options: str = "") -> str:
    """Code that has a ``cluster`` and a ``client``, and gives the cluster back at its end."""
    indented = "".join(f"    {line}\n" for line in code.strip().splitlines())
    start = CLUSTER.format(options=options, workers=workers)
    return f"{start}try:\n{indented}finally:\n    client.close(); cluster.shutdown()\n"


def refusal_of(session: Session, code: str) -> str:
    """The words of the error that the code ends with; a failure without one fails the test."""
    wrapped = "import gc\nfrom dask_gateway import Gateway\ntry:\n"
    wrapped += "".join(f"    {line}\n" for line in code.strip().splitlines())
    wrapped += "except Exception as error:\n    said = f'{type(error).__name__}: {error}'\n    del error\n"
    wrapped += "else:\n    said = ''\ngc.collect()\nprint(said)\n"
    said = session.run(wrapped, seconds=90).strip()
    assert said, "nothing was refused"
    return said


class Clusters:
    """The gateway's REST API with the token of a person or of a session."""

    def __init__(self, hub_url: str, token: str) -> None:
        self._url = f"{hub_url.rstrip('/')}/services/dask-gateway/api/v1/"
        self._headers = {"Authorization": f"token {token}"}

    def call(self, method: str, path: str, **options) -> requests.Response:
        return requests.request(method, self._url + path, headers=self._headers, timeout=30, **options)

    def all(self) -> list[dict]:
        answer = self.call("GET", "launcher/clusters")
        assert answer.status_code == 200, answer.text
        return answer.json()["clusters"]

    def live(self) -> list[dict]:
        return [one for one in self.all() if one["status"] in {"starting", "running", "stopping"}]

    def one(self, name: str) -> dict:
        (found,) = [one for one in self.all() if one["name"] == name]
        return found

    def wait_for(self, name: str, status: str, *, seconds: float = 40) -> dict:
        eventually(lambda: self.one(name)["status"] == status, seconds=seconds, what=f"the cluster to be {status}")
        return self.one(name)

    def start(self, **options) -> str:
        """The name of a new cluster that runs."""
        answer = self.call("POST", "clusters/", json={"cluster_options": options})
        assert answer.status_code == 201, answer.text
        name = answer.json()["name"]
        self.wait_for(name, "running")
        return name

    def scale(self, name: str, count: int) -> requests.Response:
        return self.call("POST", f"clusters/{name}/scale", json={"count": count})


def log_of(clusters: Clusters, name: str) -> str:
    return clusters.call("GET", f"launcher/clusters/{name}/logs/scheduler").text


def gateway_process(world: World) -> psutil.Process:
    """The process that does the gateway's work: the younger of the two with its command line."""
    found = []
    for process in psutil.Process(world.hub._process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            if process.cmdline()[-1:] == ["dask-gateway"]:
                found.append(process)
    return max(found, key=lambda process: process.pid)


@pytest.fixture(scope="session")
def dask_world(git_server, index, tmp_path_factory):
    """A hub below /campus/ where ana and bob have Dask, carol has none, and root is an admin."""
    limits = {"clusters": 3, "workers": 4, "cores": 4, "memory": "4 G"}
    lines = (
        "c.Authenticator.admin_users = {'root'}",
        "c.JupyterHub.load_groups = {'scientists': {'users': ['ana', 'bob', 'root']}}",
        "c.LauncherDask.groups = ['scientists']",
        f"c.LauncherDask.user_limits = {limits!r}",
        "c.LauncherDask.session_grace_seconds = 1",
        "c.LauncherDask.worker_memory = '1 G'",
    )
    settings = {"trusted_repositories": ["git/*dask-*"], "dask": True}
    directory = tmp_path_factory.mktemp("dask")
    with people_hub(directory, git_server, index, *lines, base_url="/campus/", **settings) as world:
        yield world
