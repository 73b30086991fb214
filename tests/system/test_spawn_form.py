"""JupyterHub's own Start button with the launcher's form: what people see, what starts, and what never does."""

import contextlib
import html
import http.server
import json
import re
import threading

import psutil
import pytest
import requests
from playwright.sync_api import expect

from launcher.hub.records import SessionRecords
from tests.support.browser import accessibility_problems, profile, running_chromium, shot
from tests.support.fixtures import require
from tests.support.gate import Gates
from tests.support.git_server import make_repository
from tests.support.hub import RunningHub, free_port
from tests.support.people import people_hub
from tests.support.running import PYTHONS, SERVER_ENVIRONMENTS, Session, eventually, git_spec

SIZES = [{"name": "small", "title": "Small"}, {"name": "large", "title": "Large", "groups": ["staff"]}]


@pytest.fixture(scope="module")
def gates(git_server):
    gates = Gates(git_server)
    yield gates
    gates.close()


@pytest.fixture(scope="module")
def port():
    """Where the launcher's service listens."""
    return free_port()


@pytest.fixture(scope="module")
def world(git_server, index, gates, port, tmp_path_factory):
    repositories = {
        "form-geo": {"requirements.txt": "toolz\n"},
        "form-broken": {"requirements.txt": "no-such-package-anywhere\n"},
        "form-slow": {"postBuild": gates.script("form-slow")},
    }
    for name, files in repositories.items():
        make_repository(git_server.directory / name, files)
    listed = [
        {"name": name.removeprefix("form-"), "repository": git_spec(git_server.url(name), "main")}
        for name in repositories
    ]
    listed[0] |= {"title": "Geospatial"}
    directory = tmp_path_factory.mktemp("form")
    with people_hub(
        directory, git_server, index, port=port, spawn_form=True, environments=listed, machine_sizes=SIZES
    ) as world:
        yield world


class Person:
    """Somebody in a browser without scripts, who also has a token."""

    def __init__(self, hub, name):
        self.hub, self.name = hub, name
        self.browser = hub.login_session(name)
        self.token = hub.token_for(name)
        self.headers = {"Authorization": f"token {self.token}"}

    def spawn_page(self, query=""):
        return self.browser.get(f"{self.hub.url}hub/spawn{query}", timeout=60)

    def send(self, page, **fields):
        """Send the form of that page; where it leads."""
        (action,) = re.findall(r'<form[^>]*action="([^"]+)"', page.text, re.DOTALL)
        address = f"{self.hub.url.rstrip('/')}{html.unescape(action)}"
        return self.browser.post(address, data={"environment": "", **fields}, timeout=60)

    def api(self, method, path, **options):
        address = f"{self.hub.url}hub/api/users/{self.name}{path}"
        return requests.request(method, address, headers=self.headers, timeout=90, **options)

    def server(self):
        """The regular server as the Hub shows it; None when it is stopped."""
        return self.api("GET", "").json()["servers"].get("")

    def progress(self):
        """What the Hub's page of the pending start is told, until the end."""
        with self.api("GET", "/server/progress", stream=True) as answer:
            events = []
            for line in answer.iter_lines(decode_unicode=True):
                if line.startswith("data:"):
                    events.append(json.loads(line.removeprefix("data:")))
                    if events[-1].get("ready") or events[-1].get("failed"):
                        break
            return events

    def session(self):
        eventually(lambda: (self.server() or {}).get("ready"), what="the session")
        return Session(f"{self.hub.url}user/{self.name}/", self.token)

    def stop(self):
        self.api("DELETE", "/server")
        eventually(lambda: self.server() is None, what="the end of the session")


def environment_of(world, person):
    """What the person's regular session runs; None is the standard environment."""
    assert person.session().get("api/status").status_code == 200
    record = SessionRecords(world.state).get(person.name, "")
    assert record is not None
    return record.environment


def test_the_start_button_shows_the_form_and_starts_what_it_says(world):
    ana = Person(world.hub, "ana")
    page = ana.spawn_page()
    assert "Geospatial" in page.text
    assert "Machine size" not in page.text, "one size is no choice"
    assert ana.server() is None
    pending = ana.send(page)
    assert "/hub/spawn-pending/ana" in pending.url or "/user/ana/" in pending.url
    session = ana.session()
    session.write("mine.txt", "kept")
    assert (world.homes / "ana" / "mine.txt").read_text() == "kept"
    ana.stop()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"environment": "repository", "environment_spec": 'no "repository" <b>'}, "no &#34;repository&#34; &lt;b&gt;"),
        ({"environment": "listed:elsewhere"}, "not offered to you"),
        ({"size": "large"}, "There is no machine size"),
    ],
)
def test_a_bad_choice_shows_the_form_again_with_its_words_and_what_was_typed(world, fields, sentence):
    bob = Person(world.hub, "bob")
    page = bob.send(bob.spawn_page(), files_spec="", **fields)
    assert 400 <= page.status_code < 500
    assert sentence in page.text
    assert page.text.count('class="problem"') == 1
    assert "it is marked below" in page.text
    assert "<b>" not in page.text
    assert bob.server() is None
    assert "Geospatial" in bob.spawn_page().text, "the next page begins anew"


