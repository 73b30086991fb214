"""What is mine: sessions of a real Hub, rows of a real store, files in real directories."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
import requests

from launcher.hub.homes import project_directory
from launcher.models import HomeKind, RepositoryId, Resolved, ServerName, Spec, Username
from launcher.policy.trust import TrustPolicy
from launcher.sessions.names import project_name, server_name
from tests.http.test_api import error_of
from tests.http.test_builds import store
from tests.support import examples
from tests.support.running import eventually

__all__ = ["store"]

ALICE = Username("alice")


def resolved(web, name: str) -> Resolved:
    """A repository as the sources behind the web see it."""
    spec = Spec("gh", f"org/{name}/main")
    repository = web.sources.repository(spec)
    return Resolved(spec, repository, examples.COMMIT, None, f"gh/org/{name}/{examples.COMMIT}", "https://example.org/")


def launched(web, name: str, *, user: Username = ALICE, home: HomeKind = HomeKind.PROJECT) -> ServerName:
    """Remember a launch as launches do; the name of its server."""
    found = resolved(web, name)
    server = server_name(found.repository)
    web.store.save_session(user, server, found, environment_key=examples.key(), home=home)
    return server


def project_home(web, name: str, *, user: Username = ALICE) -> Path:
    """The project home of a repository, made."""
    path = project_directory(web.projects, user, project_name(resolved(web, name).repository))
    path.mkdir(parents=True)
    return path


@pytest.fixture
def running(hub, store):
    """Starts servers of people; they are stopped in the end."""
    started = []

    def _running(user: str, server: str) -> None:
        path = f"/users/{user}/servers/{server}"
        started.append(path)
        hub.api("POST", f"/users/{user}")
        hub.api("POST", path)
        eventually(lambda: server in servers_of(hub, user), what="the session")

    _running.hub = hub  # type: ignore[attr-defined]
    yield _running
    for path in started:
        hub.api("DELETE", path)


def servers_of(hub, user: str) -> set[str]:
    model = hub.api("GET", f"/users/{user}").json()
    return {name for name, server in model["servers"].items() if server["ready"]}


def names_in(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name.partition("/")[2]: member for member in tar.getmembers()}


def test_sessions_that_run_are_listed_with_their_repository(web, base, api, running):
    mine = launched(web, "notes")
    launched(web, "stopped")
    running("alice", mine)
    running("alice", "")
    running("bob", mine)
    sessions = {one["server_name"]: one for one in api.get(f"{base}/api/v1/sessions", timeout=20).json()["sessions"]}
    assert set(sessions) == {mine, ""}
    assert sessions[mine]["state"] == "ready"
    assert sessions[mine]["url"] == f"/user/alice/{mine}/"
    assert (sessions[mine]["name"], sessions[mine]["home"]) == ("org/notes/main", "project")
    assert sessions[mine]["environment"] == examples.key()
    assert sessions[mine]["started"]
    assert (sessions[""]["name"], sessions[""]["repository"]) == (None, None)


@pytest.mark.parametrize("regular", [False, True])
def test_a_session_is_stopped_with_the_visitors_own_token(web, api, running, regular):
    base, hub = f"{running.hub.url}services/binder", running.hub
    server = "" if regular else launched(web, "notes")
    running("alice", server)
    running("bob", server)
    assert api.delete(f"{base}/api/v1/sessions/{server}", timeout=30).status_code == 204
    eventually(lambda: server not in servers_of(hub, "alice"), what="the end of the session")
    assert server in servers_of(hub, "bob"), "somebody else's of the same name"
    assert error_of(api.delete(f"{base}/api/v1/sessions/{server}", timeout=20), 404)["code"] == "session_not_found"


def test_a_token_that_may_not_see_servers_is_told_so(store, base, hub):
    token = hub.token_for("alice", scopes=["access:services!service=binder", "read:users:name!user"])
    answer = requests.get(f"{base}/api/v1/sessions", headers={"Authorization": f"token {token}"}, timeout=20)
    error_of(answer, 503)


def test_repositories_say_trust_home_and_whether_they_run(web, base, api, running):
    web.policy = TrustPolicy(trusted=("gh/org/official*",))
    web.fresh()
    mine, unknown, official = (launched(web, name) for name in ("mine", "unknown", "official"))
    web.store.trust_repository(ALICE, resolved(web, "mine").repository.id)
    web.store.trust_repository(ALICE, RepositoryId("gh:github.com/org/only%20trusted"))
    launched(web, "bobs", user=Username("bob"))
    (project_home(web, "unknown") / "notes.txt").write_bytes(b"x" * 5000)
    running("alice", mine)
    found = api.get(f"{base}/api/v1/repositories", timeout=20).json()["repositories"]
    assert [one["name"] for one in found] == [
        "org/official/main",
        "org/unknown/main",
        "org/mine/main",
        "org/only trusted",
    ]
    by_server = {one["server_name"]: one for one in found}
    assert [by_server[name]["trust"] for name in (official, unknown, mine)] == ["trusted", "unknown", "mine"]
    assert [by_server[name]["running"] for name in (official, unknown, mine)] == [False, False, True]
    assert by_server[mine]["project_home"] is None
    home = by_server[unknown]["project_home"]
    assert (home["files"], home["complete"]) == (1, True)
    assert home["size_bytes"] >= 5000
    assert (by_server[unknown]["spec"], by_server[unknown]["ref"]) == ("gh/org/unknown/main", examples.COMMIT)
    assert by_server[None]["trust"] == "mine"


def test_trust_can_be_taken_back_and_only_ones_own(store, web, base, api):
    identity = resolved(web, "mine").repository.id
    for user in (ALICE, Username("bob")):
        store.trust_repository(user, identity)
    for _ in range(2):
        answer = api.delete(f"{base}/api/v1/trust", params={"repository": identity}, timeout=20)
        assert answer.status_code == 204
    assert not store.is_mine(ALICE, identity)
    assert store.is_mine(Username("bob"), identity)
    error_of(api.delete(f"{base}/api/v1/trust", timeout=20), 400)


class TestProjectHomes:
    def test_an_archive_holds_every_file_and_follows_no_link(self, store, web, base, api, tmp_path):
        server = launched(web, "notes")
        home = project_home(web, "notes")
        (tmp_path / "secret").write_text("a secret of the machine")
        (home / "results").mkdir()
        (home / "results" / "a b.txt").write_text("mine")
        (home / "leak").symlink_to(tmp_path / "secret")
        (home / "leaks").symlink_to(tmp_path)
        os.mkfifo(home / "pipe")
        answer = api.get(f"{base}/api/v1/project-homes/{server}/archive", timeout=20)
        assert answer.headers["content-disposition"] == f'attachment; filename="{server}.tar.gz"'
        assert answer.headers["x-content-type-options"] == "nosniff"
        found = names_in(answer.content)
        assert set(found) == {"", "results", "results/a b.txt", "leak", "leaks", "pipe"}
        assert found["leak"].issym()
        assert found["leaks"].issym()
        assert b"a secret of the machine" not in answer.content
        size = api.get(f"{base}/api/v1/project-homes/{server}", timeout=20).json()["project_home"]
        assert (size["files"], size["complete"], size["name"]) == (1, True, "org/notes/main")

    def test_deleting_takes_all_of_it_and_nothing_else(self, store, web, base, api, tmp_path):
        server = launched(web, "notes")
        home, bobs = project_home(web, "notes"), project_home(web, "notes", user=Username("bob"))
        (tmp_path / "kept").write_text("not in the home")
        (home / "closed").mkdir()
        (home / "closed" / "file").write_text("x")
        (home / "closed").chmod(0)
        (home / "link").symlink_to(tmp_path)
        assert api.delete(f"{base}/api/v1/project-homes/{server}", timeout=20).status_code == 204
        assert not home.exists()
        assert list(home.parent.iterdir()) == [], "nothing is left behind"
        assert bobs.is_dir()
        assert (tmp_path / "kept").read_text() == "not in the home"
        for method, path in (("DELETE", ""), ("GET", ""), ("GET", "/archive")):
            answer = api.request(method, f"{base}/api/v1/project-homes/{server}{path}", timeout=20)
            assert error_of(answer, 404)["code"] == "not_found"

    def test_it_is_not_deleted_while_its_session_runs(self, store, web, base, api, running):
        server = launched(web, "notes")
        home = project_home(web, "notes")
        running("alice", server)
        error = error_of(api.delete(f"{base}/api/v1/project-homes/{server}", timeout=20), 409)
        assert error["code"] == "home_in_use"
        assert home.is_dir()

    @pytest.mark.parametrize("server", ["nobody-abc", "..", "%2e%2e", "a%2fb", "."])
    def test_names_that_are_no_launch_of_mine_are_not_found(self, store, web, direct, api, server):
        launched(web, "notes", user=Username("bob"))
        project_home(web, "notes", user=Username("bob"))
        request = requests.Request("DELETE", "http://x/", headers=dict(api.headers)).prepare()
        bobs = server_name(resolved(web, "notes").repository)
        for name in (server, bobs):
            request.url = f"{direct}/api/v1/project-homes/{name}"
            assert requests.Session().send(request, timeout=20).status_code == 404
        assert len(list(web.projects.glob("bob/*"))) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "sessions"),
        ("GET", "repositories"),
        ("DELETE", "sessions/notes"),
        ("DELETE", "trust?repository=gh:github.com/u/r"),
        ("GET", "project-homes/notes"),
        ("GET", "project-homes/notes/archive"),
        ("DELETE", "project-homes/notes"),
    ],
)
def test_a_cookie_opens_none_of_it_because_sessions_share_its_origin(base, browser, method, path):
    error = error_of(browser.request(method, f"{base}/api/v1/{path}", timeout=20), 403)
    assert error["code"] == ("login_required" if method == "GET" else "cross_site_refused")


@pytest.fixture(autouse=True)
def _as_it_was(web):
    """Without files and patterns of the test before."""
    import shutil

    yield
    shutil.rmtree(web.projects, ignore_errors=True)
    web.policy = TrustPolicy()
