""" "With Dask" for several people on one hub: who gets it, who is told why not, and what is built for whom."""

from __future__ import annotations

import json

import pytest
import requests

from launcher.sessions.launch import STARTED_WITHOUT_DASK
from tests.support.people import World, people_hub
from tests.support.running import Session

SCOPE = "access:services!service=dask-gateway"
NO_GROUP = "Your groups on this hub have no Dask."
UNKNOWN = "Repositories you did not say you trust get no Dask."
SCOPES = """
import json, os, urllib.request
ask = urllib.request.Request(
    os.environ["JUPYTERHUB_API_URL"] + "/user",
    headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]},
)
print(json.dumps(json.load(urllib.request.urlopen(ask))["scopes"]))
"""
HAS_DASK = "import importlib.util; print(importlib.util.find_spec('dask_gateway') is not None)"


@pytest.fixture(scope="module")
def course(git_server, index, tmp_path_factory):
    """A hub on which Dask is for the members of ``course``: alice is one, bob is not."""
    lines = ("c.JupyterHub.load_groups = {'course': {'users': ['alice']}}", "c.LauncherDask.groups = ['course']")
    settings = {"trusted_repositories": ["git/*/trusted-*"], "dask": True}
    with people_hub(tmp_path_factory.mktemp("course"), git_server, index, *lines, **settings) as world:
        yield world


def told(events: list[dict]) -> list[str]:
    return [event["message"].strip() for event in events]


def launched(world: World, person: str, spec: str, **query: str) -> tuple[Session, list[dict]]:
    events = list(world.events(person, spec, **query))
    assert events[-1]["phase"] == "ready", events[-1]
    return Session(events[-1]["url"], events[-1]["token"]), events


def preview(world: World, person: str, spec: str, **query: str) -> dict:
    answer = requests.get(
        f"{world.service}api/v1/preview", params={"spec": spec, **query}, headers=world.headers(person), timeout=60
    )
    return answer.json()["preview"]


def test_a_member_gets_dask_in_a_trusted_repository_when_asking_for_it(course):
    spec = course.repository("trusted-choice", {"requirements.txt": "humanize\n"})
    plain, chosen = preview(course, "alice", spec), preview(course, "alice", spec, dask="1")
    assert (plain["dask"], plain["dask_reason"]) == ("yes", "")
    assert plain["environment"] != chosen["environment"], "the key says so"
    session, events = launched(course, "alice", spec)
    assert session.run(HAS_DASK).strip() == "False"
    _, again = launched(course, "alice", spec, dask="1")
    assert STARTED_WITHOUT_DASK in told(again), "the running session is opened as it is"
    _, without = launched(course, "alice", spec)
    assert STARTED_WITHOUT_DASK not in told(without)
    course.stop("alice", session)

    session, events = launched(course, "alice", spec, dask="1")
    assert session.run(HAS_DASK).strip() == "True"
    assert SCOPE in json.loads(session.run(SCOPES))
    assert not {NO_GROUP, UNKNOWN} & set(told(events))
    _, again = launched(course, "alice", spec, dask="1")
    assert STARTED_WITHOUT_DASK not in told(again)
    course.stop("alice", session)


def test_somebody_outside_the_group_is_told_before_the_session_starts(course):
    spec = course.repository("trusted-outside", {"requirements.txt": "humanize\n"})
    plain, chosen = preview(course, "bob", spec), preview(course, "bob", spec, dask="1")
    assert (plain["dask"], plain["dask_reason"]) == ("no", NO_GROUP)
    assert plain["environment"] == chosen["environment"], "nothing is built for who cannot use it"
    session, events = launched(course, "bob", spec, dask="1")
    words = told(events)
    assert words.index(NO_GROUP) < words.index("Launching server...")
    assert SCOPE not in json.loads(session.run(SCOPES))
    assert session.run(HAS_DASK).strip() == "False"
    _, again = launched(course, "bob", spec, dask="1")
    assert NO_GROUP in told(again)
    course.stop("bob", session)


def test_an_unknown_repository_gets_no_dask_until_it_is_trusted(course):
    spec = course.repository("unknown-choice", {"hello.txt": "hello\n"})
    assert (preview(course, "alice", spec)["dask_reason"]) == UNKNOWN
    session, events = launched(course, "alice", spec, dask="1")
    words = told(events)
    assert words.index(UNKNOWN) < words.index("Launching server...")
    assert SCOPE not in json.loads(session.run(SCOPES))
    assert session.run(HAS_DASK).strip() == "False"
    course.stop("alice", session)

    body = {"spec": spec, "trust": True, "dask": True}
    answer = requests.post(
        f"{course.service}api/v1/launches", json=body, headers=course.headers("alice"), timeout=120
    ).json()
    assert answer["launch"]["events_url"].endswith("?dask=1")
    session, events = launched(course, "alice", spec, dask="1")
    assert session.run(HAS_DASK).strip() == "True"
    assert SCOPE in json.loads(session.run(SCOPES))
    course.stop("alice", session)


@pytest.mark.parametrize(("person", "may"), [("alice", True), ("bob", False)])
def test_the_page_in_a_browser_knows_who_is_in_the_group(course, person, may):
    """The login asks for the right to Dask too; who lacks it logs in all the same."""
    spec = course.repository("unknown-page", {"hello.txt": "hello\n"})
    with course.hub.login_session(person) as browser:
        page = browser.get(f"{course.service}v2/{spec}", timeout=60)
    assert page.status_code == 200
    assert ('type="checkbox" id="dask"' in page.text) is may
    assert (f"<dt>Dask</dt><dd>{UNKNOWN if may else NO_GROUP}</dd>") in page.text


def test_a_recipe_that_asks_for_dask_needs_no_choice(course):
    asks = {"requirements.txt": "dask==2024.8.0\n"}
    spec = course.repository("trusted-asks", asks)
    session, _ = launched(course, "alice", spec)
    code = "import dask_gateway, distributed; print(distributed.__version__)"
    assert session.run(code).strip() == "2024.8.0"
    course.stop("alice", session)


def test_versions_that_cannot_work_end_the_launch_with_a_sentence(course):
    pins = {"requirements.txt": "dask==2024.8.0\ndistributed==2026.8.0\n"}
    spec = course.repository("trusted-pins", pins)
    last = list(course.events("alice", spec))[-1]
    assert (last["phase"], last["code"]) == ("failed", "build_failed")
    assert "do not fit together with Dask" in last["message"]
    assert "requirements.txt line 1 or requirements.txt line 2" in last["hint"]
