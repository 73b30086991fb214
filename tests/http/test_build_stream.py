"""``/build/<provider>/<spec>`` as Binder clients see it."""

from __future__ import annotations

import json
from typing import Any

import requests

ACCEPT = {"Accept": "text/event-stream"}


def events(answer: requests.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def test_a_token_alone_launches_and_is_answered_with_ready(web, base, api):
    answer = api.get(f"{base}/build/gh/u/r/HEAD", headers=ACCEPT, timeout=20)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    told = events(answer)
    assert [event["phase"] for event in told] == ["built", "launching", "ready"]
    assert told[-1]["url"] == f"{base.removesuffix('/services/binder')}/user/someone/gh-u-r-abc123/"
    assert told[-1]["token"] == "short-lived-token"
    (request,) = web.launches.requests
    assert request.person.name == "alice"
    assert request.confirmed
    assert request.wants_token
