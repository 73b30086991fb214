"""The container runtime as people have it: one hub, one environment, and what its sessions can and cannot do."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from launcher.engine.base import ContainerOrder, ImageConfig
from launcher.engine.client import Engine
from launcher.engine.find import EngineAddress
from launcher.engine.labels import KIND, STATE, Kind, ours
from launcher.engine.sockets import UNIX, why_silent
from launcher.hub.records import SessionRecords
from tests.support.engine import base_image, container_engine
from tests.support.git_server import commit
from tests.support.people import CANARY, name_of, people_hub
from tests.support.running import Session, eventually
from tests.support.wheels import project
from tests.system.test_security import NO_LOGIN

__all__ = ["base_image", "container_engine"]

MEMORY = 450 * 2**20
FILES = {"requirements.txt": "humanize\n", "data.txt": "one\n"}


class Service:
    """An engine's API that can be killed: one more service of the tests' podman, on the same storage."""

    def __init__(self, address, directory):
        self._variables = address.own.variables()
        self.socket = directory / "podman.sock"
        self.url = f"{UNIX}{self.socket}"
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        command = ["podman", "system", "service", "--time=0", self.url]
        self._process = subprocess.Popen(
            command,
            env=self._variables,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(lambda: not why_silent(self.socket), what="the engine")

    def kill(self):
        self._process.kill()
        self._process.wait()

    def ask(self, question):
        async def ask():
            async with Engine(EngineAddress(self.url, "the tests' engine")) as engine:
                return await question(engine)

        return asyncio.run(ask())

    def containers(self, world):
        return self.ask(lambda engine: engine.containers(ours(world.state, Kind.SESSION)))


@pytest.fixture(scope="module")
def service(container_engine, base_image, tmp_path_factory):
    found = Service(container_engine, tmp_path_factory.mktemp("engine"))
    yield found
    found.kill()


@pytest.fixture(scope="module")
def world(service, base_image, git_server, index, tmp_path_factory):
    lines = (
        f"c.LauncherContainers.engine = {service.url!r}",
        "c.LauncherContainers.allowed_images = ['localhost/allowed/*']",
        "c.LauncherContainers.session_network = 'internet'",
        f"c.Launcher.machine_sizes = [{{'name': 'only', 'memory': {MEMORY}, 'cpus': 1.5}}]",
        f"c.Spawner.mem_limit = {MEMORY // 2}",  # a machine size says otherwise
        "c.LauncherContainers.session_processes = 300",
        "c.Spawner.poll_interval = 1",
    )
    directory = tmp_path_factory.mktemp("containers")
    with people_hub(directory, git_server, index, *lines, runtime="container") as world:
        yield world
    assert not service.containers(world), "the hub ends its sessions when it is asked to end"


@pytest.fixture(scope="module")
def ana(world):
    """A session of ana, whose environment is built for all tests here."""
    return world.launch("ana", world.repository("shared", FILES), trust="true")


@pytest.fixture(scope="module")
def bob(world, ana):
    """Another person's session of the same repository."""
    (world.homes / "bob").mkdir(parents=True, exist_ok=True)
    (world.homes / "bob" / "diary.txt").write_text(CANARY)
    return world.launch("bob", world.repository("shared"))


def refuses_strangers(session):
    """Whether nobody comes in without the hub's login: not with a token that an image brings, either."""
    path = f"{session.url}api/contents?token=baked-in-token"
    found = [
        requests.get(path, headers=credential, timeout=30, allow_redirects=False).status_code
        for credential in ({"Authorization": "token baked-in-token"}, {})
    ]
    return set(found) <= {302, 403}


def record_of(world, person, session):
    return SessionRecords(world.state).get(person, name_of(session))


def relays_of(run):
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("inside/relay.py") for word in words) and run in words[-1]:
            found.append(process)
    return found


def test_a_click_builds_and_edits_survive_a_restart_and_a_new_commit_that_builds_nothing(world, ana):
    assert "k" in ana.run("import humanize; print(humanize.metric(1000))")
    ana.write("data.txt", "mine\n")
    world.stop("ana", ana)
    commit(world.git_server.directory / "shared", {"README.md": "new\n"})
    builds = world.builds()
    again = world.launch("ana", world.repository("shared"))
    assert (again.read("data.txt"), again.read("README.md")) == ("mine\n", "new\n")
    assert world.builds() == builds


