"""What JupyterLab's Dask panel asks a session's server, and what that asks the gateway."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from tests.support.running import SERVER_ENVIRONMENTS
from tests.support.scripted_gateway import PLOTS, PREFIX, ScriptedGateway, cluster, scripted_gateway
from tests.unit.inside.running import TOKEN, Session, hub

ID, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
LIST = "/api/v1/launcher/clusters"
NO_DASK = "This session may not have Dask clusters: its repository is not trusted."


class DaskSession(Session):
    """A session of a hub with Dask."""

    def __init__(self, gateway: str, *arguments: object) -> None:
        self.gateway = gateway
        python, api, description, log = arguments
        super().__init__(python, api, {"dask": True, **description}, log)

    def _environment(self, api: str) -> dict[str, str]:
        variables = super()._environment(api)
        return variables | {
            "DASK_GATEWAY__ADDRESS": self.gateway,
            "DASK_GATEWAY__PROXY_ADDRESS": "gateway://127.0.0.1:8786",
            "DASK_GATEWAY__PUBLIC_ADDRESS": PREFIX,
        }


class Panel:
    """A person's browser at the panel, with the person's token."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.url = f"http://127.0.0.1:{session.port}{session.prefix}"

    def ask(self, method: str, path: str, *, token: str | None = TOKEN, **options) -> requests.Response:
        headers = {"Authorization": f"token {token}"} if token else {}
        return requests.request(method, self.url + path, headers=headers, timeout=30, allow_redirects=False, **options)

    def check(self, url: str) -> dict:
        answer = self.ask("GET", f"dask/dashboard-check/{quote(url, safe='')}")
        assert answer.status_code == 200
        return answer.json()


@pytest.fixture(scope="module")
def python() -> Path:
    found = SERVER_ENVIRONMENTS["hub6"] / "bin" / "python"
    if not found.exists():
        pytest.skip("there is no server environment: scripts/setup makes one")
    return found


@pytest.fixture(scope="module")
def scripted() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as gateway:
        yield gateway


@pytest.fixture
def gateway(scripted: ScriptedGateway) -> ScriptedGateway:
    scripted.reset()
    return scripted


@pytest.fixture(scope="module")
def panel(scripted: ScriptedGateway, python: Path, tmp_path_factory) -> Iterator[Panel]:
    place = tmp_path_factory.mktemp("with-dask")
    (place / "home").mkdir()
    with hub() as api:
        session = DaskSession(scripted.address, python, api, {"home": str(place / "home")}, place / "log")
        try:
            session.ears.until("ready")
            yield Panel(session)
        finally:
            session.close()
            sys.stdout.write(session.log.read_text())


def test_the_list_has_every_live_cluster_of_the_person_in_the_words_of_the_panel(panel, gateway):
    workers = {"workers": 3, "cores": 6, "memory": 3 * 2**31, "minimum": 1, "maximum": 5}
    gateway.clusters(
        cluster(ID, **workers),
        cluster(OTHER, status="starting", title="", dashboard=None),
        cluster("a" * 32, status="stopped"),
        cluster("b" * 32, user="somebody-else"),
    )
    answer = panel.ask("GET", "dask/clusters")
    assert answer.status_code == 200
    assert answer.json() == [
        {
            "id": ID,
            "name": "notes 01234567",
            "scheduler_address": f"gateway://127.0.0.1:8786/{ID}",
            "dashboard_link": f"{PREFIX}/clusters/{ID}/status",
            "workers": 3,
            "cores": 6,
            "memory": "6.00 GiB",
            "started": "2026-01-02T03:04:05Z",
            "adapt": {"minimum": 1, "maximum": 5},
        },
        {
            "id": OTHER,
            "name": "Cluster fedcba98 (starting)",
            "scheduler_address": f"gateway://127.0.0.1:8786/{OTHER}",
            "dashboard_link": "",
            "workers": 0,
            "cores": 0,
            "memory": "0 B",
            "started": "2026-01-02T03:04:05Z",
        },
    ]
    assert [one.authorization for one in gateway.asked] == ["token server-token"]


def test_a_new_cluster_is_answered_when_it_runs(panel, gateway):
    gateway.answer("POST", "/api/v1/clusters/", 201, {"name": ID})
    gateway.answer("GET", f"/api/v1/clusters/{ID}?wait", 200, {"status": "PENDING"})
    gateway.answer("GET", f"/api/v1/clusters/{ID}?wait", 200, {"status": "RUNNING"})
    gateway.clusters(cluster(ID))
    answer = panel.ask("PUT", "dask/clusters")
    assert (answer.status_code, answer.json()["id"]) == (200, ID)
    waiting = ("GET", f"/api/v1/clusters/{ID}?wait", None)
    assert gateway.requests() == [("POST", "/api/v1/clusters/", {}), waiting, waiting]


