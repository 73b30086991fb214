"""Dask in sessions that are containers: what a person does from launch to the end of the session, on one hub."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest
import requests

from launcher.engine.client import Engine
from launcher.engine.labels import CLUSTER, STATE, state_id
from tests.support.dask import DASK, Clusters, gateway_process, with_cluster
from tests.support.engine import base_image, container_engine
from tests.support.people import people_hub
from tests.support.running import eventually

__all__ = ["base_image", "container_engine"]
FILES = {"requirements.txt": DASK + "humanize\n", "ours.py": "answer = 42\n"}


@pytest.fixture(scope="module")
def world(container_engine, base_image, git_server, index, tmp_path_factory):
    lines = (
        f"c.LauncherContainers.engine = {container_engine.url!r}",
        f"c.LauncherContainers.base_image = {base_image!r}",
        "c.LauncherDask.session_grace_seconds = 1",
        "c.LauncherDask.worker_memory = '512 M'",
    )
    settings = {"runtime": "container", "trusted_repositories": ["git/*"], "dask": True}
    directory = tmp_path_factory.mktemp("dask-containers")
    with people_hub(directory, git_server, index, *lines, **settings) as world:
        yield world


@pytest.fixture
def session(world):
    return world.launch("ana", world.repository("dask-container", FILES))


@pytest.fixture
def clusters(world):
    return Clusters(world.hub.url, world.token("ana"))


def test_a_cluster_has_what_its_session_has_and_keeps_to_its_memory(session, clusters):
    code = """
def look():
    import humanize, os, pathlib, sys, ours
    pathlib.Path.home().joinpath("from-a-worker.txt").write_text("hello")
    return [humanize.metric(1000), ours.answer, os.getcwd(), sys.prefix, os.getuid()]
def much():
    return len(bytearray(8 * 2**30))
print(json.dumps([look(), *client.run(look).values()]))
client.get_versions(check=True)
try:
    client.submit(much, retries=0).result(timeout=60)
except BaseException as error:
    print(type(error).__name__)
print(client.submit(lambda: "alive").result(timeout=60))
"""
    found, error, word = session.run(with_cluster(code, workers=2), seconds=120).splitlines()
    here, *on_workers = json.loads(found)
    assert on_workers == [here, here]
    assert here[4] == 1000
    assert (error, word) == ("MemoryError", "alive")
    assert session.run("import pathlib; print(pathlib.Path.home().joinpath('from-a-worker.txt').read_text())") == (
        "hello\n"
    )


def test_a_dashboard_is_seen_by_its_owner_alone(world, session, clusters):
    name = clusters.start()
    address = f"{world.hub.url}services/dask-gateway/clusters/{name}/individual-plots.json"
    assert requests.get(address, headers=world.headers("ana"), timeout=60).json()
    assert requests.get(address, headers=world.headers("bob"), timeout=60).status_code in {403, 404}
    assert clusters.call("DELETE", f"launcher/clusters/{name}").status_code == 204


def test_a_computation_goes_on_when_the_gateway_is_killed_and_ends_with_its_session(
    world, session, clusters, container_engine
):
    home = world.homes / "ana"
    code = """
def wait():
    import pathlib, time
    home = pathlib.Path.home()
    (home / "ready").touch()
    while not (home / "go").exists():
        time.sleep(0.05)
    return "done"
print(client.submit(wait, pure=False).result(timeout=100))
cluster.scale(2)
client.wait_for_workers(2, timeout=60)
print(len(client.run(wait)))
(pathlib.Path.home() / "over").touch()
client.submit(lambda: __import__("time").sleep(600)).result()
"""
    session.begin(with_cluster("import pathlib\n" + code))
    eventually((home / "ready").exists, seconds=60, what="the computation")
    before = gateway_process(world)
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: clusters.call("GET", "options").status_code == 200, what="another gateway")
    (home / "go").touch()
    eventually((home / "over").exists, seconds=90, what="the end of the computation, and another worker")
    (of_kernel,) = [one["name"] for one in clusters.live()]
    of_nobody = clusters.start()
    world.stop("ana", session)
    assert clusters.wait_for(of_nobody, "stopped", seconds=40)["reason"] == "Its session ended."
    clusters.wait_for(of_kernel, "stopped")
    left = {STATE: state_id(world.state), CLUSTER: ""}
    assert asyncio.run(_containers(container_engine, left)) == []


async def _containers(address, labels):
    async with Engine(address) as engine:
        return await engine.containers(labels)
