"""Attacks on the launcher's service and on the Hub's API beside it, and what its answers and files give away."""

import json
import re
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import jwt
import psutil
import pytest
import requests

from tests.support.git_server import make_repository
from tests.support.people import CANARY, EVENTS, TICKET_SECRET, name_of
from tests.support.running import Session, eventually, git_spec

# The launcher decides, the Hub obeys.


def forged(**claims):
    now = int(time.time())
    usual = {"iss": "launcher", "aud": "launcher:start", "jti": "forged", "iat": now, "exp": now + 300}
    return {**usual, **claims}


@pytest.mark.parametrize("server", ["servers/course-aaaaaaaaaaaaaaaaaaaa", "server", "servers/own"])
@pytest.mark.parametrize(
    "ticket",
    [
        "",
        "junk",
        "a.b.c",
        "x" * 1_000_000,
        ["list"],
        {"alg": "none"},
        7,
        True,
        "\ud800",
        jwt.encode(forged(sub="ana", server="own"), None, algorithm="none"),
        jwt.encode(forged(sub="ana", server="own"), "6" * 64, algorithm="HS256"),
        jwt.encode(forged(sub="ana", server="own"), TICKET_SECRET, algorithm="HS512"),
        jwt.encode(forged(sub="ana", server="own", exp=int(time.time()) - 1), TICKET_SECRET, algorithm="HS256"),
        jwt.encode(forged(sub="ana", server="own", aud="launcher:page"), TICKET_SECRET, algorithm="HS256"),
        jwt.encode(forged(sub="bob", server="own"), TICKET_SECRET, algorithm="HS256"),
        jwt.encode(forged(sub="ana", server="other"), TICKET_SECRET, algorithm="HS256"),
        jwt.encode(forged(sub="ana", server="own"), TICKET_SECRET, algorithm="HS256"),  # well signed, never issued
    ],
    ids=lambda ticket: str(ticket)[:12].encode("ascii", "replace").decode(),
)
def test_no_forged_ticket_starts_anything(world, server, ticket):
    answer = world.as_person("ana", "POST", f"/users/ana/{server}", json={"ticket": ticket})
    assert answer.status_code in {400, 403, 413}, answer.text
    assert "Traceback" not in answer.text
    assert str(world.directory) not in answer.text
    assert server.rpartition("/")[2].replace("server", "") not in world.servers("ana")


def test_a_launch_server_does_not_start_from_the_hubs_own_page(world):
    name = name_of(world.launch("ana", world.repository("from-the-hub-page")))
    world.as_person("ana", "DELETE", f"/users/ana/servers/{name}")
    eventually(lambda: name not in world.servers("ana"), what="the end of the session")
    for options in ({}, {"image": "evil", "cmd": ["sh"]}, None):
        answer = world.as_person("ana", "POST", f"/users/ana/servers/{name}", json=options)
        assert answer.status_code == 403, answer.text
    assert "launch" in answer.json()["message"]
    assert name not in world.servers("ana")


def test_a_used_ticket_starts_nothing_again_for_nobody(world):
    bob = world.launch("bob", world.repository("unknown"))
    with sqlite3.connect(world.hub._directory / "jupyterhub.sqlite") as database:
        query = "select user_options from spawners where name = ? and user_options is not null"
        rows = database.execute(query, [name_of(bob)]).fetchall()
    tickets = [json.loads(options)["ticket"] for (options,) in rows]
    assert tickets, "the hub keeps what it was asked with"
    for ticket in tickets:
        for person in ("ana", "bob"):
            name = jwt.decode(ticket, options={"verify_signature": False})["server"]
            body = {"ticket": ticket, "user": person, "server_name": name}
            answer = requests.post(f"{world.service}api/v1/tickets/redeem", json=body, timeout=30)
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "ticket_invalid"
    world.stop("bob", bob)