def test_a_form_of_endless_texts_is_refused_in_words(world):
    bob = Person(world.hub, "bob")
    page = bob.send(bob.spawn_page(), environment="repository", environment_spec="x" * 100_000)
    assert (page.status_code, "This is too long" in page.text) == (400, True)
    assert "Geospatial" in page.text
    assert bob.server() is None


def test_a_link_chooses_nothing_and_starts_nothing(world):
    bob = Person(world.hub, "bob")
    for query in ("?environment=listed%3Ageo", "?image=quay.io/evil/image", "?opt-environment=listed%3Ageo", "?x=1"):
        page = bob.spawn_page(query)
        assert "Nothing was started" in page.text
        assert re.search(r'value="listed:geo"(?! checked)', page.text)
        assert bob.server() is None


def test_in_a_browser_the_form_needs_no_script_fits_a_telephone_and_is_accessible(world):
    ana = Person(world.hub, "ana")
    cookies = [{"name": one.name, "value": one.value, "url": world.hub.url + "hub/"} for one in ana.browser.cookies]
    with running_chromium() as chromium:
        for options in ({"color_scheme": "dark"}, {"java_script_enabled": False}):
            with profile(chromium, **options) as context:
                context.add_cookies(cookies)
                page = context.new_page()
                page.set_viewport_size({"width": 360, "height": 800})
                page.goto(f"{world.hub.url}hub/spawn")
                address = page.locator("#environment_spec")
                expect(address).to_be_hidden()
                page.get_by_role("radio", name="From a repository").check()
                expect(address).to_be_visible()
                address.fill("nonsense")
                page.get_by_role("button", name="Start").click()
                expect(page.locator(".launcher-form [role=alert]")).to_contain_text("no address of a repository")
                expect(address).to_have_value("nonsense")
                if "color_scheme" in options:
                    shot(page, "spawn-form")
                    assert accessibility_problems(page, ".launcher-form") == []
                    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert ana.server() is None


def test_a_listed_environment_is_built_in_front_of_the_person_and_starts_again_as_remembered(world):
    cy = Person(world.hub, "cy")
    world.hub.api("POST", "/groups/staff")
    world.hub.api("POST", "/groups/staff/users", json={"users": ["cy"]})
    page = cy.spawn_page()
    assert "Large" in page.text
    cy.send(page, environment="listed:geo", size="large", cmd="sh", env="nothing")
    events = cy.progress()
    assert events[-1].get("ready"), events
    assert any("/services/binder/builds/" in event.get("html_message", "") for event in events), events
    assert cy.session().run("import toolz, os; print(toolz.__name__, os.getcwd())").split()[0] == "toolz"
    assert cy.server()["user_options"] == {"environment": "listed:geo", "size": "large"}
    answer = requests.get(f"{world.hub.url}services/binder/api/v1/sessions", headers=cy.headers, timeout=30)
    assert [session["size"]["name"] for session in answer.json()["sessions"]] == ["large"]
    cy.stop()
    builds = world.builds()
    assert cy.api("POST", "/server").status_code == 201
    assert environment_of(world, cy) is not None
    assert world.builds() == builds
    cy.stop()
    world.hub.api("DELETE", "/groups/staff/users", json={"users": ["cy"]})
    answer = cy.api("POST", "/server")
    assert (answer.status_code, "no machine size" in answer.text) == (403, True), "what is remembered is judged anew"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"environment": "listed:nothing"}, 404, "not offered to you"),
        ({"environment": "image", "image": "quay.io/org/image"}, 403, "starts no sessions from images"),
        ({"image": "quay.io/org/image"}, 403, "starts no sessions from images"),
        ({"size": "large"}, 403, "no machine size"),
        ({"environment": ["listed:geo"]}, 400, "must be a text"),
    ],
)
def test_a_start_by_the_api_is_judged_as_the_form_is(world, options, status, words):
    dora = Person(world.hub, "dora")
    answer = dora.api("POST", "/server", json=options)
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
    assert dora.server() is None


def test_nothing_of_a_stranger_starts_beside_ones_files_whoever_says_so(world, git_server):
    dora = Person(world.hub, "dora")
    builds = world.builds()
    make_repository(git_server.directory / "form-stranger", {"postBuild": "#!/bin/sh\nexit 1\n"})
    options = {"environment": "repository", "environment_spec": git_server.url("form-stranger"), "trust": "yes"}
    answer = dora.api("POST", "/server", json=options)
    assert (answer.status_code, "knows to be safe" in answer.text) == (403, True), answer.text
    page = dora.send(dora.spawn_page(), **options)
    assert "knows to be safe" in page.text
    assert 'href="/services/binder/new"' in page.text
    assert (dora.server(), world.builds()) == (None, builds)


