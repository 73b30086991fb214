"""Who may have clusters, how many, and that nobody reaches anybody else's; below a base URL, with groups and limits."""

from __future__ import annotations

import os
import signal
import threading

import psutil
import pytest
import requests

from tests.support.dask import DASK, Clusters, gateway_process, log_of, refusal_of, with_cluster
from tests.support.people import name_of
from tests.support.running import eventually

FILES = {"requirements.txt": DASK}
START = "from dask_gateway import Gateway\ncluster = Gateway().new_cluster(shutdown_on_close=False)\n"


@pytest.fixture
def session_of(dask_world):
    """A session of a person with the repository of these tests, and the REST API with their own token."""

    def _session(person: str, name: str = "dask-people"):
        return dask_world.launch(person, dask_world.repository(name, FILES)), Clusters(
            dask_world.hub.url, dask_world.token(person)
        )

    return _session


@pytest.fixture(autouse=True)
def nothing_left(dask_world):
    yield
    for person in ("ana", "bob"):
        clusters = Clusters(dask_world.hub.url, dask_world.token(person))
        for cluster in clusters.live():
            clusters.call("DELETE", f"launcher/clusters/{cluster['name']}")
        eventually(lambda clusters=clusters: not clusters.live(), what="the end of every cluster")


def test_the_limit_is_named_and_room_is_given_back(session_of):
    _, clusters = session_of("ana")
    name = clusters.start()
    refused = clusters.scale(name, 5)
    assert refused.status_code == 409
    assert "needs 5 workers, but your limit is 4 workers" in refused.json()["error"]
    assert clusters.scale(name, 10**9).status_code == 409
    assert clusters.scale(name, -1).status_code == 422
    assert clusters.call("POST", f"clusters/{name}/adapt", json={"minimum": 3, "maximum": 2}).status_code == 409
    assert clusters.scale(name, 4).status_code == 200
    other = clusters.start()
    refused = clusters.scale(other, 1)
    assert "(4 workers in your other clusters)" in refused.json()["error"]
    assert clusters.scale(name, 3).status_code == 200
    eventually(lambda: clusters.scale(other, 1).status_code == 200, what="room for a worker")
    third = clusters.start()
    refused = clusters.call("POST", "clusters/", json={})
    assert refused.status_code == 422
    assert "your limit is 3 clusters" in refused.json()["error"]
    clusters.call("DELETE", f"launcher/clusters/{third}")
    clusters.wait_for(third, "stopped")
    assert clusters.call("POST", "clusters/", json={}).status_code == 201


def test_adapting_stays_within_what_is_left(session_of):
    session, clusters = session_of("ana")
    code = """
cluster.adapt()
import time
print(sum(client.gather(client.map(lambda x: x, range(50)))))
"""
    assert session.run(with_cluster(code), seconds=90) == "1225\n"
    assert clusters.all()[0]["maximum"] == 4


def test_without_the_group_there_is_no_dask_and_a_sentence_says_so(dask_world, session_of):
    session, clusters = session_of("carol")
    assert "only for certain groups" in refusal_of(session, "Gateway().new_cluster()")
    answer = clusters.call("GET", "launcher/clusters")
    assert answer.status_code == 422
    assert "lacks the scope access:services!service=dask-gateway" in answer.json()["error"]
    messages = [event["message"] for event in dask_world.events("carol", dask_world.repository("dask-people", FILES))]
    dask_world.stop("carol", session)
    messages += [event["message"] for event in dask_world.events("carol", dask_world.repository("dask-people", FILES))]
    assert any("groups" in message and "Dask" in message for message in messages), messages


def test_an_unknown_repository_gets_no_dask(dask_world):
    session = dask_world.launch("bob", dask_world.repository("stranger", FILES))
    assert "you did not say you trust" in refusal_of(session, "Gateway().new_cluster()")
    assert "you did not say you trust" in refusal_of(session, "Gateway().cluster_options()")
    token = session.run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'], end='')")
    model = requests.get(f"{dask_world.hub.url}hub/api/user", headers={"Authorization": f"token {token}"}, timeout=20)
    assert not [scope for scope in model.json()["scopes"] if "services" in scope]
    dask_world.stop("bob", session)


@pytest.mark.parametrize("token", ["", "forged0123456789", "token with spaces"])
def test_a_forged_token_is_refused(dask_world, token):
    clusters = Clusters(dask_world.hub.url, token)
    for method, path in (("GET", "launcher/clusters"), ("POST", "clusters/"), ("GET", "options")):
        answer = clusters.call(method, path)
        assert answer.status_code == 401, (path, answer.text)
        assert answer.json()["error"]


def test_nobody_reaches_somebody_elses_cluster_but_an_admin(dask_world, session_of):
    _, anas = session_of("ana")
    name = anas.start()
    _, bobs = session_of("bob")
    for method, path in (
        ("GET", f"clusters/{name}"),
        ("DELETE", f"clusters/{name}"),
        ("POST", f"clusters/{name}/scale"),
        ("POST", f"clusters/{name}/adapt"),
        ("DELETE", f"launcher/clusters/{name}"),
        ("GET", f"launcher/clusters/{name}/logs"),
        ("GET", f"launcher/clusters/{name}/logs/scheduler"),
    ):
        assert bobs.call(method, path, json={"count": 1}).status_code in {403, 404}, path
    assert not [one for one in bobs.all() if one["name"] == name]
    assert anas.one(name)["status"] == "running"
    root = Clusters(dask_world.hub.url, dask_world.token("root"))
    assert root.one(name)["user"] == "ana"
    assert root.call("DELETE", f"launcher/clusters/{name}").status_code == 204
    assert anas.wait_for(name, "stopped")["reason"] == "root stopped it."


