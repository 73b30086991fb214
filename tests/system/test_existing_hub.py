"""The feature flag on a hub that is there already: one line in its configuration, any base_url, and out again."""

import json
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.fixtures import HUBS, require
from tests.support.git_server import make_repository
from tests.support.hub import RunningHub, free_port
from tests.support.postgresql import running_postgresql
from tests.support.running import PYTHONS, SERVER_ENVIRONMENTS, Session, git_spec

OWN_ROLE = "c.JupyterHub.load_roles.append({'name': 'user', 'scopes': ['self', 'shares!user']})\n"


def flag(state, git_server, index, version, **settings) -> str:
    given = {
        "state_directory": str(state),
        "server_environment": str(SERVER_ENVIRONMENTS[version]),
        "index_url": index.url,
        "allow_hosts": [git_server.host, index.host],
        **settings,
    }
    return f"import launcher\nlauncher.enable(c, **{given!r})\n"


def own_spawner(homes) -> str:
    template = f"c.SimpleLocalProcessSpawner.home_dir_template = '{homes}/{{username}}'\n"
    return "c.JupyterHub.spawner_class = 'simple'\n" + template


def stream(hub, token, spec, prefix="services/binder/"):
    headers = {"Accept": "text/event-stream", "Authorization": f"token {token}"}
    with requests.get(f"{hub.url}{prefix}build/{spec}", headers=headers, stream=True, timeout=240) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("data:"):
                event = json.loads(line[5:])
                yield event
                if event.get("phase") in {"ready", "failed"}:
                    return


@pytest.mark.parametrize("version", HUBS)
def test_one_line_adds_the_click_under_a_base_url_and_its_removal_leaves_the_hub_as_it_was(
    version, tmp_path, git_server, index
):
    require(version)
    make_repository(git_server.directory / f"existing-{version}", {"hello.txt": "hello\n"})
    spec = git_spec(git_server.url(f"existing-{version}"), "main")
    base = OWN_ROLE + own_spawner(tmp_path / "homes")
    state = tmp_path / "state"
    port = free_port()
    address = f"c.JupyterHub.public_url = 'http://127.0.0.1:{port}/'\n"
    configuration = base + address + flag(state, git_server, index, version, trusted_repositories=["git/*"])
    with RunningHub(configuration, port=port, base_url="/jupyter/", python=str(PYTHONS[version])) as hub:
        token = hub.token_for("ana")
        events = list(stream(hub, token, spec))
        assert events[-1]["phase"] == "ready", (events[-1], hub.log[-3000:])
        assert urlsplit(events[-1]["url"]).path.startswith("/jupyter/user/ana/existing")
        session = Session(events[-1]["url"], events[-1]["token"])
        assert session.read("hello.txt") == "hello\n"
        assert (tmp_path / "homes" / "ana" / f"existing-{version}" / "hello.txt").exists()
    with RunningHub(base, base_url="/jupyter/", python=str(PYTHONS[version])) as hub:
        token = hub.token_for("ana")
        headers = {"Authorization": f"token {token}"}
        assert requests.get(f"{hub.url}services/binder/", headers=headers, timeout=30).status_code == 404
        assert hub.api("GET", "/users/ana").json()["name"] == "ana"


@pytest.mark.parametrize("version", HUBS)
def test_two_people_get_homes_of_their_own_and_unknown_code_gets_neither(version, tmp_path, git_server, index):
    require(version)
    name = f"unknown-{version}"
    make_repository(git_server.directory / name, {"hello.txt": "hello\n"})
    spec = git_spec(git_server.url(name), "main")
    homes = tmp_path / "homes"
    configuration = own_spawner(homes) + flag(tmp_path / "state", git_server, index, version)
    with RunningHub(configuration, python=str(PYTHONS[version])) as hub:
        for person in ("ana", "bob"):
            (homes / person).mkdir(parents=True)
            (homes / person / "secret.txt").write_text(person)
            events = list(stream(hub, hub.token_for(person), spec))
            assert events[-1]["phase"] == "ready", (events[-1], hub.log[-3000:])
            session = Session(events[-1]["url"], events[-1]["token"])
            seen = session.run(f"import os, glob; print(glob.glob('/home/*/*'), os.path.exists({str(homes)!r}))")
            assert "secret.txt" not in seen
            assert seen.strip().endswith("False")
            session.write("mine.txt", person)
        assert {path.parent.parent.parent.name for path in (tmp_path / "state").glob("projects/*/*/*/mine.txt")} == {
            "ana",
            "bob",
        }


def test_the_launcher_keeps_its_rows_in_postgresql_when_asked_to(tmp_path, git_server, index):
    require("hub6")
    make_repository(git_server.directory / "rows", {"hello.txt": "hello\n"})
    spec = git_spec(git_server.url("rows"), "main")
    with running_postgresql() as cluster:
        settings = {"trusted_repositories": ["git/*"], "database_url": cluster.fresh_database()}
        configuration = own_spawner(tmp_path / "homes")
        configuration += flag(tmp_path / "state", git_server, index, "hub6", **settings)
        with RunningHub(configuration) as hub:
            token = hub.token_for("ana")
            events = list(stream(hub, token, spec))
            assert events[-1]["phase"] == "ready", (events[-1], hub.log[-3000:])
        assert not (tmp_path / "state" / "launcher.sqlite").exists()
        with RunningHub(configuration) as hub:
            events = list(stream(hub, hub.token_for("ana"), spec))
            assert events[-1]["phase"] == "ready", (events[-1], hub.log[-3000:])
            assert not any(event.get("phase") == "building" for event in events)
