"""Environments go when nobody uses them and come back with a click; on a full disk builds wait and say so."""

from __future__ import annotations

import json
import subprocess

import requests

from tests.support.fixtures import on_one_hub
from tests.support.git_server import make_repository
from tests.support.running import eventually, git_spec, launcher_command, launcher_environment


def command(up, *arguments: str) -> str:
    """What ``launcher environments`` says beside the running launcher."""
    argv = launcher_command("hub6", "environments", *arguments, "--state", str(up.state))
    return subprocess.run(
        argv, env=launcher_environment("hub6"), check=True, capture_output=True, text=True, timeout=60
    ).stdout


def rebuild(up, key: str) -> None:
    """Have an environment made anew, and wait for that."""
    asked = requests.post(f"{up.service}api/v1/environments/{key}/rebuild", headers=up.headers, timeout=30)
    assert asked.status_code == 202, asked.text
    build = f"{up.service}api/v1/builds/{asked.json()['build']['id']}"

    def status() -> str:
        return requests.get(build, headers=up.headers, timeout=30).json()["build"]["status"]

    eventually(lambda: status() not in {"waiting", "running"}, seconds=120, what="the end of the build")
    assert status() == "succeeded"


@on_one_hub
def test_an_environment_is_kept_for_its_session_removed_built_again_by_a_click_and_made_anew(up, git_server):
    spec = git_spec(git_server.url("retention"), "main")
    # No other test has this package: an environment that two repositories share would stay for the other one.
    make_repository(git_server.directory / "retention", {"requirements.txt": "json5\n"})
    session, _ = up.launch(spec)
    (row,) = json.loads(command(up, "list", "--json", "--search", "retention"))
    assert row["in_use"]
    assert row["own_bytes"] > 0
    address = f"{up.service}api/v1/environments/{row['key']}"
    refused = requests.delete(address, headers=up.headers, timeout=30)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "environment_in_use")
    assert session.run("import json5; print('there')") == "there\n"
    up.stop_sessions()
    # An admin's program may ask again at once: the ticket of the start is good for some seconds more.
    eventually(lambda: requests.delete(address, headers=up.headers, timeout=30).status_code == 204, what="the removal")
    assert not (up.state / "environments" / row["reference"]).exists()
    session, events = up.launch(spec)
    assert any(event.get("phase") == "building" for event in events)
    assert session.run("import json5; print('again')") == "again\n"

    rebuild(up, row["key"])
    (anew,) = json.loads(command(up, "list", "--json", "--search", "retention"))
    assert (anew["status"], anew["key"]) == ("ready", row["key"])
    assert anew["reference"] != row["reference"]
    assert session.run("import json5; print('goes on')") == "goes on\n", "with the old one"
    up.stop_sessions()
    session, events = up.launch(spec)
    assert not any(event.get("phase") == "building" for event in events)
    assert session.run("import json5; print('anew')") == "anew\n"
    up.stop_sessions()


def test_on_a_full_disk_builds_wait_and_say_why(start, git_server, tmp_path):
    make_repository(git_server.directory / "full", {"requirements.txt": "traitlets\n"})
    config = tmp_path / "full.py"
    config.write_text("c.Launcher.disk_min_free_bytes = 2**60\n")  # no disk has that
    with start(tmp_path / "state", "--config", str(config)) as up:
        said = next(event for event in up.stream(git_spec(git_server.url("full"), "main")) if "build_id" in event)
        assert (said["phase"], said["queue_position"]) == ("waiting", 0)
        assert "disk of this hub is nearly full" in said["message"]