def test_a_build_that_fails_says_so_on_the_hubs_page_with_the_way_to_its_log(world):
    fay = Person(world.hub, "fay")
    fay.send(fay.spawn_page(), environment="listed:broken")
    last = fay.progress()[-1]
    assert last["failed"]
    assert "no-such-package-anywhere" in last["message"]
    assert re.search(r'<a href="/services/binder/builds/[\w-]+">', last["html_message"])
    assert fay.server() is None
    assert "Geospatial" in fay.spawn_page().text


def test_a_start_can_be_stopped_while_its_environment_is_built(world, gates):
    eve = Person(world.hub, "eve")
    eve.send(eve.spawn_page(), environment="listed:slow")
    assert gates.reached("form-slow")
    assert eve.server()["pending"] == "spawn"
    eve.stop()
    gates.open("form-slow")
    eve.send(eve.spawn_page())
    assert environment_of(world, eve) is None, "the standard session"
    eve.stop()


def service_family(hub):
    """The processes of the launcher's service, the outer one first: it starts the other again."""
    family = psutil.Process(hub._process.pid).children(recursive=True)
    found = []
    for process in family:
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[1:4] == ["-m", "launcher", "serve"]:
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


def test_a_program_starts_it_with_a_listed_environment_and_files_from_a_repository(world):
    course = {"start.txt": "hello\n", "jupyter_server_config.py": "raise SystemExit('this must not run')\n"}
    make_repository(world.git_server.directory / "form-course", course)
    kim = Person(world.hub, "kim")
    address = f"{world.service}api/v1/new-session"
    offer = requests.get(address, headers=kim.headers, timeout=30).json()["new_session"]
    assert [one["environment"] for one in offer["environments"]] == ["listed:geo", "listed:broken", "listed:slow"]
    wish = {"environment": "listed:geo", "files_spec": world.git_server.url("form-course")}
    started = requests.post(address, headers=kim.headers, json=wish, timeout=60)
    assert started.status_code == 202, started.text
    assert list(world.told("kim", started.json()["session"]["events_url"]))[-1]["phase"] == "ready", world.hub.log[
        -3000:
    ]
    session = kim.session()
    assert session.run("import toolz, os; print(os.environ['REPO_DIR'])").strip().endswith("/form-course")
    assert session.read("form-course/start.txt") == "hello\n"
    assert (world.homes / "kim" / "form-course" / "start.txt").exists()
    again = requests.post(address, headers=kim.headers, json=wish, timeout=60)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "session_running")
    kim.stop()


class Impostor(http.server.BaseHTTPRequestHandler):
    """What a session could be that took the service's port."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"html": "<b>by an impostor</b>", "said": [], "after": 0, "plan": null}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def impostor(hub, port):
    """An impostor at the service's port; it is quicker than the Hub, which starts the service again."""
    for process in (family := service_family(hub)):
        process.kill()
    psutil.wait_procs(family, timeout=10)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Impostor) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_without_its_launcher_a_hub_believes_nobody_and_starts_the_standard_session(world, port):
    gil = Person(world.hub, "gil")
    with impostor(world.hub, port):
        page = gil.spawn_page()
        assert "The launcher does not answer just now" in page.text
        refused = gil.send(page, environment="listed:geo")
        assert "The launcher does not answer. Try again in a moment." in refused.text
        assert "impostor" not in page.text + refused.text
        assert gil.server() is None
        gil.send(page)
        assert environment_of(world, gil) is None
    gil.stop()


def test_the_form_is_the_same_on_the_older_hub(git_server, index, tmp_path):
    require("hub5")
    settings = {
        "state_directory": str(tmp_path / "state"),
        "server_environment": str(SERVER_ENVIRONMENTS["hub5"]),
        "homes_directory": str(tmp_path / "homes"),
        "index_url": index.url,
        "spawn_form": True,
        "allow_hosts": [git_server.host, index.host],
    }
    configuration = f"import launcher\nlauncher.enable(c, **{settings!r})\n"
    with RunningHub(configuration, python=str(PYTHONS["hub5"])) as hub:
        ana = Person(hub, "ana")
        page = ana.spawn_page("?environment=listed:geo")
        assert "Nothing was started" in page.text, hub.log[-3000:]
        page = ana.send(ana.spawn_page(), environment="repository", environment_spec="what is this")
        assert 'value="what is this"' in page.text
        assert 'class="problem"' in page.text
        assert ana.server() is None
        ana.send(page)
        assert ana.session().get("api/status").status_code == 200