LOOK = f"""
import json, os, pathlib, socket, stat, subprocess
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def writes(path):
    try:
        open(f"{{path}}/planted", "w").close()
        return True
    except OSError:
        return False
def sees(name):
    return bool(run("grep", "-rlsa", name, "/home", "/run", "/tmp", "/srv/content"))
def run(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout
sockets = []
for root, _, names in os.walk("/run"):
    sockets += [os.path.join(root, name) for name in names if stat.S_ISSOCK(os.lstat(os.path.join(root, name)).st_mode)]
print(json.dumps({{
    "user": [os.getuid(), os.getgid()],
    "capabilities": [status[name].strip() for name in ("CapEff", "CapBnd", "CapPrm")],
    "no new privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "routes": open("/proc/net/route").read().splitlines()[1:],
    "written": [p for p in ("/", "/usr/bin", "/etc", "/srv/environment", "/srv/server", "/srv/launcher", "/srv/content",
                            "/run/doors") if writes(p)],
    "setuid": run("find", "/", "-xdev", "-perm", "/6000", "-type", "f"),
    "sockets": sorted(sockets),
    "others": sees({CANARY!r}),
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "devices": [name for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat("/dev/" + name).st_mode)],
}}))
"""


def test_a_session_has_no_network_no_privilege_and_nothing_of_others(world, ana, bob):
    found = json.loads(ana.run(LOOK))
    assert found.pop("processes") < 12
    assert found == {
        "user": [1000, 1000],
        "capabilities": ["0" * 16] * 3,
        "no new privileges": "1",
        "seccomp": "2",
        "interfaces": ["lo"],
        "routes": [],
        "written": [],
        "setuid": "",
        "sockets": ["/run/doors/hub", "/run/doors/internet", "/run/launcher/server"],
        "others": False,
        "devices": [],
    }


def test_a_session_reaches_hub_and_public_addresses_only(world, ana, bob, index):
    private = record_of(world, "bob", bob)
    assert private is not None
    (way_in, _), *_ = json.loads((Path(private.run_directory) / "relay.json").read_text())["routes"]
    neighbour = int(way_in.rpartition(":")[2])
    code = f"""
import json, os, socket, urllib.error, urllib.request
def get(url):
    try:
        return urllib.request.urlopen(url, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__
def direct(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False
proxy = os.environ["HTTP_PROXY"]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "hub.invalid"  # ask the proxy for loopback too
print(json.dumps([
    get({index.url.rstrip("/") + "/humanize/"!r}), get("http://127.0.0.1:{neighbour}/"), get("http://169.254.169.254/latest/meta-data"),
    get("http://10.88.0.1/"), get("http://[::1]:{neighbour}/"), get(os.environ["JUPYTERHUB_API_URL"] + "/"),
    direct({neighbour}), direct({urlsplit(index.url).port}), direct({world.hub.port}), direct({world.hub.hub_port}),
]))
"""
    allowed, *refused = json.loads(ana.run(code))
    assert allowed == 200
    assert refused == [403, 403, 403, 403, 403, False, False, False, True]


def test_too_much_memory_ends_what_took_it_and_nothing_else(world, ana, bob):
    hungry = f"""
import subprocess, sys
done = subprocess.run([sys.executable, "-c", "b = bytearray(b'x') * {2 * MEMORY}; print(len(b))"], capture_output=True)
print(done.returncode)
"""
    assert ana.run(hungry) == "-9\n"
    told = "import os; print(os.environ['MEM_LIMIT'], os.environ['CPU_LIMIT'])"
    assert ana.run(told).split() == [str(MEMORY), "1.5"]
    assert bob.run("print(1)") == "1\n"


def test_too_many_processes_are_refused(world, ana):
    many = """
import threading
done = threading.Event()
try:
    for started in range(1000):
        threading.Thread(target=done.wait).start()
except RuntimeError as error:
    print(error)
done.set()
"""
    assert "can't start new thread" in ana.run(many)


# What people's repositories bring.

DOCKERFILE = r"""FROM localhost/launcher/base
USER root
ENV PATH=/srv/server/bin:$PATH GREETING="hello you" JUPYTER_TOKEN=baked-in-token
WORKDIR /opt/app
COPY data.txt ./
RUN echo "made by $(whoami)" > made.txt \
 && echo "WORD = 'left'" > "$(python3 -c 'import site; print(site.getsitepackages()[0])')/left_by_run.py"
ENTRYPOINT ["/bin/false"]
CMD ["jupyter", "lab", "--ServerApp.token="]
"""


def test_a_session_of_a_dockerfile_has_its_files_and_variables_and_the_hubs_login(world, service):
    session = world.launch("dora", world.repository("docker", {"Dockerfile": DOCKERFILE, "data.txt": "one\n"}))
    code = """
import os, pathlib, sys, left_by_run
made = [pathlib.Path("/opt/app", name).read_text() for name in ("made.txt", "data.txt")]
baked = [name for name, value in os.environ.items() if "baked-in" in value]
print([left_by_run.WORD, *made, os.environ["GREETING"], os.getuid(), os.path.realpath(os.curdir), baked])
"""
    home = "/home/jovyan/docker"
    assert session.run(code) == f"{['left', 'made by root' + chr(10), 'one' + chr(10), 'hello you', 1000, home, []]}\n"
    assert session.read("data.txt") == "one\n"
    assert refuses_strangers(session)
    world.stop("dora", session)


