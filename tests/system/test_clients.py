"""Clients written for BinderHub, unchanged: Python's requests, a native EventSource, the npm package; and tokens."""

import json
import shutil
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import requests
import websocket

from tests.support.browser import launch_link, log_in, profile, running_chromium
from tests.support.fixtures import on_one_hub
from tests.support.gate import Gates
from tests.support.git_server import make_repository
from tests.support.other_site import other_origin
from tests.support.running import ROOT, Session, eventually, git_spec

LISTEN = """url => new Promise(resolve => {
  const source = new EventSource(url);
  const end = (last) => { source.close(); resolve(last); };
  source.onmessage = (message) => {
    const data = JSON.parse(message.data);
    if (["failed", "ready"].includes(data.phase)) end(data);
  };
  source.onerror = () => end({phase: "error"});
})"""
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def allowed():
    with other_origin() as site:
        yield site


@pytest.fixture(scope="module")
def stranger():
    with other_origin() as site:
        yield site


@pytest.fixture(scope="module")
def shared(start, allowed, tmp_path_factory):
    """A launcher that lets pages of one other origin call it."""
    directory = tmp_path_factory.mktemp("shared")
    configuration = directory / "jupyterhub_config.py"
    configuration.write_text(f"c.Launcher.cors_origins = ['https://book.example.org', {allowed.origin!r}]\n")
    with start(directory / "state", "--config", str(configuration)) as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def gates(git_server):
    gates = Gates(git_server)
    yield gates
    gates.close()


@pytest.fixture
def repository(git_server, request):
    """Makes repositories of this test; gives their specs."""

    def make(files=None):
        # Tests of both hubs share the git server and have the same names.
        name = f"{request.node.originalname.removeprefix('test_').replace('_', '-')[:40]}-{uuid.uuid4().hex[:8]}"
        make_repository(git_server.directory / name, files or {"hello.txt": "hello\n"})
        return git_spec(git_server.url(name), "main")

    return make


def told(up, spec, *, after=None, until=None, **query):
    """``(id, event)`` of a stream up to its end, or to the first event whose message is ``until``."""
    headers = {**STREAM, **up.headers, **({"Last-Event-ID": after} if after else {})}
    identity = None
    with requests.get(f"{up.service}build/{spec}", headers=headers, params=query, stream=True, timeout=120) as answer:
        for line in answer.iter_lines(decode_unicode=True):
            if line.startswith("id: "):
                identity = line[4:]
            if line.startswith("data: "):
                event = json.loads(line[6:])
                yield identity, event
                identity = None
                if event.get("phase") in {"ready", "failed"} or event["message"] == until:
                    return


def test_the_python_example_of_binderhub_gets_a_session_that_its_token_opens(up, repository):
    events = list(up.stream(repository({"hello.txt": "hello\n", "requirements.txt": "# python client\n"})))
    assert [event["phase"] for event in events if "phase" in event][-1] == "ready"
    assert all(event["message"].endswith("\n") for event in events)
    ready = events[-1]
    opened = requests.get(f"{ready['url']}api/contents/hello.txt", headers=bearer(ready), timeout=30)
    assert opened.json()["content"] == "hello\n"
    assert ready["url"].endswith("/")
    assert ready["repo_url"].startswith("http://127.0.0.1:")
    session = Session(ready["url"], ready["token"])
    binder = session.run("import os; print(sorted(name for name in os.environ if name.startswith('BINDER_')))")
    for name in ("REPO_URL", "REF_URL", "LAUNCH_HOST", "REQUEST", "PERSISTENT_REQUEST", "CLIENT_IP"):
        assert f"BINDER_{name}" in binder


def bearer(ready):
    return {"Authorization": f"token {ready['token']}"}