def test_forged_options_beside_no_ticket_change_nothing_of_a_regular_session(world):
    (world.homes / "ana").mkdir(parents=True, exist_ok=True)
    (world.homes / "ana" / "diary.txt").write_text(f"{CANARY}-ana")
    options = {"cmd": ["touch", str(world.directory / "pwned")], "image": "evil", "environment": {"X": "1"}}
    options |= {"home": "/", "homes_directory": "/", "notebook_dir": "/", "run_directory": str(world.directory)}
    answer = world.as_person("ana", "POST", "/users/ana/servers/regular", json=options)
    assert answer.status_code in {201, 202}, answer.text
    eventually(lambda: world.servers("ana").get("regular", {}).get("ready"), seconds=60, what="the regular session")
    session = Session(f"{world.hub.url}user/ana/regular/", world.token("ana"))
    assert session.read("diary.txt") == f"{CANARY}-ana"
    assert "X=1" not in session.run("import os; print(*(f'{k}={v}' for k, v in os.environ.items()))")
    assert not (world.directory / "pwned").exists()
    world.stop("ana", session)


# The redeem address.


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_only_post_redeems(world, method):
    assert requests.request(method, f"{world.service}api/v1/tickets/redeem", timeout=30).status_code == 405


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"42", b'"x"', b"{}", b"[" * 60_000, b"\xff", b'{"ticket":1,"user":2}', b"x" * 10**6]
)
def test_nonsense_at_the_redeem_address_is_refused_in_words(world, body):
    try:
        answer = requests.post(f"{world.service}api/v1/tickets/redeem", data=body, timeout=30)
    except requests.ConnectionError:
        assert len(body) > 2**16, "only a huge body is cut off"
        return
    # The proxy says 503 when the service hangs up on a huge body.
    assert answer.status_code in ({400} if len(body) < 2**16 else {400, 413, 503}), answer.text
    assert "Traceback" not in answer.text
    assert requests.get(f"{world.service}versions", timeout=30).status_code == 200