def test_a_project_that_is_installed_editable_is_the_sessions_own_copy(world, service):
    files = {"requirements.txt": "-e .\n", **project("mine")}
    session = world.launch("dora", world.repository("editable", files))
    assert session.run("import mine; print(mine.__file__)") == "/home/jovyan/editable/mine.py\n"
    world.stop("dora", session)


# What images could do.


@pytest.fixture(scope="module")
def other_images(world, service, base_image):
    """Images that an operator could allow: one with a login's variables baked in, and one without a server."""
    variables = {"JUPYTERHUB_API_TOKEN": "baked-in-token", "JUPYTER_TOKEN": "baked-in-token", "JPY_COOKIE_SECRET": "b"}

    async def make(engine):
        order = ContainerOrder(image=base_image, command=("true",), labels={STATE: "", KIND: Kind.SESSION.value})
        container = await engine.create(order)
        for name, environment in {
            "localhost/allowed/baked:1": {"PATH": "/srv/server/bin:/usr/bin:/bin", **variables},
            "localhost/allowed/plain:1": {"PATH": "/usr/bin:/bin"},
            "localhost/forbidden/baked:1": {"PATH": "/srv/server/bin:/usr/bin:/bin"},
        }.items():
            await engine.commit(container, name, ImageConfig(environment=environment))
        await engine.remove(container)

    service.ask(make)


def start(world, person, server, image):
    return world.as_person(person, "POST", f"/users/{person}/servers/{server}", json={"image": image})


def test_secrets_that_are_baked_into_an_image_open_nothing(world, other_images):
    answer = start(world, "carl", "baked", "localhost/allowed/baked:1")
    assert answer.status_code == 201, answer.text
    session = Session(f"{world.hub.url}user/carl/baked/", world.token("carl"))
    code = "import os; print([name for name, value in os.environ.items() if 'baked-in' in value])"
    assert session.run(code) == "[]\n"
    assert refuses_strangers(session)
    world.stop("carl", session)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("localhost/forbidden/baked:1", "does not allow that image"),
        ("localhost/allowed/missing:1", "not on the hub's machine"),
        ("localhost/allowed/plain:1", "ended before it was ready"),
        ("localhost/allowed/../forbidden/baked:1", "does not allow that image"),
    ],
)
def test_an_image_that_may_not_or_cannot_be_a_session_is_refused_in_words(world, service, other_images, image, words):
    answer = start(world, "carl", "refused", image)
    assert answer.status_code >= 400, answer.text
    assert words in answer.json()["message"]
    eventually(lambda: "carl" not in people_of(service, world), what="the end of the container")


def test_a_server_that_lets_strangers_in_is_stopped(world, ana, service):
    *_, last = world.events("ana", world.repository("open", {**FILES, "start": NO_LOGIN}))
    assert (last["phase"], last["code"]) == ("failed", "session_start_failed"), last
    assert "without a login" in last["message"]
    assert [name for name in world.servers("ana") if name.startswith("open")] == []


# What a crash leaves.


def people_of(service, world):
    """Who has a container now."""
    return sorted(container.labels["launcher.user"] for container in service.containers(world))


def test_sessions_outlive_hub_relay_and_engine_and_are_found_again(world, service, bob):
    (before,) = (one for one in service.containers(world) if one.labels["launcher.user"] == "bob")
    run = record_of(world, "bob", bob).run_directory
    service.kill()
    bob.write("notes.txt", "kept\n")  # nothing that runs needs the engine's service
    os.kill(world.hub._process.pid, signal.SIGKILL)
    world.hub._process.wait()
    for relay in relays_of(run):
        relay.kill()
    service.start()
    world.hub.start()
    eventually(lambda: bob.get("api/status").status_code == 200, what="the session, by a new relay")
    assert bob.read("notes.txt") == "kept\n"
    (after,) = (one for one in service.containers(world) if one.labels["launcher.user"] == "bob")
    assert (after.id, after.pid) == (before.id, before.pid)
    assert world.launch("bob", world.repository("shared")).url == bob.url


def test_a_session_that_ends_by_itself_is_noticed_and_nothing_of_it_is_left(world, service, bob):
    record = record_of(world, "bob", bob)
    (container,) = (one for one in service.containers(world) if one.labels["launcher.user"] == "bob")
    psutil.Process(container.pid).kill()
    eventually(lambda: not world.servers("bob"), what="the end of the session")
    eventually(lambda: "bob" not in people_of(service, world), what="the end of its container")
    eventually(lambda: not relays_of(record.run_directory), what="the end of its relay")
    eventually(lambda: not Path(record.run_directory).exists(), what="the end of its run directory")