def test_the_token_of_a_ready_event_is_good_for_its_session_only_and_for_an_hour(up, repository):
    ready, other = (list(up.stream(repository()))[-1] for _ in range(2))

    made = requests.post(f"{ready['url']}api/kernels", headers=bearer(ready), json={}, timeout=60).json()["id"]
    channel = f"ws{ready['url'][4:]}api/kernels/{made}/channels?token={ready['token']}"
    browser = ["Sec-Fetch-Mode: websocket"]  # without this word of browsers JupyterHub reads no token in an address
    websocket.create_connection(channel, header=browser, timeout=30).close()
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        websocket.create_connection(channel.replace(ready["token"], other["token"]), header=browser, timeout=30)

    assert requests.get(f"{other['url']}api/status", headers=bearer(other), timeout=30).status_code == 200
    assert requests.get(f"{other['url']}api/status", headers=bearer(ready), timeout=30).status_code == 403
    users, me = f"{up.url}/hub/api/users", f"{up.url}/hub/api/users/{up.user}"
    assert requests.get(users, headers=bearer(ready), timeout=30).status_code == 403
    assert requests.get(f"{me}/tokens", headers=bearer(ready), timeout=30).status_code in {403, 404}
    assert requests.post(f"{me}/server", headers=bearer(ready), timeout=30).status_code in {403, 404}
    refused = requests.get(f"{up.service}build/gh/a/b/c", headers={**STREAM, **bearer(ready)}, stream=True, timeout=30)
    assert json.loads(next(refused.iter_lines())[6:])["phase"] == "failed"
    refused.close()

    tokens = [t for t in up.api("GET", f"/users/{up.user}/tokens").json()["api_tokens"] if "launcher" in t["note"]]
    assert tokens
    for token in tokens:
        ends = datetime.fromisoformat(token["expires_at"]).astimezone(UTC)
        assert ends - datetime.now(UTC) <= timedelta(hours=1)
    up.stop_sessions()


