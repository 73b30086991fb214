"""The description of the JSON API is about this API: all of its addresses, and answers as they come."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
import requests

from launcher.models import EnvironmentStatus
from launcher.web.openapi import OPERATIONS, api_routes, document
from tests.http.conftest import PREFIX
from tests.support.scripted_launches import BUILD, COMMIT

JSON = "application/json"


def strict(node: Any) -> Any:
    """The schemas, with no field allowed that they do not name."""
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    named = {"additionalProperties": False} if "properties" in node and "additionalProperties" not in node else {}
    return {name: strict(value) for name, value in node.items()} | named


def described(answer: Any, path: str, method: str = "get", status: str | None = None) -> Any:
    """The body of an answer, which is what the description says of that address."""
    found = document()["paths"][path][method]["responses"]
    chosen = found[status or next(iter(found))]["content"][JSON]["schema"]
    jsonschema.validate(answer.json(), {**chosen, "components": strict(document()["components"])})
    return answer.json()


def test_it_names_every_address_with_every_method_and_no_other():
    methods = {
        path: {
            name
            for name in ("get", "post", "delete", "put", "patch")
            if "_unimplemented_method" not in getattr(handler, name).__qualname__
        }
        for path, handler in api_routes().items()
    }
    assert {path: set(operations) for path, operations in OPERATIONS.items()} == methods
    assert all(operation["summary"] for methods in document()["paths"].values() for operation in methods.values())


def test_anybody_may_read_it(base, web):
    answer = requests.get(f"{base}/api/v1/openapi.json", timeout=20)
    assert answer.json() == document()
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json()["servers"] == [{"url": f"{PREFIX}api/v1"}]


@pytest.mark.parametrize("environment", [None, *EnvironmentStatus])
def test_a_preview_is_as_described(web, base, api, environment):
    web.launches.environment = environment
    body = described(api.get(f"{base}/api/v1/preview?spec=gh/u/r/HEAD", timeout=20), "/preview")
    assert body["preview"]["ref"] == COMMIT


def test_a_launch_is_as_described(web, base, api):
    web.launches.script, web.launches.pause_after = BUILD, 1
    described(api.post(f"{base}/api/v1/launches", json={"spec": "gh/u/r/HEAD"}, timeout=20), "/launches", "post")


def test_builds_are_as_described(web, base, api):
    described(api.get(f"{base}/api/v1/builds", timeout=20), "/builds")


def test_links_are_as_described(web, base, api):
    body = {"repository": "https://github.com/u/r"}
    described(api.post(f"{base}/api/v1/links", json=body, timeout=20), "/links", "post")


def test_a_refusal_is_as_described(web, base, api):
    for path in ("preview?spec=nope/u", "builds/nope", "builds?status=nope"):
        address = "/" + re.sub("builds/nope", "builds/{build_id}", path).partition("?")[0]
        described(api.get(f"{base}/api/v1/{path}", timeout=20), address, status="default")