def test_a_cluster_that_does_not_come_up_says_why(panel, gateway):
    reason = "The environment of this session has no Dask."
    gateway.answer("POST", "/api/v1/clusters/", 201, {"name": ID})
    gateway.answer("GET", f"/api/v1/clusters/{ID}?wait", 200, {"status": "FAILED"})
    gateway.clusters(cluster(ID, status="failed", reason=reason))
    answer = panel.ask("PUT", "dask/clusters")
    assert (answer.status_code, answer.json()) == (409, {"message": reason})


@pytest.mark.parametrize(
    ("status", "shown"),
    [(401, 403), (403, 403), (409, 409), (422, 422), (500, 503), (503, 503)],
)
def test_what_the_gateway_refuses_is_told_in_its_own_words(panel, gateway, status, shown):
    sentence = "You have 4 clusters, which is the most one person may have at once."
    gateway.answer("POST", "/api/v1/clusters/", status, {"error": sentence})
    answer = panel.ask("PUT", "dask/clusters")
    assert (answer.status_code, answer.json()) == (shown, {"message": sentence})


@pytest.mark.parametrize(
    "answer", [(404, "404 page not found"), (502, "<html>Bad gateway"), (200, "{"), (302, "/hub/")]
)
def test_an_answer_that_is_not_the_gateways_is_a_gateway_that_does_not_answer(panel, gateway, answer):
    gateway.answer("GET", LIST, *answer)
    refusal = panel.ask("GET", "dask/clusters")
    assert refusal.status_code == 503
    assert refusal.json()["message"].startswith("Dask does not answer at the moment.")
    assert len(gateway.asked) == 1, "a redirect was followed with the session's token"


def test_a_session_without_the_right_to_dask_shows_no_clusters_and_tells_who_asks_for_one(panel, gateway):
    gateway.answer("GET", LIST, 422, {"error": NO_DASK})
    gateway.answer("POST", "/api/v1/clusters/", 422, {"error": NO_DASK})
    assert panel.ask("GET", "dask/clusters").json() == []
    answer = panel.ask("PUT", "dask/clusters")
    assert (answer.status_code, answer.json()) == (422, {"message": NO_DASK})


def test_a_cluster_is_scaled_to_a_number_of_workers(panel, gateway):
    gateway.answer("POST", f"/api/v1/clusters/{ID}/scale", 200, {"ok": True, "msg": None})
    gateway.clusters(cluster(ID, workers=2))
    answer = panel.ask("PATCH", f"dask/clusters/{ID}", json={"id": ID, "workers": 2, "adapt": None})
    assert (answer.status_code, answer.json()["workers"]) == (200, 2)
    assert gateway.requests() == [("POST", f"/api/v1/clusters/{ID}/scale", {"count": 2})]


def test_a_cluster_that_starts_is_scaled_when_it_runs(panel, gateway):
    gateway.answer("GET", f"/api/v1/clusters/{ID}?wait", 200, {"status": "RUNNING"})
    gateway.answer("POST", f"/api/v1/clusters/{ID}/scale", 200, {"ok": True, "msg": None})
    gateway.clusters(cluster(ID, status="starting"))
    assert panel.ask("PATCH", f"dask/clusters/{ID}", json={"workers": 1}).status_code == 200
    waited, scaled = gateway.requests()
    assert (waited[1], scaled[2]) == (f"/api/v1/clusters/{ID}?wait", {"count": 1})


def test_a_cluster_is_scaled_adaptively(panel, gateway):
    gateway.answer("POST", f"/api/v1/clusters/{ID}/adapt", 200, {"ok": True, "msg": None})
    gateway.clusters(cluster(ID, minimum=0, maximum=4))
    answer = panel.ask("PATCH", f"dask/clusters/{ID}", json={"workers": 2, "adapt": {"minimum": 0, "maximum": 4}})
    assert (answer.status_code, answer.json()["adapt"]) == (200, {"minimum": 0, "maximum": 4})
    wish = {"minimum": 0, "maximum": 4, "active": True}
    assert gateway.requests() == [("POST", f"/api/v1/clusters/{ID}/adapt", wish)]


@pytest.mark.parametrize(
    "wish",
    [
        *("null", "[]", '"2"', "{", "{}", '{"workers": null}', '{"workers": "2"}', '{"workers": true}'),
        *('{"workers": 1.5}', '{"adapt": {}}', '{"adapt": {"minimum": null, "maximum": 2}}'),
    ],
)
def test_what_is_no_number_of_workers_never_reaches_the_gateway(panel, gateway, wish):
    answer = panel.ask("PATCH", f"dask/clusters/{ID}", data=wish)
    assert answer.status_code == 400
    assert answer.json()["message"]
    assert gateway.asked == []


