"""Dask in a launched session and in a regular one: workers in exactly the session's environment, on both hubs."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from launcher.up import EXAMPLES
from tests.support.dask import DASK, Clusters, refusal_of, with_cluster
from tests.support.fixtures import on_one_hub
from tests.support.git_server import make_repository
from tests.support.running import Session, eventually, git_spec

WITH = {"requirements.txt": DASK + "humanize\n"}
WITHOUT = {"requirements.txt": DASK}
KEPT = "from dask_gateway import Gateway\ngateway = Gateway()\n"
KEPT += "cluster = gateway.new_cluster(shutdown_on_close=False)\nprint(cluster.name)\n"
"""Leaves a cluster behind and prints its name."""
MODULES = "import importlib.util, json\ndef have(*names):\n    import importlib.util\n"
MODULES += "    return {name: importlib.util.find_spec(name) is not None for name in names}\n"


@pytest.fixture
def launch(up, git_server, request):
    """Launch a repository with these files: a session."""

    def _launch(name: str, files: dict[str, str], **query) -> Session:
        version = "hub5" if "hub5" in request.node.name else "hub6"
        path = git_server.directory / f"{version}-dask-{name}"
        if not path.exists():
            make_repository(path, files)
        return up.launch(git_spec(git_server.url(path.name), "main"), **query)[0]

    return _launch


@pytest.fixture
def clusters(up):
    return Clusters(up.url, up.token)


def regular_session(up) -> Session:
    up.api("POST", f"/users/{up.user}/server")
    session = Session(f"{up.url}/user/{up.user}/", up.token)
    eventually(lambda: session.get("api/status").status_code == 200, what="the regular session")
    return session


def test_a_cluster_has_the_packages_the_home_and_the_modules_of_its_session(launch):
    files = {"requirements.txt": DASK + "humanize\n", "ours.py": "answer = 42\n", "dask.py": "raise SystemExit\n"}
    session = launch("packages", files)
    code = """
def look():
    import humanize, os, pathlib, sys, ours
    pathlib.Path.home().joinpath("from-a-worker.txt").write_text("hello")
    return [humanize.metric(1000), ours.answer, os.getcwd(), sys.prefix]
print(json.dumps(client.run(look)))
client.get_versions(check=True)
print(json.dumps(look()))
"""
    session.run("import pathlib; pathlib.Path('dask.py').unlink()")  # the kernel's own path begins with it
    on_workers, here = session.run(with_cluster(code, workers=2), seconds=120).splitlines()
    found = list(json.loads(on_workers).values())
    assert len(found) == 2
    assert all(one == json.loads(here) for one in found), (found, here)
    assert session.run("import pathlib; print(pathlib.Path.home().joinpath('from-a-worker.txt').read_text())") == (
        "hello\n"
    )


@on_one_hub
def test_two_sessions_of_a_person_get_each_their_own_environment(launch, up, clusters):
    with_humanize = launch("with", WITH)
    without = launch("without", WITHOUT)
    code = MODULES + "print(json.dumps(list(client.run(have, 'humanize').values())[0]))"
    assert with_humanize.run(with_cluster(code), seconds=120) == '{"humanize": true}\n'
    assert without.run(with_cluster(code), seconds=120) == '{"humanize": false}\n'
    theirs = {one["server_name"]: one["environment"] for one in clusters.all()}
    assert theirs[up.path_of(with_humanize).split("/")[-2]] != theirs[up.path_of(without).split("/")[-2]]


def test_the_regular_session_has_dask_too(up):
    session = regular_session(up)
    code = "print(client.submit(lambda x: x + 1, 41).result())"
    assert session.run(with_cluster(code), seconds=120) == "42\n"


@on_one_hub
def test_what_is_installed_and_set_in_the_session_reaches_the_workers(launch):
    start = '#!/bin/bash\nexport FROM_START=started\nexec "$@"\n'
    session = launch("tweaks", {"requirements.txt": DASK, "start": start})
    session.run(
        "import pathlib, sysconfig\n"
        "pathlib.Path(sysconfig.get_paths()['purelib'], 'added_later.py').write_text('answer = 7')"
    )
    code = """
def look():
    import added_later, os
    return [added_later.answer, os.environ.get("FROM_START"), os.environ.get("MINE"), os.environ.get("BINDER_REF_URL")]
print(json.dumps(list(client.run(look).values())[0]))
print(json.dumps(__import__("os").environ["BINDER_REF_URL"]))
"""
    on_worker, here = session.run(with_cluster(code, options="environment={'MINE': 'x'}"), seconds=120).splitlines()
    assert json.loads(on_worker) == [7, "started", "x", json.loads(here)]


def test_no_secret_of_the_session_reaches_a_worker(launch):
    session = launch("with", WITH)
    code = """
def look():
    import os
    return sorted(os.environ)
print(json.dumps(list(client.run(look).values())[0]))
"""
    names = json.loads(session.run(with_cluster(code), seconds=120))
    assert not {name for name in names if name.startswith(("JUPYTERHUB_API", "JPY_", "JUPYTERHUB_CLIENT"))}, names


@on_one_hub
def test_the_example_gives_the_same_numbers_with_and_without_dask(up):
    session, _ = up.launch(f"local/{quote(str(EXAMPLES / 'zarr-with-dask'), safe='')}/worktree")
    notebook = json.loads((EXAMPLES / "zarr-with-dask" / "zarr-with-dask.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert sum("assert" in cell for cell in cells) == 3
    session.run("\n".join(cells), seconds=180)


@on_one_hub
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("Gateway().new_cluster(gpus=1)", "Unknown fields"),
        ("Gateway().new_cluster(image='somebody-elses')", "'somebody-elses' is not a valid option for image"),
        ("Gateway().new_cluster(worker_cores=0)", "worker_cores"),
        ("Gateway().new_cluster(worker_memory=10**6)", "worker_memory"),
        ("Gateway().new_cluster(environment={'LD_PRELOAD': '/x'})", "LD_PRELOAD cannot be set"),
    ],
)
def test_a_wrong_option_is_refused_with_a_sentence_and_nothing_is_left(launch, clusters, code, words):
    session = launch("with", WITH)
    before = len(clusters.all())
    assert words in refusal_of(session, code)
    assert len(clusters.all()) == before


@on_one_hub
def test_a_cluster_ends_with_its_session(launch, up, clusters):
    session = launch("without", WITHOUT)
    cluster = session.run(KEPT, seconds=60).strip()
    server = up.path_of(session).split("/")[-2]
    assert up.api("DELETE", f"/users/{up.user}/servers/{server}").status_code in {202, 204}
    ended = clusters.wait_for(cluster, "stopped", seconds=90)
    assert ended["reason"] == "Its session ended."


def test_ctrl_c_ends_clusters_too(start, tmp_path):
    with start(tmp_path / "state") as up:
        regular_session(up)
        clusters = Clusters(up.url, up.token)
        name = clusters.start()
        clusters.scale(name, 1)
        eventually(lambda: clusters.one(name)["workers"] == 1, what="a worker")
    assert not list((tmp_path / "state" / "dask" / "clusters").iterdir())  # `start` has seen that no process is left


def test_off_means_no_trace(start, tmp_path):
    with start(tmp_path / "state", "--no-dask") as without:
        assert "dask-gateway" not in without.api("GET", "/services").json()
        session, _ = without.launch(f"local/{quote(str(EXAMPLES / 'first-click'), safe='')}/worktree")
        assert session.run("import os; print([n for n in os.environ if 'DASK' in n])") == "[]\n"
        assert not (tmp_path / "state" / "dask").exists()