def test_who_takes_the_place_of_the_service_cannot_tell_the_hub_what_to_start(world, tmp_path):
    """A session shares the loopback network: it may listen where the service listened a moment ago."""
    import asyncio
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    from launcher.errors import HubUnavailable
    from launcher.hub.redeem import redeem
    from launcher.models import HomeKind, LaunchPlan, ServerName, SessionMode, Username
    from launcher.tickets import TicketSigner

    plan = LaunchPlan(
        user=Username("ana"), server_name=ServerName("x"), environment=None, mode=SessionMode.KERNEL,
        home=HomeKind.PERSONAL, project=None, content={"repository": "/"}, start=None, variables={},
    )  # fmt: skip

    class Impostor(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("X-Launcher-Seal", TicketSigner("6" * 64).seal("ticket", b""))
            self.end_headers()
            self.wfile.write(json.dumps(plan.to_json()).encode())

        def log_message(self, *_):
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Impostor) as server:
        Thread(target=server.handle_request, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(HubUnavailable):
            asyncio.run(redeem(address, "ticket", user="ana", server_name="x", signer=TicketSigner(TICKET_SECRET)))


# Clicks.


def click_form(browser, page):
    """The launch page's form: where it posts to, and its token."""
    text = browser.get(page, timeout=60).text
    return re.search(r'name="_xsrf" value="([^"]+)"', text).group(1)


def test_nothing_is_built_before_a_person_says_yes(world):
    spec = world.repository("nobody-said-yes", {"requirements.txt": "# a recipe of its own\n"})
    page, before = f"{world.service}v2/{spec}", world.builds()
    with world.hub.login_session("carl") as browser:
        token = click_form(browser, page)
        for headers in ({}, {"Accept": "text/event-stream"}):
            browser.get(page, headers=headers, timeout=60)
            browser.get(f"{world.service}build/{spec}", headers=headers, timeout=60)
        browser.get(f"{page}?build_token={token}", timeout=60)
        browser.get(f"{page}?wait=1&build_token=x", timeout=60)
        browser.head(page, timeout=60)
        browser.get(f"{world.service}api/v1/preview", params={"spec": spec}, timeout=60)
        refused = [
            browser.post(page, data={}, timeout=60),
            browser.post(page, data={"_xsrf": token}, headers={"Sec-Fetch-Site": "cross-site"}, timeout=60),
            browser.post(page, data={"_xsrf": token}, headers={"Origin": "null"}, timeout=60),
            browser.post(page, data={"_xsrf": token}, headers={"Origin": "https://evil.test"}, timeout=60),
            browser.post(page, data={"_xsrf": token}, headers={"Sec-Fetch-Mode": "no-cors"}, timeout=60),
            browser.post(f"{world.service}api/v1/launches", json={"spec": spec}, timeout=60),
            browser.put(page, data={"_xsrf": token}, timeout=60),
            browser.post(f"{page}?_method=GET", data={}, headers={"X-HTTP-Method-Override": "GET"}, timeout=60),
        ]
    assert {answer.status_code for answer in refused} <= {403, 405}
    assert world.builds() == before
    assert world.servers("carl") == {}


def test_code_in_a_session_page_cannot_read_the_form_of_the_launch_page(world):
    """The browser runs a notebook's output on the hub's own origin: what it fetches carries the person's cookies."""
    page = f"{world.service}v2/{world.repository('nobody-said-yes')}"
    with world.hub.login_session("carl") as browser:
        token = click_form(browser, page)
        script = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
        assert "_xsrf" not in browser.get(page, headers=script, timeout=60).text
        assert browser.post(page, data={"_xsrf": token}, headers=script, timeout=60).status_code == 403
    assert world.servers("carl") == {}


def test_a_build_token_is_for_one_person_one_spec_and_a_few_minutes(world):
    spec, other = world.repository("nobody-said-yes"), world.repository("another-spec")
    with world.hub.login_session("carl") as browser, world.hub.login_session("dora") as second:
        page = f"{world.service}v2/{spec}"
        form = {"_xsrf": click_form(browser, page)}
        second_form = {"_xsrf": click_form(second, f"{world.service}v2/{other}")}
        answer = browser.post(page, data=form, allow_redirects=False, timeout=120)
        token = answer.headers["Location"].partition("build_token=")[2]
        claims = jwt.decode(token, options={"verify_signature": False})
        bad = {
            "another person": (second, spec, token),
            "another spec": (browser, other, token),
            "no signature": (browser, other, jwt.encode({**claims, "aud": other}, None, algorithm="none")),
            "another key": (browser, other, jwt.encode({**claims, "aud": other}, "7" * 64, algorithm="HS256")),
            "cut": (browser, spec, token[:-4]),
            "none": (browser, spec, ""),
            "long": (browser, spec, "x" * 6000),
        }
        before = world.builds()
        for who, path, forged_token in bad.values():
            got = who.get(
                f"{world.service}build/{path}", params={"build_token": forged_token}, headers=EVENTS, timeout=60
            )
            assert '"failed"' in got.text
            assert '"build_token_invalid"' in got.text
        assert world.builds() == before
        assert second_form["_xsrf"] != form["_xsrf"]
    assert world.servers("dora") == {}


def test_fifty_clicks_at_once_are_one_build_and_one_session(world):
    spec = world.repository("fifty", {"requirements.txt": "# fifty\n"})
    before = world.builds()

    def click(number):
        return list(world.events("fay", spec))[-1] if number % 2 else api(number)

    def api(number):
        body = {"spec": spec, "trust": number % 4 == 0}
        address = f"{world.service}api/v1/launches"
        return requests.post(address, headers=world.headers("fay"), json=body, timeout=120).json()

    world.token("fay")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(click, range(50)))
    codes = {answer.get("code") or answer.get("error", {}).get("code") for answer in answers} - {None}
    assert codes <= {"rate_limited"}, codes
    assert any(answer.get("phase") == "ready" for answer in answers)
    assert world.builds() == before + 1
    assert len(world.servers("fay")) == 1
    homes = [path.parent for path in (world.homes / "fay").glob("fifty/.git")]
    assert len(homes) == 1, "trusted in one of the clicks: the person's own home, once"


# What answers, logs and files give away.

