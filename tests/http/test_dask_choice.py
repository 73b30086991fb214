""" "With Dask": on the launch page, in links, in the event stream and in the JSON API."""

from __future__ import annotations

import re

import pytest

from launcher.models import Trust
from tests.http.test_build_stream import STREAM, page_config
from tests.http.test_pages import click
from tests.support.scripted_launches import BUILD

CHECKBOX = re.compile(r'<input type="checkbox" id="dask" name="dask" value="1"[^>]*>')
PAGE = "v2/gh/u/r/HEAD"
REASON = "Your groups on this hub have no Dask."
NO = ["", "0", "no", "false", "maybe", "%00", "1;drop", "11", "dask"]


def origin(base: str) -> str:
    return re.match(r"http://[^/]+", base)[0]


@pytest.fixture
def choosing(web):
    """An unknown repository, and a person who may have Dask once they trust it."""
    web.launches.trust = Trust.UNKNOWN
    web.launches.dask_reason = "Repositories you did not say you trust get no Dask."
    web.launches.dask_choice = True
    return web


class TestLaunchPage:
    def test_the_page_says_what_dask_there_is_and_lets_choose(self, choosing, base, browser):
        text = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert "Repositories you did not say you trust get no Dask." in text
        assert "checked" not in CHECKBOX.search(text)[0]
        assert "If its packages include Dask, it is there anyway." in text

    def test_a_link_that_asks_for_it_finds_it_ticked_and_a_person_can_untick_it(self, choosing, base, browser):
        choosing.launches.script, choosing.launches.pause_after = BUILD, 1
        assert "checked" in CHECKBOX.search(browser.get(f"{base}/{PAGE}?dask=1", timeout=20).text)[0]
        answer = click(browser, f"{base}/{PAGE}?dask=1", trust="yes")
        assert choosing.launches.requests[-1].with_dask is False
        assert "dask" not in answer.headers["location"]

    @pytest.mark.parametrize("value", NO)
    def test_anything_else_in_the_link_is_no(self, choosing, base, browser, value):
        answer = browser.get(f"{base}/{PAGE}?dask={value}", timeout=20)
        assert answer.status_code == 200
        assert "checked" not in CHECKBOX.search(answer.text)[0]

    def test_what_was_ticked_goes_all_the_way_with_a_script(self, choosing, base, browser):
        choosing.launches.script, choosing.launches.pause_after = BUILD, 1
        answer = click(browser, f"{base}/{PAGE}?urlpath=lab", trust="yes", dask="1")
        assert choosing.launches.requests[-1].with_dask
        config = page_config(browser.get(origin(base) + answer.headers["location"], timeout=20).text)
        assert config["eventsUrl"] == "/services/binder/build/gh/u/r/HEAD?urlpath=lab&dask=1"
        choosing.launches.pause_after = None
        address = f"{origin(base)}{config['eventsUrl']}&build_token={config['buildToken']}&_xsrf={config['xsrfToken']}"
        browser.get(address, headers={**STREAM, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, timeout=20)
        assert [request.with_dask for request in choosing.launches.requests] == [True, True]

    def test_what_was_ticked_goes_all_the_way_without_a_script(self, choosing, base, browser):
        choosing.launches.script, choosing.launches.pause_after = BUILD, 3
        answer = click(browser, f"{base}/{PAGE}", trust="yes", dask="1")
        page = browser.get(origin(base) + answer.headers["location"], timeout=20).text
        refresh = re.search(r'<noscript><meta http-equiv="refresh" content="1; url=([^"]+)"', page)[1]
        browser.get(origin(base) + refresh.replace("&amp;", "&"), timeout=20)
        assert [request.with_dask for request in choosing.launches.requests] == [True, True]

    def test_a_trusted_repository_goes_straight_on_with_what_the_link_says(self, web, base, browser):
        web.launches.dask_reason, web.launches.dask_choice = "", True
        page = browser.get(f"{base}/{PAGE}?dask=1", timeout=20).text
        assert page_config(page)["eventsUrl"].endswith("?dask=1")
        assert '<input type="hidden" name="dask" value="1">' in page, "the button for browsers without JavaScript"
        page = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert "?dask=1" not in page
        assert 'name="dask"' not in page

    def test_somebody_who_may_not_have_it_is_told_and_cannot_choose(self, choosing, base, browser):
        choosing.launches.dask_reason, choosing.launches.dask_choice = REASON, False
        text = browser.get(f"{base}/{PAGE}?dask=1", timeout=20).text
        assert f"<dt>Dask</dt><dd>{REASON}</dd>" in text
        assert CHECKBOX.search(text) is None

    def test_a_hub_without_dask_does_not_know_the_word(self, web, base, browser):
        web.launches.trust = Trust.UNKNOWN
        for address in (f"{base}/{PAGE}", f"{base}/"):
            assert "dask" not in browser.get(address, timeout=20).text.lower()


class TestHomePage:
    def test_the_form_makes_a_link_with_dask(self, web, base, browser):
        web.launches.dask_choice = True
        assert CHECKBOX.search(browser.get(f"{base}/", timeout=20).text)
        query = {"repository": "u/r", "path": "a b.ipynb", "dask": "1"}
        answer = browser.get(f"{base}/go", params=query, timeout=20, allow_redirects=False)
        assert answer.headers["location"] == "/services/binder/v2/gh/u/r/HEAD?labpath=a%20b.ipynb&dask=1"
        answer = browser.get(f"{base}/go", params={"repository": "u/r", "dask": "1"}, timeout=20, allow_redirects=False)
        assert answer.headers["location"] == "/services/binder/v2/gh/u/r/HEAD?dask=1"


class TestApi:
    @pytest.mark.parametrize(
        ("query", "asked"), [("?dask=1", True), ("", False), *((f"?dask={no}", False) for no in NO)]
    )
    def test_a_binder_clients_stream_may_ask_for_it_and_is_harmed_by_nothing(self, web, base, api, query, asked):
        text = api.get(f"{base}/build/gh/u/r/HEAD{query}", headers=STREAM, timeout=20).text
        assert '"ready"' in text
        assert web.launches.requests[-1].with_dask is asked

    def test_a_launch_asks_for_it_and_its_stream_is_the_same_launch(self, web, base, api):
        web.launches.script = BUILD
        answer = api.post(f"{base}/api/v1/launches", json={"spec": "gh/u/r/HEAD", "dask": True}, timeout=20)
        launch = answer.json()["launch"]
        assert launch["events_url"] == f"{base}/build/gh/u/r/HEAD?dask=1"
        api.get(launch["events_url"], headers=STREAM, timeout=20)
        assert [request.with_dask for request in web.launches.requests] == [True, True]
        for wrong in ("yes", 1, None, {}):
            body = {"spec": "gh/u/r/HEAD", "dask": wrong}
            assert api.post(f"{base}/api/v1/launches", json=body, timeout=20).status_code == 400

    def test_a_preview_says_what_dask_there_is(self, web, base, api):
        def preview(**query: str) -> dict:
            answer = api.get(f"{base}/api/v1/preview", params={"spec": "gh/u/r/HEAD", **query}, timeout=20)
            return answer.json()["preview"]

        assert "dask" not in str(preview(dask="1"))
        web.launches.dask_reason = ""
        assert (preview()["dask"], preview()["dask_reason"]) == ("yes", "")
        web.launches.dask_reason = REASON
        assert (preview()["dask"], preview()["dask_reason"]) == ("no", REASON)
