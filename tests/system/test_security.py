"""Code of strangers in running sessions: what it sees, reaches and leaves behind, on a hub with several people."""

import json
import sqlite3
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from tests.support.git_server import commit
from tests.support.people import CANARY, TICKET_SECRET, name_of

ASK = """
import json, os, urllib.request, urllib.error

class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None

def ask(method, url, body=None, token=os.environ["JUPYTERHUB_API_TOKEN"]):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"token {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, method=method, headers=headers, data=data)
    try:
        return urllib.request.build_opener(Stay).open(request, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
"""


@pytest.fixture(scope="module")
def ana(world):
    """A session of an unknown repository of ana, who has secrets in her own home; so has bob."""
    for person in ("ana", "bob"):
        (world.homes / person).mkdir(parents=True, exist_ok=True)
        (world.homes / person / "diary.txt").write_text(f"{CANARY}-{person}")
    return world.launch("ana", world.repository("unknown"))


@pytest.fixture(scope="module")
def bob(world, ana):
    """A session of bob with the same repository and the same environment."""
    return world.launch("bob", world.repository("unknown"))


# What the code of an unknown repository can see.


def test_unknown_code_finds_no_secret_and_no_other_home_anywhere(world, ana, bob):
    look = f"""
import os, pathlib, subprocess
found = []
needles = [{CANARY!r}.encode(), {TICKET_SECRET!r}.encode(), b"CONFIGPROXY_AUTH_TOKEN", b"LAUNCHER_SETTINGS"]
for process in filter(str.isdigit, os.listdir("/proc")):
    for part in ("environ", "cmdline"):
        try:
            data = pathlib.Path("/proc", process, part).read_bytes()
        except OSError:
            continue
        found += [f"/proc/{{process}}/{{part}}" for needle in needles if needle in data]
for root in ("/home", "/root", "/run", "/tmp", "/srv", "/etc", "/dev/shm", "/var", "/opt", {str(world.directory)!r}):
    done = subprocess.run(["grep", "-rlsa", {CANARY!r}, root], capture_output=True, text=True)
    found += [line for line in done.stdout.split() if "connection" not in line]
print(found)
for path in ({str(world.state)!r}, {str(world.homes)!r}, {str(world.hub._directory)!r}, "/var/lib", "/etc/shadow"):
    print(path, os.path.exists(path))
processes = [pathlib.Path("/proc", name, "cmdline").read_text() for name in os.listdir("/proc") if name.isdigit()]
print(len(processes), any("jupyterhub-singleuser" in line or "-m\\0jupyterhub" in line for line in processes))
"""
    (world.directory / "outside.txt").write_text(CANARY)
    first, *paths, processes = ana.run(look).splitlines()
    assert first == "[]"
    assert all(line.endswith("False") for line in paths), paths
    count, others = processes.split()
    assert int(count) < 8
    assert others == "False"


def test_a_session_writes_to_nothing_but_its_home_and_its_temporary_files(world, ana):
    attempt = """
import os
refused = []
places = "/usr /etc/ssl/certs /srv/launcher /srv/content /srv/environment/bin /srv/environment".split()
for path in [*places, os.sys.base_prefix]:
    for act in (lambda: open(path + "/planted", "w"), lambda: os.chmod(path, 0o777), lambda: os.utime(path)):
        try:
            act()
        except OSError as error:
            refused.append(error.errno)
        else:
            if not path.startswith("/home"):
                print("wrote", path)
print(len(refused) >= 18, os.path.ismount("/srv/environment"))
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.mount(b"none", b"/srv/environment", None, 32 | 4096, None), ctypes.get_errno() in (1, 22))
"""
    assert ana.run(attempt).splitlines() == ["True True", "-1 True"]


def test_other_environments_do_not_exist_for_a_session(world, ana):
    other = world.launch("bob", world.repository("other-environment", {"requirements.txt": "humanize\n"}))
    assert "humanize" in other.run("import humanize; print(humanize.__name__)")
    look = (
        "import importlib.util, glob; print(importlib.util.find_spec('humanize'), len(glob.glob('/srv/environment*/')))"
    )
    assert ana.run(look).split()[0] == "None"
    built = [path.name for path in (world.state / "environments").iterdir() if (path / "venv").is_dir()]
    mounts = ana.run("print(open('/proc/self/mountinfo').read())")
    assert len(built) >= 2
    assert sum(name in mounts for name in built) == 1