BAD_SPECS = [
    "gh/", "gh/a", "gh/a/b", "nope/a/b/c", "git/x/main", "git/--upload-pack=touch%20%2Ftmp%2Fp/main",
    "git/ext%3A%3Ash%20-c%20touch/main", "git/file%3A%2F%2F%2Fetc/main", "git/%2Fetc/main", "git/..%2F..%2Frepo/main",
    "git/http%3A%2F%2F169.254.169.254%2Flatest/main", "git/http%3A%2F%2F2130706433%2Fx/main",
    "git/http%3A%2F%2F127.1%2Fx/main", "git/http%3A%2F%2F0%2Fx/main", "git/http%3A%2F%2Flocalhost%3A8081%2Fhub/main",
    "git/https%3A%2F%2Fgithub.com%5C%40evil.test%2F/main", "git/https%3A%2F%2Fgithub.com%09%40evil.test%2F/main",
    "git/ssh%3A%2F%2F-oProxyCommand%3Dx%2Fx/main", "git/git%40host%3A-x%2Fy/main", "git/ftp%3A%2F%2Fh%2Fx/main",
    "git/javascript%3Aalert(1)/main", "git/https%3A%2F%2Fh%3A99999%2Fx/main", "git/https%3A%2F%2Fh%0d%0aX/main",
    "git/https%3A%2F%2Fh%00/main", "git/.git/main", "git/../main",
    "local/%2Fetc/worktree", "local/%2Fetc%2Fpasswd/worktree", "local/..%2F../worktree", "zenodo/10.1/../../x",
    "zenodo/not-a-doi", "gist/a/b/c/d", "gl/a%2Fb", "dataverse/x", "hydroshare/%2e%2e", "ckan/file%3A%2F%2F%2Fetc",
    "figshare/;id", "gh/$(id)/x/main",
]  # fmt: skip
BAD_REFS = ["--output=%2Ftmp%2Fp", "-x", "HEAD%3Bid", "a..b", "HEAD@%7B1%7D", "%3A%2Ffix", "x.lock", "a%20b", "0" * 40]
LEAKS = re.compile(r"Traceback|File \"|/tmp/|/work/|/root/|/home/[a-z]|\.py\b|fatal:|errno|Errno|site-packages|sqlite")