def run_npm_client(up, spec, **options):
    modules = ROOT / ".tools" / "node_modules"
    node = shutil.which("node") or shutil.which("node", path=str(ROOT / ".venv" / "bin"))
    if node is None or not (modules / "@jupyterhub" / "binderhub-client").exists():
        pytest.skip("node or @jupyterhub/binderhub-client is missing: run scripts/setup-tests")
    command = [node, "--no-warnings", "--experimental-detect-module", str(ROOT / "tests" / "system" / "client.mjs")]
    command += [f"{modules}/", f"{up.service}build/", spec, json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@on_one_hub
def test_the_npm_package_launches_with_an_api_token(up, repository):
    events = run_npm_client(up, repository({"hello.txt": "hello\n"}), apiToken=up.token)
    assert events[-1]["phase"] == "ready", events[-1]
    assert Session(events[-1]["url"], events[-1]["token"]).read("hello.txt") == "hello\n"


@on_one_hub
def test_the_npm_package_builds_only(up, repository):
    before = up.api("GET", f"/users/{up.user}").json()["servers"]
    events = run_npm_client(up, repository(), apiToken=up.token, buildOnly=True)
    assert events[-1]["phase"] == "ready", events[-1]
    assert events[-1]["imageName"]
    assert "url" not in events[-1]
    assert "token" not in events[-1]
    assert up.api("GET", f"/users/{up.user}").json()["servers"].keys() == before.keys()


@pytest.mark.parametrize("options", [{}, {"apiToken": "0" * 32}, {"buildToken": "forged"}])
def test_the_npm_package_without_a_good_token_is_told_in_an_event(shared, repository, options):
    (event,) = run_npm_client(shared, repository(), **options)
    assert (event["phase"], event["status_code"]) == ("failed", 403)


class TestEventSource:
    """A browser's own EventSource, as thebe uses it."""

    def test_without_a_login_it_gets_a_clean_failed_event(self, shared, chromium, allowed, repository):
        with profile(chromium) as context:
            page = context.new_page()
            page.goto(allowed.origin)
            event = page.evaluate(LISTEN, f"{shared.service}build/{repository()}")
        assert (event["phase"], event["status_code"]) == ("failed", 403)
        assert all("without-a-login" not in build["spec"] for build in shared.builds())

    def test_a_login_of_the_browser_is_of_no_use_to_another_origin(self, shared, chromium, allowed, repository):
        with profile(chromium) as context:
            page = log_in(context, shared)
            page.goto(allowed.origin)
            event = page.evaluate(LISTEN, f"{shared.service}build/{repository()}")
        assert (event["phase"], event["status_code"]) == ("failed", 403)

    def test_origins_that_are_not_allowed_read_nothing(self, shared, chromium, stranger, repository):
        with profile(chromium) as context:
            page = context.new_page()
            page.goto(stranger.origin)
            assert page.evaluate(LISTEN, f"{shared.service}build/{repository()}") == {"phase": "error"}

    def test_the_page_s_build_token_opens_it_on_the_own_origin(self, shared, chromium, repository):
        spec = repository()
        with profile(chromium) as context:
            page = log_in(context, shared)
            text = context.request.get(launch_link(shared, spec)).text()
            config = json.loads(text.partition('id="data-launch">')[2].partition("</script>")[0])
            stream = f"{shared.service}build/{spec}?_xsrf={config['xsrfToken']}"
            assert page.evaluate(LISTEN, stream)["status_code"] == 403
            event = page.evaluate(LISTEN, f"{stream}&build_token={config['buildToken']}")
        assert event["phase"] == "ready", event
        assert "token" not in event

    def test_an_allowed_origin_with_a_token_may_use_fetch(self, shared, chromium, allowed, repository):
        script = """([url, token]) => fetch(url, {headers: {Authorization: `token ${token}`,
            Accept: "text/event-stream"}}).then(async answer => {
              const reader = answer.body.getReader();
              const {value} = await reader.read();
              await reader.cancel();
              return new TextDecoder().decode(value);
            })"""
        with profile(chromium) as context:
            page = context.new_page()
            page.goto(allowed.origin)
            words = page.evaluate(script, [f"{shared.service}build/{repository()}", shared.token])
        assert words.startswith(("data: ", "id: "))
        assert '"failed"' not in words


@pytest.mark.parametrize("path", ["build/gh/a/b/c", "api/v1/builds"])
def test_a_preflight_allows_what_clients_send_to_the_listed_origins_only(shared, allowed, stranger, path):
    def preflight(origin):
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        return requests.options(f"{shared.service}{path}", headers=headers, timeout=30)

    for origin in (allowed.origin, "https://book.example.org"):
        answer = preflight(origin)
        assert answer.status_code == 204
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert {"authorization", "x-xsrftoken", "cache-control", "last-event-id"} <= set(
            answer.headers["Access-Control-Allow-Headers"].split(", ")
        )
        assert "Origin" in answer.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for origin in (stranger.origin, "null", "https://book.example.org.evil.example.org"):
        assert "Access-Control-Allow-Origin" not in preflight(origin).headers


def test_last_event_id_gives_exactly_the_lines_that_were_missed(shared, repository, gates):
    spec = repository({"postBuild": gates.script("resume", before="seq 1 50 | sed 's/^/counted /'")})
    first = list(told(shared, spec, until="counted 20\n", build_only="true"))
    last = first[-1][0]
    rest_at_gate = list(told(shared, spec, after=last, until="at the gate\n", build_only="true"))
    assert [event["message"] for _, event in rest_at_gate] == [f"counted {n}\n" for n in range(21, 51)] + [
        "at the gate\n"
    ]
    gates.open("resume")
    end = list(told(shared, spec, after=rest_at_gate[-1][0], build_only="true"))
    assert end[-1][1]["phase"] == "ready"
    lines = [event["message"] for identity, event in [*first, *rest_at_gate, *end] if identity]
    log = requests.get(
        f"{shared.service}api/v1/builds/{shared.builds()[0]['id']}/log", headers=shared.headers, timeout=30
    )
    assert "".join(lines) == log.text


def test_a_closed_stream_leaves_the_build_going(shared, repository, gates):
    spec = repository({"postBuild": gates.script("left")})
    list(told(shared, spec, until="at the gate\n", build_only="true"))
    gates.open("left")
    eventually(lambda: shared.builds()[0]["status"] == "succeeded", what="the end of the build")
    assert shared.builds()[0]["spec"] == spec


def test_two_clicks_at_once_make_one_build_and_one_session(shared, repository, gates):
    spec = repository({"postBuild": gates.script("twice")})
    with ThreadPoolExecutor(3) as pool:
        clicks = [pool.submit(lambda: list(shared.stream(spec))) for _ in range(2)]
        clicks.append(pool.submit(lambda: list(shared.stream(spec, build_only="true"))))
        assert gates.reached("twice")
        gates.open("twice")
        events = [click.result()[-1] for click in clicks]
    assert [event["phase"] for event in events] == ["ready"] * 3, events
    assert events[0]["url"] == events[1]["url"]
    assert [build["spec"] for build in shared.builds()].count(spec) == 1
    shared.stop_sessions()


def test_a_build_is_cancelled_by_the_api_and_its_watchers_are_told(shared, repository, gates):
    spec = repository({"postBuild": gates.script("cancelled")})
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(lambda: list(shared.stream(spec)))
        assert gates.reached("cancelled")
        build = shared.builds()[0]
        address = f"{shared.service}api/v1/builds/{build['id']}"
        assert requests.delete(address, headers=shared.headers, timeout=30).status_code == 204
        last = watching.result()[-1]
    assert (last["phase"], last["code"]) == ("failed", "build_cancelled")
    assert requests.get(address, headers=shared.headers, timeout=30).json()["build"]["status"] == "cancelled"