def test_the_token_of_a_session_reports_activity_and_opens_itself_and_can_do_nothing_else(world, ana, bob):
    own, hub = name_of(ana), world.hub.hub_api_url
    mine = world.launch("ana", world.repository("second-of-ana"))
    asked = {
        "its own user": ("GET", f"{hub}/user", None, {200}),
        "its activity": (
            "POST", f"{hub}/users/ana/activity", {"servers": {own: {"last_activity": "2026-01-01T00:00:00Z"}}}, {200},
        ),
        "itself": ("GET", f"{ana.url}api/status", None, {200}),
        "users": ("GET", f"{hub}/users", None, {403}),
        "bob": ("GET", f"{hub}/users/bob", None, {403, 404}),
        "bob's activity": ("POST", f"{hub}/users/bob/activity", {"servers": {}}, {403, 404}),
        "starting": ("POST", f"{hub}/users/ana/servers/x", {}, {403, 404}),
        "starting the default": ("POST", f"{hub}/users/ana/server", {}, {403, 404}),
        "stopping": ("DELETE", f"{hub}/users/ana/servers/{own}", None, {403, 404}),
        "a token": ("POST", f"{hub}/users/ana/tokens", {}, {403, 404}),
        "tokens": ("GET", f"{hub}/users/ana/tokens", None, {403, 404}),
        "services": ("GET", f"{hub}/services", None, {403}),
        "routes": ("GET", f"{hub}/proxy", None, {403}),
        "shares": ("POST", f"{hub}/shares/ana/{own}", {"user": "bob"}, {403, 404}),
        "another session of ana": ("GET", f"{mine.url}api/status", None, {403}),
        "bob's session": ("GET", f"{bob.url}api/status", None, {403}),
        "trust for itself": (
            "POST", f"{world.service}api/v1/launches", {"spec": world.repository("unknown"), "trust": True}, {403},
        ),
        "previews": ("GET", f"{world.service}api/v1/preview?spec={world.repository('unknown')}", None, {403}),
        "builds": ("GET", f"{world.service}api/v1/builds", None, {403}),
    }  # fmt: skip
    got = json.loads(
        ana.run(ASK + f"print(json.dumps([ask(*row) for row in {[row[:3] for row in asked.values()]!r}]))")
    )
    wrong = {what: code for (what, row), code in zip(asked.items(), got, strict=True) if code not in row[3]}
    assert not wrong
    with sqlite3.connect(f"file:{world.state / 'launcher.sqlite'}?mode=ro", uri=True) as database:
        assert database.execute("select count(*) from trust").fetchone()[0] == 0
    world.stop("ana", mine)


def test_the_inner_ports_give_nothing_to_a_session_without_a_token(world, ana, bob):
    hub = psutil.Process(world.hub._process.pid)
    family = [hub, *hub.children(recursive=True)]
    listening = {
        connection.laddr.port
        for process in family
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening) >= 6, "hub, proxy twice, service, two sessions"
    paths = ("/", "/api/routes", "/hub/api/users", "/services/binder/api/v1/builds")
    paths += tuple(
        f"{urlsplit(session.url).path}{path}" for session in (ana, bob) for path in ("api/contents", "api/kernels")
    )
    urls = [f"http://127.0.0.1:{port}{path}" for port in sorted(listening) for path in paths]
    got = json.loads(ana.run(ASK + f"print(json.dumps([ask('GET', url, None, None) for url in {urls!r}]))"))
    assert {url: code for url, code in zip(urls, got, strict=True) if code < 300} == {}


def test_a_cookie_or_token_of_one_person_does_not_open_the_session_of_another(world, ana, bob):
    """Both run the same environment: what is baked into it is the same for both."""
    assert requests.get(f"{ana.url}api/status", headers=ana.headers, timeout=30).status_code == 200
    assert requests.get(f"{bob.url}api/status", headers=ana.headers, timeout=30).status_code == 403
    with world.hub.login_session("ana") as browser:
        assert browser.get(f"{ana.url}api/contents", timeout=30).status_code in {200, 403}
        page = browser.get(f"{ana.url}lab", timeout=30)
        assert page.status_code == 200
        jar = {cookie.name: cookie.value for cookie in browser.cookies if "/user/" in cookie.path}
        assert jar
        renamed = {name.replace("-ana-", "-bob-"): value for name, value in jar.items()}
        for cookies in (jar, renamed):
            answer = requests.get(f"{bob.url}api/contents", cookies=cookies, timeout=30, allow_redirects=False)
            assert answer.status_code == 403
    secrets = [
        session.run("import glob,json; print(open(glob.glob('/tmp/launcher-*/runtime/jpserver-*.json')[0]).read())")
        for session in (ana, bob)
    ]
    assert json.loads(secrets[0]).get("token", "") in {"", None} or secrets[0] != secrets[1]


# Homes that somebody poisoned.


