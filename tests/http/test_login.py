"""Who may come in, when the Hub is away, and what is told to the log."""

from __future__ import annotations

import dataclasses

import pytest
import requests
from jupyterhub.services.auth import HubOAuth
from structlog.testing import capture_logs

from launcher.errors import ConfigurationInvalid
from launcher.web.settings import WebSettings
from tests.http.conftest import PREFIX, SECRET
from tests.http.test_build_stream import STREAM, only_event
from tests.support.hub import free_port
from tests.support.running import eventually


@pytest.fixture
def no_hub(web):
    auth = HubOAuth(
        api_url=f"http://127.0.0.1:{free_port()}/hub/api",
        api_token="x",
        base_url=PREFIX,
        oauth_client_id="service-binder",
        access_scopes={"access:services"},
    )
    web.application.settings["hub_auth"] = auth


def test_without_the_hub_callers_are_told_to_wait_and_no_address_leaks(no_hub, web, base, api):
    answer = api.get(f"{base}/api/v1/builds", timeout=20)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "hub_unavailable"
    assert int(answer.headers["retry-after"]) > 0
    event = only_event(api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20))
    assert event["code"] == "hub_unavailable"
    assert "127.0.0.1" not in answer.text + str(event)


def test_a_revoked_token_ends_at_once(web, base, hub):
    hub.token_for("dora")
    made = hub.api("POST", "/users/dora/tokens", json={"note": "x"}).json()
    headers = {"Authorization": f"token {made['token']}"}
    assert requests.get(f"{base}/api/v1/builds", headers=headers, timeout=20).status_code == 200
    assert hub.api("DELETE", f"/users/dora/tokens/{made['id']}").status_code == 204
    assert requests.get(f"{base}/api/v1/builds", headers=headers, timeout=20).status_code == 403


def test_services_cannot_launch(web, base):
    from tests.http.conftest import SERVICE_TOKEN

    headers = {"Authorization": f"token {SERVICE_TOKEN}"}
    answer = requests.get(f"{base}/api/v1/builds", headers=headers, timeout=20)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "not_allowed"


def test_the_person_is_who_the_hub_says(web, base, hub):
    token = hub.token_for("erin")
    hub.api("POST", "/groups/course-1")
    assert hub.api("POST", "/groups/course-1/users", json={"users": ["erin"]}).status_code == 200
    headers = {**STREAM, "Authorization": f"token {token}"}
    requests.get(f"{base}/build/gh/u/r/HEAD", headers=headers, timeout=20)
    (request,) = web.launches.requests
    assert (request.person.name, request.person.admin, request.person.groups) == ("erin", False, {"course-1"})
    assert "access:services!service=binder" in request.person.scopes
    assert request.hub_token == token


@pytest.mark.parametrize("query", ["", "?code=x", "?code=x&state=y", "?error=x%0d%0aSet-Cookie:a=b"])
def test_a_login_that_did_not_start_here_is_refused(web, base, query):
    answer = requests.get(f"{base}/oauth_callback{query}", timeout=20)
    assert answer.status_code in {400, 403}
    assert "Set-Cookie:a" not in answer.text


def test_one_line_for_each_request_without_secrets_and_control_characters(web, base, api, alice_token):
    with capture_logs() as lines:
        api.get(f"{base}/build/gh/u/r/%1b%5B31m{'x' * 500}?build_token=secret-token", headers=STREAM, timeout=20)
        # The line is written when the answer is already on its way.
        eventually(lambda: [line for line in lines if line["event"] == "request"], what="the line of the request")
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["user"] == "alice"
    assert len(line["path"]) <= 200
    assert "secret-token" not in str(lines)
    assert alice_token not in str(lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"service_prefix": "/services/binder"},
        {"service_prefix": "//services/"},
        {"hub_base_url": "hub/"},
        {"hub_base_url": "/hub/?a/"},
        {"build_token_secret": b"short"},
        {"build_token_secret": b""},
        {"previous_token_secrets": (b"short",)},
        {"public_url": "hub.example.org"},
        {"public_url": "https://hub.example.org/path"},
        {"public_url": "javascript:alert(1)"},
    ],
)
def test_settings_that_cannot_work_are_refused(changes):
    with pytest.raises(ConfigurationInvalid):
        dataclasses.replace(WebSettings(build_token_secret=SECRET), **changes)


def test_the_public_address_is_what_api_clients_are_told(web, base, api):
    web.fresh(public_url="https://hub.example.org")
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20)
    assert '"url": "https://hub.example.org/user/someone/gh-u-r-abc123/"' in answer.text
    assert web.launches.requests[0].launch_host == "https://hub.example.org/services/binder/"