def test_code_in_an_admins_session_has_no_admins_reach(dask_world, session_of):
    _, anas = session_of("ana")
    name = anas.start()
    session, _ = session_of("root")
    code = """
import os, json, urllib.request
request = urllib.request.Request(os.environ["DASK_GATEWAY__ADDRESS"] + "/api/v1/launcher/clusters",
    headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
print([one["name"] for one in json.load(urllib.request.urlopen(request))["clusters"]])
"""
    assert name not in session.run(code)


def test_a_session_speaks_for_itself_only(session_of):
    """Two sessions of a person, one client each: the second is not answered as if it were the first."""
    first, clusters = session_of("bob", "dask-people")
    second, _ = session_of("bob", "dask-other")
    for session in (first, second, first):
        session.run(START)
    made = [one["server_name"] for one in clusters.all()[:3]]
    assert made == [name_of(first), name_of(second), name_of(first)]


def test_a_cluster_of_a_killed_scheduler_fails_at_once_with_a_reason_and_its_logs(session_of):
    _, clusters = session_of("ana")
    name = clusters.start()
    clusters.scale(name, 1)
    eventually(lambda: clusters.one(name)["workers"] == 1, what="a worker")
    *_, nursery, scheduler, _worker = processes_of(name)
    assert scheduler.ppid() == nursery.pid
    scheduler.kill()
    failed = clusters.wait_for(name, "failed", seconds=30)
    assert failed["reason"]
    assert "Scheduler at" in log_of(clusters, name) or "Clear task state" in log_of(clusters, name)
    eventually(lambda: not processes_of(name), what="the end of every process")


def processes_of(cluster: str) -> list[psutil.Process]:
    """Every process of a cluster, outermost first: they carry its name."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(cluster in value for value in process.environ().values()):
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.pid)


def test_too_much_memory_is_an_error_of_the_task_and_the_worker_lives(session_of):
    session, _ = session_of("ana")
    code = """
def much():
    return len(bytearray(8 * 2**30))
try:
    print(client.submit(much, retries=0).result(timeout=60))
except BaseException as error:
    print(type(error).__name__)
print(client.submit(lambda: "alive").result(timeout=60))
"""
    assert session.run(with_cluster(code), seconds=120) == "MemoryError\nalive\n"


def test_a_computation_goes_on_when_the_gateway_is_killed(dask_world, session_of):
    session, clusters = session_of("ana")
    ready, go = "ready-for-the-kill", "gateway-was-killed"
    code = f"""
import os, time
def wait():
    import pathlib, time
    home = pathlib.Path.home()
    (home / "{ready}").touch()
    while not (home / "{go}").exists():
        time.sleep(0.05)
    return os.getpid()
future = client.submit(wait, pure=False)
print(future.result(timeout=100) > 0)
cluster.scale(2)
client.wait_for_workers(2, timeout=60)
"""
    said: list[str] = []
    running = threading.Thread(target=lambda: said.append(session.run(with_cluster(code), seconds=150)))
    running.start()
    home = dask_world.homes / "ana"
    eventually((home / ready).exists, seconds=60, what="the computation")
    before = gateway_process(dask_world)
    os.kill(before.pid, signal.SIGKILL)
    eventually(lambda: clusters.call("GET", "options").status_code == 200, what="another gateway")
    assert gateway_process(dask_world).pid != before.pid
    (home / go).touch()
    running.join(150)
    assert said == ["True\n"]
    (home / ready).unlink()
    (home / go).unlink()
    eventually(lambda: not clusters.live(), what="the end of the cluster")


def test_a_session_that_ends_in_the_middle_of_a_computation_takes_its_cluster_along(dask_world, session_of):
    session, clusters = session_of("bob", "dask-middle")
    home = dask_world.homes / "bob"
    code = """
def wait():
    import pathlib, time
    (pathlib.Path.home() / "in-the-middle").touch()
    time.sleep(600)
client.submit(wait).result()
"""
    session.begin(with_cluster(code))
    eventually((home / "in-the-middle").exists, seconds=60, what="the computation")
    (name,) = [one["name"] for one in clusters.live()]
    dask_world.stop("bob", session)
    assert clusters.wait_for(name, "stopped", seconds=40)["reason"] == "Its session ended."
    eventually(lambda: not processes_of(name), what="the end of every process")
    (home / "in-the-middle").unlink()


def test_a_kept_cluster_outlives_its_session_and_others_do_not(dask_world, session_of):
    session, clusters = session_of("bob", "dask-kept")
    kept, other = clusters.start(keep_hours=1), clusters.start()
    dask_world.stop("bob", session)
    assert clusters.wait_for(other, "stopped", seconds=30)["reason"] == "Its session ended."
    assert clusters.one(kept)["status"] == "running"
    assert clusters.one(kept)["keep_hours"] == 1


def test_without_a_session_there_is_nothing_to_make_a_cluster_of(dask_world):
    bob = Clusters(dask_world.hub.url, dask_world.token("bob"))
    for name in dask_world.servers("bob"):
        dask_world.as_person("bob", "DELETE", f"/users/bob/servers/{name}")
    eventually(lambda: not dask_world.servers("bob"), what="the end of bob's sessions")
    answer = bob.call("POST", "clusters/", json={})
    assert answer.status_code == 422
    assert "start one first" in answer.json()["error"]
