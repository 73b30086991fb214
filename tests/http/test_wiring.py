"""What `make_application` is given: another prefix, handlers of others, an orderly end."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import requests
from tornado.netutil import bind_sockets
from tornado.web import RequestHandler

from launcher.web.application import make_application
from tests.http.conftest import WebThread
from tests.http.test_build_stream import STREAM, until
from tests.support.scripted_launches import BUILD


class Redeem(RequestHandler):
    def post(self) -> None:
        self.finish({"redeemed": True})


@pytest.fixture
def deep(running_web, tmp_path):
    """The application below another base URL, without a proxy, with one handler of somebody else."""
    sockets = bind_sockets(0, "127.0.0.1")
    thread = WebThread(sockets, running_web._hub_auth, tmp_path)
    thread.settings = dataclasses.replace(
        thread.settings, service_prefix="/jhub/services/binder/", hub_base_url="/jhub/"
    )
    parts = thread.parts
    extra: Any = [(r"/jhub/services/binder/api/v1/tickets/redeem", Redeem)]
    thread.parts = lambda: dataclasses.replace(parts(), extra_handlers=extra)  # type: ignore[method-assign]
    thread.start()
    yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    thread.stop()


def test_every_address_is_below_the_prefix(deep):
    assert requests.get(f"{deep}/jhub/services/binder/versions", timeout=20).status_code == 200
    assert requests.get(f"{deep}/services/binder/versions", timeout=20).status_code == 404
    answer = requests.get(f"{deep}/jhub/services/binder/repo/u/r", timeout=20, allow_redirects=False)
    assert answer.headers["location"] == "/jhub/services/binder/v2/gh/u/r/master"
    page = requests.get(f"{deep}/jhub/services/binder/nonsense", timeout=20).text
    assert 'href="/jhub/services/binder/static/built/assets/style-' in page
    assert 'href="/jhub/hub/home"' in page


def test_handlers_of_others_come_first(deep):
    answer = requests.post(f"{deep}/jhub/services/binder/api/v1/tickets/redeem", timeout=20)
    assert answer.json() == {"redeemed": True}


def test_closing_the_slots_ends_every_stream(web, base, api):
    web.launches.script, web.launches.pause_after = BUILD, 2
    with api.get(f"{base}/build/gh/u/r/HEAD", headers=STREAM, timeout=20, stream=True) as answer:
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        assert "waiting" in next(lines)
        web.call(web.application.settings["stream_slots"].close)
        assert "ready" not in "".join(lines), "the stream ends, the launch was not told as over"
    until(lambda: web.launches.closed == 1)


def test_two_applications_share_nothing(web):
    first, second = (make_application(web.parts()) for _ in range(2))
    for part in ("metrics", "stream_slots", "launch_rate", "health", "build_tokens"):
        assert first.settings[part] is not second.settings[part]
