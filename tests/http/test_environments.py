"""Environments for admins: every page of the list, pins, and removal that refuses what is in use."""

from __future__ import annotations

from launcher.models import EnvironmentSize
from tests.http.test_api import error_of
from tests.http.test_builds import ask, operator, store
from tests.support import examples

__all__ = ["operator", "store"]


def ready(store, number: int, **more) -> str:
    """An environment that is there; its key."""
    row = ask(store, number, **more)
    store.set_build_finished(row.id, examples.built(f"env-{number}"))
    return row.environment_key


def listed(client, base, **query):
    answer = client.get(f"{base}/api/v1/environments", params=query, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_admins_see_every_environment_and_what_it_takes(store, base, operator, web):
    key = ready(store, 1)
    store.save_sizes({"env-1": EnvironmentSize(10, 20)})
    ask(store, 2)
    web.in_use.add("env-1")
    body = listed(operator, base)
    one = next(row for row in body["environments"] if row["key"] == key)
    assert (one["own_bytes"], one["shared_bytes"], one["status"], one["spec"]) == (
        10,
        20,
        "ready",
        "gh/org/repo-1/main",
    )
    assert (one["in_use"], one["pinned"], one["building"], one["removing"]) == (True, False, False, False)
    assert (body["total"], body["next"]) == (2, None)
    assert [row["key"] for row in listed(operator, base, search="repo-2")["environments"]] == [examples.key(2)]
    web.in_use.clear()


def test_pages_follow_each_other_to_the_end(store, base, operator):
    keys = {ready(store, number) for number in range(5)}
    seen, after = [], None
    while True:
        body = listed(operator, base, limit=2, **({"after": after} if after else {}))
        seen += [row["key"] for row in body["environments"]]
        assert body["total"] == 5
        if (after := body["next"]) is None:
            break
    assert (set(seen), len(seen)) == (keys, 5)
    for odd in ({"limit": "x"}, {"after": "yesterday"}, {"after": "2026-01-01T00:00:00~x"}):
        error_of(operator.get(f"{base}/api/v1/environments", params=odd, timeout=20), 400)


def test_people_who_are_no_admins_and_browsers_are_refused(store, base, api, browser):
    key = ready(store, 1)
    for method, path in (("GET", ""), ("DELETE", f"/{key}"), ("POST", f"/{key}/pin"), ("DELETE", f"/{key}/pin")):
        address = f"{base}/api/v1/environments{path}"
        error_of(api.request(method, address, timeout=20), 403)
        assert browser.request(method, address, timeout=20).status_code == 403
    assert store.environment(key) is not None


def test_removing_refuses_what_is_pinned_built_or_used_and_says_why(store, base, operator, web):
    pinned, used, key = (ready(store, number) for number in range(3))
    building = ask(store, 3).environment_key
    web.in_use.add("env-1")
    address = f"{base}/api/v1/environments"
    assert operator.post(f"{address}/{pinned}/pin", timeout=20).status_code == 204
    for other, word in ((pinned, "pinned"), (used, "session"), (building, "built")):
        error = error_of(operator.delete(f"{address}/{other}", timeout=20), 409)
        assert error["code"] == "environment_in_use"
        assert word in error["message"]
        assert error["hint"]
    assert operator.delete(f"{address}/{pinned}/pin", timeout=20).status_code == 204
    for gone in (pinned, key):
        assert operator.delete(f"{address}/{gone}", timeout=20).status_code == 204
        assert store.environment(gone) is None
        assert error_of(operator.delete(f"{address}/{gone}", timeout=20), 404)["code"] == "environment_not_found"
    web.in_use.clear()