def test_numbers_that_are_too_large_or_negative_are_for_the_gateway_to_refuse(panel, gateway):
    sentence = "A person may have 16 workers at once, and you ask for 1000000000."
    gateway.answer("POST", f"/api/v1/clusters/{ID}/scale", 409, {"error": sentence})
    gateway.clusters(cluster(ID))
    for count in (-1, 10**9):
        answer = panel.ask("PATCH", f"dask/clusters/{ID}", json={"workers": count})
        assert (answer.status_code, answer.json()) == (409, {"message": sentence})
    assert [body for _, _, body in gateway.requests()] == [{"count": -1}, {"count": 10**9}]


def test_a_cluster_is_shut_down(panel, gateway):
    gateway.answer("DELETE", f"{LIST}/{ID}", 204, None)
    answer = panel.ask("DELETE", f"dask/clusters/{ID}")
    assert (answer.status_code, answer.text) == (204, "")
    assert gateway.requests() == [("DELETE", f"{LIST}/{ID}", None)]


def test_a_cluster_that_is_not_there_any_more_is_told_so(panel, gateway):
    gateway.clusters()
    gateway.answer("DELETE", f"{LIST}/{ID}", 404, {"error": "There is no such cluster."})
    assert panel.ask("GET", f"dask/clusters/{ID}").status_code == 404
    answer = panel.ask("DELETE", f"dask/clusters/{ID}")
    assert (answer.status_code, answer.json()) == (404, {"message": "There is no such cluster."})


@pytest.mark.parametrize(
    "identifier", [ID.upper(), ID[:-1], f"{ID}0", "..", "%2e%2e", f"{ID}%2f..%2f{OTHER}", f"{ID}%0a"]
)
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_what_is_no_name_of_a_cluster_never_reaches_the_gateway(panel, gateway, method, identifier):
    gateway.clusters()
    answer = panel.ask(method, f"dask/clusters/{identifier}", json={"workers": 1} if method == "PATCH" else None)
    assert answer.status_code in {302, 404, 405}
    assert gateway.asked == []


@pytest.mark.parametrize("token", ["of-somebody-else", None])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "dask/clusters"),
        ("PUT", "dask/clusters"),
        ("PATCH", f"dask/clusters/{ID}"),
        ("DELETE", f"dask/clusters/{ID}"),
        ("GET", f"dask/dashboard-check/dask%2Fdashboard%2F{ID}"),
    ],
)
def test_only_the_sessions_own_person_is_served(panel, gateway, method, path, token):
    answer = panel.ask(method, path, token=token)
    assert answer.status_code == 403
    assert gateway.asked == []


@pytest.mark.parametrize(
    "url",
    [
        f"dask/dashboard/{ID}",
        f"http://127.0.0.1:1/user/me/dask/dashboard/{ID}/",
        f"{PREFIX}/clusters/{ID}/status",
        f"https://hub.example.org{PREFIX}/clusters/{ID}/",
        f"https://hub.example.org{PREFIX}/clusters/{ID}",
    ],
)
def test_a_dashboard_of_the_gateway_is_active_with_its_plots(panel, gateway, url):
    gateway.answer("GET", f"/clusters/{ID}/individual-plots.json", 200, PLOTS)
    expected = {"url": url, "isActive": True, "plots": PLOTS, "effectiveUrl": f"dask/dashboard/{ID}"}
    assert panel.check(url) == expected
    assert [one.authorization for one in gateway.asked] == ["token server-token"]


@pytest.mark.parametrize("place", ["dask/dashboard", f"{PREFIX[1:]}/clusters", f"{PREFIX}/clusters"])
def test_the_plots_of_a_dashboard_are_fetched_with_the_sessions_own_token(panel, gateway, place):
    assert panel.ask("GET", f"{place}/{ID}/individual-plots.json?123").status_code == 404
    gateway.answer("GET", f"/clusters/{ID}/individual-plots.json", 200, PLOTS)
    answer = panel.ask("GET", f"{place}/{ID}/individual-plots.json?123")
    assert (answer.status_code, answer.json()) == (200, PLOTS)
    assert {one.authorization for one in gateway.asked} == {"token server-token"}
    assert panel.ask("GET", f"{place}/{ID}/individual-plots.json", token=None).status_code == 403


@pytest.mark.parametrize("answer", [(404, {"error": "There is no such cluster."}), (302, "/hub/login"), (200, "[]")])
def test_a_dashboard_that_does_not_answer_is_inactive(panel, gateway, answer):
    gateway.answer("GET", f"/clusters/{ID}/individual-plots.json", *answer)
    assert panel.check(f"dask/dashboard/{ID}") == {"url": f"dask/dashboard/{ID}", "isActive": False, "plots": {}}