def test_every_bad_spec_gets_a_code_a_message_and_a_hint_and_nothing_of_the_machine(world):
    first = world.repository("refs").rpartition("/")[0]
    specs = [*BAD_SPECS, *(f"{first}/{ref}" for ref in BAD_REFS)]
    before = world.builds()
    with world.hub.login_session("hal") as browser:
        browser.get(world.service, timeout=60)
        for spec in specs:
            page = browser.get(f"{world.service}v2/{spec}", timeout=60)
            assert 400 <= page.status_code < 500, (spec, page.status_code)
            assert not LEAKS.search(page.text.replace(spec, "")), (spec, LEAKS.search(page.text))
            # One person may launch so often a minute: several take turns.
            events = list(world.events(f"h{len(spec) % 5}", spec))
            if not events:  # an address that is no launch at all
                assert page.status_code == 404, spec
                continue
            (event,) = events
            assert event["phase"] == "failed", (spec, event)
            assert re.fullmatch(r"[a-z_]+", event["code"]), (spec, event)
            assert event["code"] != "internal_error", (spec, event)
            assert event["message"].strip(), spec
            assert "hint" in event, spec
            assert not LEAKS.search(json.dumps(event).replace(spec, "")), (spec, event)
    assert world.builds() == before


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"42", b"NaN", b'{"spec": NaN}', b'{"spec":"a","spec":"b"}', b"[" * 10_000, b"\xff", b"{"]
)
def test_bad_bodies_of_the_api_are_refused_in_words(world, body):
    headers = {**world.headers("ana"), "Content-Type": "application/json"}
    answer = requests.post(f"{world.service}api/v1/launches", headers=headers, data=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "bad_request"
    assert not LEAKS.search(answer.text)


HOSTILE = {
    "climbs": ({"hello.txt": "x"}, {"binder": "../..", "README.md": "/etc/passwd", "data": "/etc"}),
    "yaml": ({"environment.yml": "!!python/object/apply:os.system ['touch /tmp/p']\n"}, {}),
    "latin": ({"requirements.txt": b"caf\xe9\n"}, {}),
    "option": ({"requirements.txt": "--index-url file:///etc\n-r ../../../etc/passwd\n"}, {}),
    "toml": ({"pyproject.toml": "[" * 5000}, {}),
    "docker": ({"Dockerfile": "FROM scratch\n"}, {}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_refused_in_words_or_does_no_harm(world, name):
    files, links = HOSTILE[name]
    spec = world.repository(f"hostile-{name}", files, links=links)
    events = list(world.events("ivy", spec))
    last = events[-1]
    text = json.dumps([event for event in events if event.get("phase") == "failed"])
    assert last["phase"] in {"failed", "ready"}
    assert not LEAKS.search(text.replace("../../../etc/passwd", "")), text
    if last["phase"] == "ready":
        session = Session(last["url"], last["token"])
        assert "daemon:" not in session.run(
            "import os; print(*(open(f).read() for f in ('README.md',) if os.path.exists(f)))"
        )
        world.stop("ivy", session)
    else:
        assert last["code"] != "internal_error", last


def test_trouble_of_the_machine_reaches_people_without_its_paths(world):
    spec = world.repository("no-room")
    list(world.events("joe", spec, build_only="true"))
    (world.state / "projects").mkdir(exist_ok=True)
    (world.state / "projects" / "joe").write_text("a file where a directory belongs")
    last = list(world.events("joe", spec))[-1]
    assert last["phase"] == "failed"
    assert last["code"] == "session_start_failed"
    assert not LEAKS.search(json.dumps(last)), last
    assert str(world.state) not in json.dumps(last)
    assert "could not be prepared on this machine" in last["message"]


def test_secrets_of_the_operator_and_credentials_in_links_are_nowhere(world):
    files = {"postBuild": "#!/bin/bash\nenv > seen.txt\ncat /proc/*/environ /proc/*/cmdline >> seen.txt 2>/dev/null\n"}
    session = world.launch("ana", world.repository("looks-around", files))
    seen = session.read("seen.txt")
    assert CANARY not in seen
    assert TICKET_SECRET not in seen
    assert CANARY not in session.run("import os; print(os.environ)")
    address = quote(f"https://me:{CANARY}-link@127.0.0.1:9/x", safe="")
    twice = quote(address, safe="")
    for link in (f"git/{address}/main", f"git/{twice}/main"):
        requests.get(f"{world.service}v2/{link}", timeout=60)
        list(world.events("ana", link))
        with world.hub.login_session("ana") as browser:
            assert CANARY not in browser.get(f"{world.service}v2/{link}", timeout=60).text.replace(link, "")
    family = psutil.Process(world.hub._process.pid).children(recursive=True)
    arguments = " ".join(word for process in family for word in process.cmdline())
    tokens = [world.token("ana"), session.run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()]
    for secret in (CANARY, TICKET_SECRET, *tokens):
        assert secret not in arguments
        assert secret not in world.hub.log
        assert leaking(world.state, secret) == []
    assert leaking(world.hub._directory, f"{CANARY}-link") == []
    world.stop("ana", session)


def leaking(directory, secret):
    """The files below a directory that hold a text."""
    done = subprocess.run(["grep", "-rlaF", secret, str(directory)], capture_output=True, text=True, check=False)
    return done.stdout.split()


def test_state_and_homes_are_closed_to_other_accounts_of_the_machine(start, git_server, tmp_path):
    state = tmp_path / "state"
    with start(state) as up:
        make_repository(git_server.directory / "closed", {"hello.txt": "hello\n"})
        spec = git_spec(git_server.url("closed"), "main")
        session, _ = up.launch(spec)
        home = state / "homes" / up.user
        run = next(path for path in Path("/tmp").glob("launcher-session-*") if str(path) in children(up))
        private = [state, state / "secrets", state / "logs", home, run]
        private += [*(state / "secrets").iterdir(), state / "launcher.sqlite", state / "jupyterhub.sqlite"]
        assert {str(path): oct(path.stat().st_mode & 0o077) for path in private if path.stat().st_mode & 0o077} == {}
        key = (state / "secrets" / "login-key").read_text()
        for secret in (key, up.token):
            assert secret not in children(up)
            assert leaking(state / "logs", secret) == []
            assert leaking(state / "launcher.sqlite", secret) == []
            assert secret not in session.run("import os; print(os.environ)")
        assert requests.get(f"{up.url}/hub/link-login?key={key}", timeout=30).status_code == 200
        assert requests.get(f"{up.url}/hub/link-login?key=wrong", timeout=30).status_code == 403
        assert leaking(state / "logs", key) == []


def children(up):
    family = psutil.Process(up.process.pid).children(recursive=True)
    return " ".join(word for process in family for word in process.cmdline())
