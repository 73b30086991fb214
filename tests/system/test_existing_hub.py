"""The feature flag on a hub that is there already: one line in its configuration, any base_url, and out again."""

import json
import re
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import requests

from launcher.control_groups import enforceable
from tests.support.fixtures import HUBS, require
from tests.support.git_server import make_repository
from tests.support.groups import groups_of
from tests.support.hub import RunningHub, free_port
from tests.support.postgresql import running_postgresql
from tests.support.running import PYTHONS, SERVER_ENVIRONMENTS, Session, eventually, git_spec

MEMORY = 700 * 2**20
TAKE_TOO_MUCH = f"""
import os, subprocess, sys
done = subprocess.run([sys.executable, "-c", "b = bytearray({2 * MEMORY})"])
print(os.environ["MEM_LIMIT"], os.environ["CPU_LIMIT"], done.returncode)
"""
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


def stream(hub, token, spec, prefix="services/binder/", **query):
    headers = {"Accept": "text/event-stream", "Authorization": f"token {token}"}
    address = f"{hub.url}{prefix}build/{spec}"
    with requests.get(address, params=query, headers=headers, stream=True, timeout=240) as answer:
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
    configuration = (
        base
        + address
        + flag(state, git_server, index, version, trusted_repositories=["git/*"], cull_idle_after_seconds=3600)
    )
    with RunningHub(configuration, port=port, base_url="/jupyter/", python=str(PYTHONS[version])) as hub:
        token = hub.token_for("ana")
        events = list(stream(hub, token, spec))
        assert events[-1]["phase"] == "ready", (events[-1], hub.log[-3000:])
        assert urlsplit(events[-1]["url"]).path.startswith("/jupyter/user/ana/existing")
        session = Session(events[-1]["url"], events[-1]["token"])
        assert session.read("hello.txt") == "hello\n"
        assert (tmp_path / "homes" / "ana" / f"existing-{version}" / "hello.txt").exists()
        keeps_alive_in_a_browser(hub)
    with RunningHub(base, base_url="/jupyter/", python=str(PYTHONS[version])) as hub:
        token = hub.token_for("ana")
        headers = {"Authorization": f"token {token}"}
        assert requests.get(f"{hub.url}services/binder/", headers=headers, timeout=30).status_code == 404
        assert hub.api("GET", "/users/ana").json()["name"] == "ana"


def keeps_alive_in_a_browser(hub):
    """The Hub's home leads to my launches, which say when the idle session ends; a button moves that."""
    with hub.login_session("ana") as browser:
        home = browser.get(f"{hub.url}hub/home", timeout=30).text
        path = re.search(r'href="(/jupyter/services/binder/)"', home)[1]
        page = browser.get(f"{hub.url}{path.removeprefix('/jupyter/')}", timeout=30)
        assert "if it is not used" in page.text
        (server,) = re.findall(r'name="server" value="(existing[^"]*)"', page.text)[:1]
        xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page.text)[1]
        before = datetime.now(UTC)
        form = {"server": server, "_xsrf": xsrf}
        kept = browser.post(f"{page.url}sessions/keep", data=form, allow_redirects=False, timeout=30)
        assert (kept.status_code, kept.headers["location"]) == (303, path), kept.text
    used = hub.api("GET", "/users/ana").json()["servers"][server]["last_activity"]
    assert datetime.fromisoformat(used) >= before
    assert "Starting service 'launcher-idle-culler'" in hub.log


@pytest.mark.parametrize("version", HUBS)
def test_two_people_get_homes_of_their_own_and_unknown_code_gets_neither(version, tmp_path, git_server, index):
    require(version)
    name = f"unknown-{version}"
    make_repository(git_server.directory / name, {"hello.txt": "hello\n"})
    spec = git_spec(git_server.url(name), "main")
    homes = tmp_path / "homes"
    sizes = [{"name": "small", "memory": MEMORY, "cpus": 1.5}, {"name": "tiny", "memory": "64M"}]
    sizes += [{"name": "staff", "groups": ["staff"]}]
    configuration = own_spawner(homes) + flag(tmp_path / "state", git_server, index, version, machine_sizes=sizes)
    limited = version == "hub6" and {"memory", "cpu"} <= enforceable()
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
        again = list(stream(hub, hub.token_for("bob"), spec, size="tiny"))
        assert "Your running session keeps its machine size (small)" in "".join(event["message"] for event in again)
        refused = list(stream(hub, hub.token_for("bob"), spec, size="staff"))
        assert refused[-1]["code"] == "machine_size_not_allowed"
        if limited:
            assert session.run(TAKE_TOO_MUCH).split() == [str(MEMORY), "1.5", "-9"]
            assert len(groups_of(tmp_path / "state")) >= 2
            failed = list(stream(hub, hub.token_for("cy"), spec, size="tiny"))
            assert "needs more memory to start than it may use" in failed[-1]["message"]
        assert {path.parent.parent.parent.name for path in (tmp_path / "state").glob("projects/*/*/*/mine.txt")} == {
            "ana",
            "bob",
        }
    eventually(lambda: not groups_of(tmp_path / "state"), what="the end of the sessions' control groups")


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