def test_no_address_that_a_page_chose_is_ever_connected_to(panel, gateway):
    with socket.socket() as tempting:
        tempting.bind(("127.0.0.1", 0))
        tempting.listen()
        tempting.settimeout(0)
        port = tempting.getsockname()[1]
        for url in (
            f"http://127.0.0.1:{port}/status",
            f"http://127.0.0.1:{port}/",
            f"http://127.0.0.1:{port}{PREFIX}/clusters/{ID}/",
            f"//127.0.0.1:{port}/dask/dashboard/{ID}x",
            f"http://[127.0.0.1:{port}/",
            f"file:///dask/dashboard/../{ID}",
        ):
            assert panel.check(url) == {"url": url, "isActive": False, "plots": {}}
        with pytest.raises(BlockingIOError):
            tempting.accept()
    assert {one.path for one in gateway.asked} <= {f"/clusters/{ID}/individual-plots.json"}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (f"dask/dashboard/{ID}", f"/clusters/{ID}"),
        (f"dask/dashboard/{ID}/", f"/clusters/{ID}/"),
        (f"dask/dashboard/{ID}/individual-task-stream", f"/clusters/{ID}/individual-task-stream"),
        (
            f"dask/dashboard/{ID}/info/main/workers.html?theme=dark&x=%2F",
            f"/clusters/{ID}/info/main/workers.html?theme=dark&x=%2F",
        ),
        (f"{PREFIX[1:]}/clusters/{ID}/individual-progress", f"/clusters/{ID}/individual-progress"),
        (f"{PREFIX}/clusters/{ID}/individual-progress", f"/clusters/{ID}/individual-progress"),
    ],
)
def test_a_pane_is_sent_on_to_where_the_hub_is_asked_who_looks(panel, asked, sent):
    answer = panel.ask("GET", asked)
    assert (answer.status_code, answer.headers["Location"]) == (302, PREFIX + sent)


@pytest.mark.parametrize(
    "path",
    [
        f"{ID[:-1]}/status",
        f"{ID}x/status",
        f"{ID}/..%2f..%2fhub",
        f"{ID}/%2e%2e/x",
        f"{ID}//example.org",
        f"{ID}/a%0d%0ab",
    ],
)
def test_a_pane_is_sent_to_no_other_page(panel, path):
    answer = panel.ask("GET", f"dask/dashboard/{path}")
    assert answer.status_code == 404 or PREFIX not in answer.headers.get("Location", "")


def test_a_dashboard_asks_for_the_login_of_the_session_first(panel):
    answer = panel.ask("GET", f"dask/dashboard/{ID}/status", token=None)
    assert answer.status_code in {302, 403}
    assert PREFIX not in answer.headers.get("Location", "")


def test_jupyterlab_shows_the_panel_and_notebook_does_not_try_to(panel):
    extensions = _extensions_of(panel.ask("GET", "lab").text)
    assert "dask-labextension" in extensions
    (description,) = (one for one in _federated(panel.ask("GET", "lab").text) if one["name"] == "dask-labextension")
    script = panel.ask("GET", f"lab/extensions/dask-labextension/{description['load']}")
    assert (script.status_code, len(script.content) > 1000) == (200, True)
    assert panel.ask("GET", "lab/api/settings/dask-labextension%3Aplugin").status_code == 200
    assert "dask-labextension" not in _extensions_of(panel.ask("GET", "tree").text)


def test_without_dask_there_is_no_panel_and_no_address_of_it(python, tmp_path):
    (tmp_path / "home").mkdir()
    with hub() as api:
        session = Session(python, api, {"home": str(tmp_path / "home")}, tmp_path / "log")
        try:
            session.ears.until("ready")
            panel = Panel(session)
            assert "dask-labextension" not in _extensions_of(panel.ask("GET", "lab").text)
            assert panel.ask("GET", "dask/clusters").status_code == 404
        finally:
            session.close()


def test_no_server_loads_what_clusters_are_made_of(panel):
    panel.ask("GET", "dask/clusters")
    libraries = Path(f"/proc/{panel.session.process.pid}/maps").read_text()
    assert "site-packages/tornado" in libraries
    assert "site-packages/numpy" not in libraries  # distributed imports it when it is there, and it is


def _federated(page: str) -> list[dict]:
    config = re.search(r'<script id="jupyter-config-data" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(config[1])["federated_extensions"]


def _extensions_of(page: str) -> set[str]:
    return {one["name"] for one in _federated(page)}
