"""Whatever dies, and whenever: the same click ends in a session, once, with nothing left over."""

import json
import os
import signal

import psutil
import requests

from launcher.control_groups import enforceable
from tests.support.dask import DASK, Clusters, with_cluster
from tests.support.git_server import make_repository
from tests.support.groups import groups_of
from tests.support.running import Session, eventually, git_spec, service_process

CRASH_POINTS = [
    "build:before_create",
    "build:after_create",
    "build:running",
    "build:built",
    "build:finished",
    "launch:ticket_issued",
    "launch:start_requested",
]


def last_event(up, spec):
    """The last event of one click; None when the service died under it or is not back yet."""
    events = []
    try:
        events.extend(up.stream(spec, seconds=4))  # a proxy keeps the stream of a dead service open
    except (requests.RequestException, json.JSONDecodeError):
        return None
    return events[-1] if events and events[-1].get("phase") in {"ready", "failed"} else None


def children(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def test_the_same_click_ends_in_one_session_after_a_kill_at_every_crash_point(start, git_server, tmp_path):
    make_repository(git_server.directory / "crashes", {"requirements.txt": "humanize\n", "a.txt": "a\n"})
    spec = git_spec(git_server.url("crashes"), "main")
    marks = tmp_path / "marks"
    marks.mkdir()
    crashes = {"LAUNCHER_CRASH_AT": ",".join(CRASH_POINTS), "LAUNCHER_CRASH_MARKS": str(marks)}
    with start(tmp_path / "state", **crashes) as up:
        event = eventually(lambda: last_event(up, spec), seconds=290, what="the end of the launch")
        assert event["phase"] == "ready", event
        assert sorted(path.name for path in marks.iterdir()) == sorted(CRASH_POINTS)
        assert Session(event["url"], event["token"]).read("a.txt") == "a\n"
        assert len(up.api("GET", f"/users/{up.user}").json()["servers"]) == 1
        assert len(list((up.state / "environments").glob("[0-9a-f]*"))) == 1
        assert not list((up.state / "builds").glob("*"))
        builds = up.builds()
        assert {build["status"] for build in builds} == {"succeeded"}


def test_a_killed_service_leaves_no_process_and_a_build_goes_on_under_the_same_id(start, git_server, tmp_path):
    gate = f"http://{git_server.host}/gate"
    script = (
        f"#!/bin/bash\necho before\npython -c \"import urllib.request as u; u.urlopen('{gate}')\" || true\necho after\n"
    )
    make_repository(git_server.directory / "gated", {"postBuild": script})
    spec = git_spec(git_server.url("gated"), "main")
    with start(tmp_path / "state") as up:
        stream = up.stream(spec, build_only="true")
        build = next(event["build_id"] for event in stream if event["message"] == "before\n")
        service = service_process(up)
        family = children(service)
        assert family
        os.kill(service.pid, signal.SIGKILL)
        stream.close()
        _, alive = psutil.wait_procs([service, *family], timeout=20)
        assert not alive, [process.cmdline() for process in alive]
        event = eventually(lambda: last_event(up, spec), seconds=120, what="the end of the launch")
        assert event["phase"] == "ready", event
        builds = up.builds()
        assert [(entry["id"], entry["status"]) for entry in builds] == [(build, "succeeded")]
        log = requests.get(f"{up.service}api/v1/builds/{build}/log", headers=up.headers, timeout=30).text
        assert log.count("before\n") >= 1
        assert log.rstrip().splitlines()[-1] != ""


def test_a_session_outlives_hub_and_service_and_is_found_again(start, git_server, tmp_path):
    make_repository(git_server.directory / "outlives", {"a.txt": "a\n"})
    spec = git_spec(git_server.url("outlives"), "main")
    sizes = tmp_path / "sizes.py"
    sizes.write_text("c.Launcher.machine_sizes = [{'name': 'one', 'cpus': 2}]\n")
    with start(tmp_path / "state", "--config", str(sizes)) as up:
        session, _ = up.launch(spec)
        session.write("edit.txt", "kept\n")
        hub = psutil.Process(up.process.pid).children()[0]
        servers = [process for process in hub.children(recursive=True) if "serve.py" in " ".join(process.cmdline())]
        assert servers
        os.kill(hub.pid, signal.SIGKILL)
        up.process.wait(60)
        assert all(process.is_running() for process in servers)
        assert bool(groups_of(tmp_path / "state")) == ("cpu" in enforceable())
    try:
        with start(tmp_path / "state", "--config", str(sizes)) as up:
            again, events = up.launch(spec)
            assert again.read("edit.txt") == "kept\n"
            assert any(event["message"].startswith("Your session") for event in events)
            assert all(process.is_running() for process in servers)
    finally:
        for process in servers:
            if process.is_running():
                process.kill()
    assert not any(process.is_running() for process in servers), "Ctrl-C must end adopted sessions too"
    assert not groups_of(tmp_path / "state"), "and what limited them"


def test_a_computation_on_a_cluster_outlives_hub_launcher_and_gateway(start, git_server, tmp_path):
    make_repository(git_server.directory / "computes", {"requirements.txt": DASK})
    spec = git_spec(git_server.url("computes"), "main")
    home = tmp_path / "state" / "homes" / "admin"
    code = """
def wait():
    import pathlib, time
    home = pathlib.Path.home()
    (home / "begun").touch()
    while not (home / "go").exists():
        time.sleep(0.05)
    return "went on"
import pathlib
result = client.submit(wait, pure=False).result(timeout=200)
cluster.scale(2)
client.wait_for_workers(2, timeout=60)
(pathlib.Path.home() / "result.txt").write_text(result)
"""
    with start(tmp_path / "state") as up:
        session, _ = up.launch(spec)
        session.begin(with_cluster(code))
        eventually((home / "begun").exists, seconds=90, what="the computation")
        hub = psutil.Process(up.process.pid).children()[0]
        family = hub.children(recursive=True)
        os.kill(hub.pid, signal.SIGKILL)
        up.process.wait(60)
    with start(tmp_path / "state") as up:
        (home / "go").touch()
        eventually((home / "result.txt").exists, seconds=90, what="the result")
        assert (home / "result.txt").read_text() == "went on"
        assert [one["server_name"] for one in Clusters(up.url, up.token).all()]
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive, [process.cmdline() for process in alive]


def ends_everything(up, *signals):
    family = psutil.Process(up.process.pid).children(recursive=True)
    for number in signals:
        up.process.send_signal(number)
    assert up.process.wait(60) == 0
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive


def test_ctrl_c_ends_everything_and_a_second_start_finds_everything(start, git_server, tmp_path):
    make_repository(git_server.directory / "stopped", {"a.txt": "a\n"})
    spec = git_spec(git_server.url("stopped"), "main")
    with start(tmp_path / "state") as up:
        session, _ = up.launch(spec)
        session.write("edit.txt", "kept\n")
        ends_everything(up, signal.SIGINT)
    with start(tmp_path / "state") as up:
        session, events = up.launch(spec)
        assert not any(event.get("phase") == "building" for event in events)
        assert session.read("edit.txt") == "kept\n"
        ends_everything(up, signal.SIGTERM, signal.SIGTERM)  # somebody impatient
