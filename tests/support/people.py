"""A hub with several people and the launcher on, for attacks; and what the operator would not like to see again."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.fixtures import require
from tests.support.git_server import commit, make_repository
from tests.support.hub import RunningHub, free_port
from tests.support.running import PYTHONS, SERVER_ENVIRONMENTS, Session, eventually, git_spec

CANARY = "canary-4f1c9d"
OPERATOR = {"DATABASE_PASSWORD": f"{CANARY}-database", "AWS_SECRET_ACCESS_KEY": f"{CANARY}-cloud"}
TICKET_SECRET = "5" * 64
EVENTS = {"Accept": "text/event-stream"}


class World:
    """A hub where everybody may log in, with the launcher on, and a git server to put harmful repositories on."""

    def __init__(self, hub, git_server, directory):
        self.hub, self.git_server, self.directory = hub, git_server, directory
        self.state, self.homes = directory / "state", directory / "homes"
        self.service = f"{hub.url}services/binder/"
        self.tokens = {}

    def repository(self, name, files=None, **more):
        path = self.git_server.directory / name
        if not path.exists():
            make_repository(path, files or {"hello.txt": "hello\n"})
            if more:
                commit(path, {}, **more)
        return git_spec(self.git_server.url(name), "main")

    def token(self, person):
        if person not in self.tokens:
            self.tokens[person] = self.hub.token_for(person)
        return self.tokens[person]

    def headers(self, person):
        return {"Authorization": f"token {self.token(person)}"}

    def as_person(self, person, method, path, **options):
        address = f"{self.hub.url}hub/api{path}"
        return requests.request(method, address, headers=self.headers(person), timeout=60, **options)

    def events(self, person, spec, **query):
        yield from self.told(person, f"{self.service}build/{spec}", **query)

    def told(self, person, address, **query):
        """The events of a stream, to the one that ends it."""
        headers = {**self.headers(person), **EVENTS}
        with requests.get(address, headers=headers, params=query, stream=True, timeout=240) as answer:
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    yield event
                    if event.get("phase") in {"ready", "failed"}:
                        return

    def launch(self, person, spec, **query):
        events = list(self.events(person, spec, **query))
        assert events, self.hub.log[-3000:]
        assert events[-1]["phase"] == "ready", (events[-1], self.hub.log[-3000:])
        return Session(events[-1]["url"], events[-1]["token"])

    def servers(self, person):
        model = self.hub.api("GET", f"/users/{person}", params={"include_stopped_servers": "1"}).json()
        return {name: server for name, server in model["servers"].items() if server["ready"] or server["pending"]}

    def stop(self, person, session):
        name = name_of(session)
        self.as_person(person, "DELETE", f"/users/{person}/servers/{name}")
        eventually(lambda: name not in self.servers(person), what="the end of the session")

    def builds(self):
        with sqlite3.connect(f"file:{self.state / 'launcher.sqlite'}?mode=ro", uri=True) as database:
            return database.execute("select count(*) from builds").fetchone()[0]


@contextlib.contextmanager
def people_hub(directory, git_server, index, *lines, base_url="/", **settings):
    """A hub with the launcher on and homes of its own; ``lines`` of configuration and ``settings`` of the launcher."""
    require("hub6")
    port = free_port()
    settings = {
        "state_directory": str(directory / "state"),
        "server_environment": str(SERVER_ENVIRONMENTS["hub6"]),
        "homes_directory": str(directory / "homes"),
        "index_url": index.url,
        "allow_hosts": [git_server.host, index.host],
        **settings,
    }
    configuration = [
        "c.JupyterHub.spawner_class = 'simple'",
        # On a busy machine: a start that fails after the Hub said "pending" loses its words.
        "c.JupyterHub.tornado_settings = {'slow_spawn_timeout': 60}",
        f"c.JupyterHub.public_url = 'http://127.0.0.1:{port}{base_url}'",
        *lines,
        "import launcher",
        f"launcher.enable(c, **{settings!r})",
    ]
    text = "\n".join(configuration) + "\n"
    with RunningHub(text, port=port, base_url=base_url, python=str(PYTHONS["hub6"])) as hub:
        yield World(hub, git_server, directory)


@pytest.fixture(scope="session")
def world(git_server, index, tmp_path_factory):
    before = {name: os.environ.get(name) for name in OPERATOR}
    os.environ.update(OPERATOR)
    try:
        with people_hub(tmp_path_factory.mktemp("security"), git_server, index, ticket_secret=TICKET_SECRET) as world:
            yield world
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]


def name_of(session):
    return urlsplit(session.url).path.rstrip("/").rpartition("/")[2]
