"""Who gets to see a dashboard: through the real Hub, its proxy and Dask-Gateway's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import websocket
from structlog.testing import capture_logs

from launcher.dask.dashboards import Dashboard
from tests.support.dashboards import PREFIX, SERVICE_TOKEN, TOKEN, running_guard
from tests.support.hub import free_port
from tests.support.running import eventually

PAGE = {"Accept": "text/html,*/*", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}


@pytest.fixture(scope="module")
def _running():
    with running_guard() as running:
        yield running


@pytest.fixture(scope="module")
def guard(_running):
    return _running[0]


@pytest.fixture(scope="module")
def dask_hub(_running):
    return _running[1]


@pytest.fixture(scope="module")
def service(dask_hub):
    return f"{dask_hub.url}services/dask-gateway"


@pytest.fixture
def scheduler(guard):
    """Alice's cluster, with a name of its own in every test's eyes: nothing is remembered about it."""
    return guard.scheduler("alices")


@pytest.fixture(scope="module")
def tokens(dask_hub):
    """Names -> `Authorization` headers."""
    return {
        name: {"Authorization": f"token {dask_hub.token_for(name)}"} for name in ("alice", "ada", "mallory", "nora")
    }


@pytest.fixture(scope="module")
def browsers(dask_hub, service, guard):
    """Names -> sessions with the cookies of the Hub and of the service."""
    guard.scheduler("any")
    found = {}
    for name in ("alice", "ada", "mallory"):
        found[name] = dask_hub.login_session(name)
        found[name].headers.update(PAGE)
        found[name].get(f"{service}/clusters/any/x", timeout=30)  # walks through the Hub's OAuth
    yield found
    for session in found.values():
        session.close()


def cookies(session, service):
    request = requests.Request("GET", f"{service}/clusters/alices/ws")
    return session.prepare_request(request).headers["Cookie"]


def open_socket(service, path="clusters/alices/ws", **options):
    return websocket.create_connection(f"{service}/{path}".replace("http", "ws", 1), timeout=20, **options)


def refused(service, **options):
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        open_socket(service, **options)
    return caught.value.status_code


def origin_of(service):
    return service.split("/jhub")[0]


def test_owners_see_their_dashboard_and_the_scheduler_sees_only_the_clusters_token(service, scheduler, tokens):
    smuggled = {
        "Cookie": "secret=1",
        "X-Forwarded-User": "ada",
        "X-Forwarded-For": "1.2.3.4",
        "X-Real-Ip": "1.2.3.4",
        "Forwarded": "for=1.2.3.4",
        "Proxy-Authorization": "Basic x",
        "Connection": "close, X-Custom",
        "X-Custom": "1",
        "Te": "trailers",
        "Accept-Language": "de",
    }
    answer = requests.get(f"{service}/clusters/alices/some/where?a=%2F&&b=+;c", headers={**smuggled, **tokens["alice"]})
    assert answer.status_code == 200
    assert answer.json()["uri"] == "/some/where?a=%2F&&b=+;c"
    headers = {name.lower(): value for name, value in answer.json()["headers"].items()}
    assert headers["authorization"] == f"token {TOKEN}"
    assert headers["accept-language"] == "de"
    assert headers.keys() <= {"authorization", "accept-language", "host", "user-agent", "accept", "accept-encoding"}


def test_people_come_in_through_the_hubs_login(service, scheduler, browsers):
    answer = browsers["alice"].get(f"{service}/clusters/alices/some/where?a=b")
    assert answer.json()["uri"] == "/some/where?a=b"
    assert "cookie" not in {name.lower() for name in answer.json()["headers"]}


def test_a_browser_without_a_login_is_sent_to_the_hub_and_an_api_client_is_not(service, scheduler):
    answer = requests.get(f"{service}/clusters/alices/status", headers=PAGE, allow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/jhub/hub/api/oauth2/authorize")
    answer = requests.get(f"{service}/clusters/alices/status", headers={"Accept": "application/json"})
    assert answer.status_code == 403
    assert answer.json()["error"].startswith("You are not logged in.")
    assert requests.post(f"{service}/clusters/alices/status", headers=PAGE, allow_redirects=False).status_code == 403
    assert refused(service) == 403
    assert refused(service, origin=origin_of(service)) == 403
    assert scheduler.requests == []


def test_a_stranger_cannot_tell_a_cluster_of_somebody_else_from_none(service, scheduler, tokens, browsers):
    mallory = tokens["mallory"]
    answers = [requests.get(f"{service}/clusters/{name}/x", headers=mallory) for name in ("alices", "nobodys", "a%2fb")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    pages = [browsers["mallory"].get(f"{service}/clusters/{name}/x") for name in ("alices", "nobodys")]
    assert {(page.status_code, page.text) for page in pages} == {(404, pages[0].text)}
    assert "There is no such cluster" in pages[0].text
    assert refused(service, header=mallory) == 404
    assert refused(service, origin=origin_of(service), cookie=cookies(browsers["mallory"], service)) == 404
    assert scheduler.requests == []


@pytest.mark.parametrize(
    "authorization", ["token forged", "token ", "Bearer", "Basic eDp5", f"token {TOKEN}", "x" * 2000]
)
def test_a_wrong_token_is_refused_also_beside_a_good_cookie(service, scheduler, browsers, authorization):
    headers = {"Authorization": authorization}
    assert browsers["alice"].get(f"{service}/clusters/alices/x", headers=headers).status_code == 403
    cookie = cookies(browsers["alice"], service)
    assert refused(service, header=headers, cookie=cookie, origin=origin_of(service)) == 403
    assert scheduler.requests == []


def test_who_may_not_use_dask_or_is_a_service_is_told_so(service, scheduler, tokens):
    answer = requests.get(f"{service}/clusters/alices/x", headers=tokens["nora"])
    assert (answer.status_code, "You may not use Dask" in answer.text) == (403, True)
    answer = requests.get(f"{service}/clusters/alices/x", headers={"Authorization": f"token {SERVICE_TOKEN}"})
    assert answer.status_code == 403
    assert refused(service, header=tokens["nora"]) == 403


def test_a_revoked_token_ends_at_once_and_closes_what_is_open(service, scheduler, dask_hub):
    made = dask_hub.api("POST", "/users/alice/tokens", json={"note": "x"}).json()
    headers = {"Authorization": f"token {made['token']}"}
    assert requests.get(f"{service}/clusters/alices/x", headers=headers).status_code == 200
    socket = open_socket(service, header=headers)
    socket.send("still here")
    assert socket.recv() == "still here"
    assert dask_hub.api("DELETE", f"/users/alice/tokens/{made['id']}").status_code == 204
    assert requests.get(f"{service}/clusters/alices/x", headers=headers).status_code == 403
    assert refused(service, header=headers) == 403
    opcode, data = socket.recv_data()
    assert (opcode, int.from_bytes(data[:2])) == (websocket.ABNF.OPCODE_CLOSE, 1008)
    socket.shutdown()


def test_a_cluster_that_ended_closes_what_is_open(service, guard, tokens):
    guard.scheduler("ending")
    socket = open_socket(service, "clusters/ending/ws", header=tokens["alice"])
    del guard.clusters["ending"]
    opcode, data = socket.recv_data()
    assert (opcode, int.from_bytes(data[:2])) == (websocket.ABNF.OPCODE_CLOSE, 1008)
    socket.shutdown()
    assert requests.get(f"{service}/clusters/ending/x", headers=tokens["alice"]).status_code == 404


@pytest.mark.parametrize("owner", ["alice", "mallory"])
def test_a_cluster_that_became_another_closes_what_is_open(service, guard, tokens, owner):
    first = guard.scheduler("changing")
    socket = open_socket(service, "clusters/changing/ws", header=tokens["alice"])
    if owner == "alice":
        guard.scheduler("changing")
    else:
        guard.clusters["changing"] = Dashboard(owner, first.address, TOKEN)
    opcode, data = socket.recv_data()
    assert (opcode, int.from_bytes(data[:2])) == (websocket.ABNF.OPCODE_CLOSE, 1008)
    socket.shutdown()


def test_pages_of_other_sites_cannot_open_the_websocket_with_a_cookie(service, scheduler, browsers):
    cookie = cookies(browsers["alice"], service)
    port_of_another = f"http://127.0.0.1:{free_port()}"
    for origin in ("https://evil.example", port_of_another, "null", origin_of(service) + ".evil.example"):
        assert refused(service, cookie=cookie, origin=origin) == 403
    assert refused(service, cookie=cookie, suppress_origin=True) == 403
    own = {"cookie": cookie, "origin": origin_of(service)}
    assert refused(service, **own, header={"Sec-Fetch-Site": "same-site"}) == 403
    for header in ({}, {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "websocket"}):
        socket = open_socket(service, **own, header=header)
        socket.send("hello")
        assert socket.recv() == "hello"
        socket.close()


def test_a_token_in_the_address_never_reaches_the_scheduler(service, scheduler, tokens):
    token = tokens["alice"]["Authorization"].split()[1]
    header = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "websocket"}
    assert refused(service, path=f"clusters/alices/ws?token={token}", header=header) == 403
    assert requests.get(f"{service}/clusters/alices/x?token={token}").status_code == 403
    assert scheduler.requests == []


def test_other_pages_cannot_post_or_read_with_the_cookie(service, scheduler, browsers):
    for site in ("cross-site", "same-site", "same-origin"):
        headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": site, "Accept": "*/*"}
        assert browsers["alice"].get(f"{service}/clusters/alices/x", headers=headers).status_code == 403
        assert browsers["alice"].post(f"{service}/clusters/alices/upload", headers=headers).status_code == 403
    assert scheduler.requests == []


def test_a_refusal_leaves_no_connection_behind_that_proxies_use_again(service, guard, scheduler, tokens):
    for target, headers in (("x", {}), ("x", tokens["mallory"]), ("", tokens["alice"])):
        with requests.Session() as session:  # a connection that would be kept
            session.headers.update(headers)
            address = f"{guard.direct}{PREFIX}clusters/alices/{target}"
            assert session.get(address, allow_redirects=False).headers["connection"] == "close"
    assert "connection" not in requests.get(f"{guard.direct}{PREFIX}clusters/alices/x", headers=tokens["alice"]).headers


def test_an_admin_sees_every_dashboard_but_in_a_sandbox_without_the_hubs_origin(service, scheduler, browsers):
    answer = browsers["ada"].get(f"{service}/clusters/alices/page?a=b")
    assert answer.status_code == 200
    assert scheduler.last[1] == "/page?a=b"
    assert "sandbox allow-scripts" in answer.headers["content-security-policy"]
    assert "allow-same-origin" not in answer.headers["content-security-policy"]
    view = answer.url.split("~")[1].split("/")[0]
    # what the page itself loads: no cookie, an origin of its own
    path = f"clusters/alices~{view}"
    assert requests.get(f"{service}/{path}/static/x.js").status_code == 200
    socket = open_socket(service, f"{path}/ws", origin="null")
    socket.send("hello")
    assert socket.recv() == "hello"
    socket.close()
    assert requests.post(f"{service}/{path}/upload").status_code == 403
    assert requests.get(f"{service}/clusters/any~{view}/x").status_code == 403
    assert requests.get(f"{service}/clusters/alices~{view[:-3]}abc/x").status_code == 403
    # an old or forged one is made anew for those who may, and for nobody else
    assert browsers["ada"].get(f"{service}/clusters/alices~old/page").status_code == 200
    assert browsers["mallory"].get(f"{service}/clusters/alices~old/page").status_code == 404


def test_an_admins_token_opens_every_dashboard_unless_it_is_a_sessions(service, scheduler, tokens, dask_hub):
    answer = requests.get(f"{service}/clusters/alices/page", headers=tokens["ada"])
    assert (answer.status_code, "sandbox" in answer.headers["content-security-policy"]) == (200, True)
    scopes = ["access:servers!server=ada/", "access:services!service=dask-gateway"]
    session = {"Authorization": f"token {dask_hub.token_for('ada', scopes)}"}
    assert requests.get(f"{service}/clusters/alices/page", headers=session).status_code == 404
    assert requests.get(f"{service}/clusters/nobodys/page", headers=tokens["ada"]).status_code == 404


def test_one_question_for_many_and_its_sentence_when_there_is_no_dashboard(service, guard, tokens):
    scheduler = guard.scheduler("without-bokeh")
    scheduler.answer = {"error": "Your environment has no <bokeh>."}
    page = requests.get(f"{service}/clusters/without-bokeh/status", headers=tokens["alice"])
    assert page.status_code == 503
    assert "Your environment has no &lt;bokeh&gt;." in page.text
    headers = {**tokens["alice"], "Accept": "application/json"}
    said = requests.get(f"{service}/clusters/without-bokeh/status", headers=headers).json()
    assert said == {"error": "Your environment has no <bokeh>."}
    scheduler.answer, before = {"ready": True}, scheduler.questions
    scheduler.may_answer.clear()

    def ask(_):
        return requests.get(f"{service}/clusters/without-bokeh/x", headers=tokens["alice"]).status_code

    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(ask, range(8))
        eventually(lambda: scheduler.questions == before + 1, what="the question")
        scheduler.may_answer.set()
        assert set(asked) == {200}
    assert scheduler.questions == before + 1


@pytest.mark.parametrize("answer", ["nonsense", "[" * 5000, json.dumps({"ready": "yes"}), {"error": ["x"]}, {}])
def test_a_strange_answer_to_the_question_is_no_dashboard(service, guard, tokens, answer):
    guard.scheduler("strange").answer = answer
    page = requests.get(f"{service}/clusters/strange/status", headers=tokens["alice"])
    assert (page.status_code, "does not answer" in page.text) == (503, True)
    assert "127.0.0.1" not in page.text


def test_one_line_for_each_request_without_secrets(service, scheduler, browsers, tokens):
    with capture_logs() as lines:
        requests.get(f"{service}/clusters/alices/x?secret=hidden", headers=tokens["alice"])
        view = browsers["ada"].get(f"{service}/clusters/alices/page").url.split("~")[1].split("/")[0]
        eventually(lambda: len([line for line in lines if line["event"] == "request"]) == 3, what="the lines")
    assert [line["user"] for line in lines] == ["alice", "ada", "ada"]
    assert lines[0]["path"] == f"{PREFIX}clusters/alices/x"
    for secret in ("hidden", view, tokens["alice"]["Authorization"]):
        assert secret not in str(lines)