def test_what_one_repository_plants_in_a_home_does_not_run_in_the_session_of_another(world, git_server):
    plant = """
import os, pathlib, sys
home = pathlib.Path.home()
version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
code = "import pathlib; pathlib.Path.home().joinpath('ran-' + %r).write_text('x')\\n"
def put(path, name):
    path = home / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code % name)
put(".ipython/profile_default/startup/00.py", "startup")
put(".ipython/profile_default/ipython_config.py", "ipython_config")
put(".jupyter/jupyter_server_config.py", "server_config")
put(".jupyter/jupyter_config.py", "jupyter_config")
put(f".local/lib/{version}/site-packages/planted.pth", "pth")
put(f".local/lib/{version}/site-packages/sitecustomize.py", "sitecustomize")
put(f".local/lib/{version}/site-packages/usercustomize.py", "usercustomize")
put(".local/etc/jupyter/jupyter_server_config.py", "local_config")
put("jupyter_server_config.py", "home_config")
put(".pythonrc.py", "pythonrc")
kernel = home / ".local/share/jupyter/kernels/python3/kernel.json"
kernel.parent.mkdir(parents=True)
kernel.write_text('{"argv": ["/bin/sh", "-c", "touch ~/ran-kernel"], "display_name": "x", "language": "python"}')
(home / ".gitconfig").write_text("[core]\\n fsmonitor = touch ~/ran-gitconfig\\n hooksPath = /home/jovyan/hooks\\n")
"""
    for name in ("plants", "suffers"):
        body = {"spec": world.repository(name), "trust": True}
        answer = requests.post(f"{world.service}api/v1/launches", headers=world.headers("eve"), json=body, timeout=60)
        assert answer.status_code == 202, answer.text
    first = world.launch("eve", world.repository("plants"))
    first.run(plant)
    assert (world.homes / "eve" / ".ipython").is_dir(), "both have the person's own home"
    second = world.launch("eve", world.repository("suffers"))
    world.stop("eve", second)
    commit(git_server.directory / "suffers", {"new.txt": "new\n"})
    second = world.launch("eve", world.repository("suffers"))
    assert second.run("import subprocess, sys; subprocess.run([sys.executable, '-c', '']); print('alive')") == "alive\n"
    assert [path.name for path in (world.homes / "eve").glob("ran-*")] == []
    for session in (first, second):
        world.stop("eve", session)


def test_files_of_a_repository_do_not_run_in_our_server(world):
    files = {"jupyter_server_config.json": '{"ServerApp": {"allow_unauthenticated_access": true, "token": ""}}'}
    for name in ("jupyter_config", "jupyter_server_config", "jupyterhub", "jupyter_server", "tornado", "sitecustomize"):
        files[f"{name}.py"] = f"import pathlib; pathlib.Path('/tmp/ran-{name}').write_text('x')\n"
    session = world.launch("ana", world.repository("shadows", files))
    assert session.run("import glob; print(glob.glob('/tmp/ran-*'))") == "[]\n"
    assert requests.get(f"{session.url}api/status", timeout=30).status_code == 403
    world.stop("ana", session)


# Servers that let everybody in.

OWN_SERVER = """#!/usr/bin/python3
import http.server, json, os, socket
from urllib.parse import urlsplit

class Open(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        {answer}
        self.end_headers()

port = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"]).port
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Open)
with socket.socket(socket.AF_UNIX) as voice:
    voice.connect("/run/launcher/voice")
    voice.sendall(json.dumps({{"ready": True}}).encode() + b"\\n")
server.serve_forever()
"""
NO_LOGIN = """#!/bin/bash
mkdir /tmp/settings
cat > /tmp/settings/jupyter_server_config.py <<'END'
from jupyter_server.auth.identity import User
from jupyterhub.singleuser.extension import JupyterHubIdentityProvider
async def get_user(self, handler):
    return User("everybody")
JupyterHubIdentityProvider.get_user = get_user
END
export JUPYTER_CONFIG_PATH="$JUPYTER_CONFIG_PATH:/tmp/settings"
exec "$@"
"""


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("answers-200", OWN_SERVER.format(answer="self.send_response(200)")),
        ("opens-websockets", OWN_SERVER.format(answer='self.send_response(101 if "Upgrade" in self.headers else 403)')),
        (
            "own-login",
            OWN_SERVER.format(answer='self.send_response(302); self.send_header("Location", "/user/x/login")'),
        ),
        ("no-login", NO_LOGIN),
    ],
)
def test_a_server_that_lets_strangers_in_is_stopped_and_the_person_is_told(world, name, start):
    spec = world.repository(f"start-{name}", {"start": start})
    *_, last = world.events("ana", spec)
    assert last["phase"] == "failed", last
    assert last["code"] == "session_start_failed"
    assert "without a login" in last["message"]
    assert not [server for server in world.servers("ana") if server.startswith("start-")]
    assert not [
        process
        for process in psutil.Process(world.hub._process.pid).children(recursive=True)
        if f"start-{name}" in " ".join(process.cmdline())
    ]
