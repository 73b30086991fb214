"""Machine sizes: on the launch page, in links, in the event stream and in the JSON API."""

from __future__ import annotations

import re

import pytest

from launcher.models import Trust
from launcher.policy.sizes import Enforceable, MachineSizes, read_sizes
from tests.http.test_build_stream import STREAM, page_config
from tests.http.test_pages import click
from tests.support.scripted_launches import BUILD

PAGE = "v2/gh/u/r/HEAD"
SIZES = read_sizes(
    [
        {"name": "small", "title": "Small", "description": "For a <look>.", "memory": "1536M", "cpus": 0.5},
        {"name": "large", "title": "Large", "memory": "8G", "cpus": 4},
        {"name": "staff", "title": "Only for staff", "memory": "64G", "groups": ["staff"]},
    ]
)
RADIO = re.compile(r'<input type="radio" id="size-[^"]+" name="size" value="([^"]+)"([^>]*)>')


@pytest.fixture
def sized(web):
    """A hub with three sizes, one of which is not for our person, and an unknown repository."""
    web.launches.trust = Trust.UNKNOWN
    web.launches.sizes = MachineSizes(SIZES)
    return web


def origin(base: str) -> str:
    return re.match(r"http://[^/]+", base)[0]


def shown(text: str) -> dict[str, bool]:
    """Sizes to choose from, and which one is checked."""
    return {name: "checked" in rest for name, rest in RADIO.findall(text)}


class TestLaunchPage:
    def test_a_person_chooses_among_the_sizes_that_are_for_them(self, sized, base, browser):
        text = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert shown(text) == {"small": True, "large": False}
        assert "1.5 GiB of memory, 0.5 CPUs<br>For a &lt;look&gt;." in text
        assert "8 GiB of memory, 4 CPUs" in text
        assert "staff" not in text

    def test_what_was_chosen_goes_all_the_way_with_a_script(self, sized, base, browser):
        sized.launches.script, sized.launches.pause_after = BUILD, 1
        answer = click(browser, f"{base}/{PAGE}?urlpath=lab&size=small", size="large")
        assert sized.launches.requests[-1].size == "large"
        page = browser.get(origin(base) + answer.headers["location"], timeout=20).text
        config = page_config(page)
        assert config["eventsUrl"] == "/services/binder/build/gh/u/r/HEAD?urlpath=lab&size=large"
        assert "Large <span" in page
        sized.launches.pause_after = None
        address = f"{origin(base)}{config['eventsUrl']}&build_token={config['buildToken']}&_xsrf={config['xsrfToken']}"
        browser.get(address, headers={**STREAM, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, timeout=20)
        assert [request.size for request in sized.launches.requests] == ["large", "large"]

    def test_what_was_chosen_goes_all_the_way_without_a_script(self, sized, base, browser):
        sized.launches.script, sized.launches.pause_after = BUILD, 3
        answer = click(browser, f"{base}/{PAGE}", size="large")
        page = browser.get(origin(base) + answer.headers["location"], timeout=20).text
        refresh = re.search(r'<noscript><meta http-equiv="refresh" content="1; url=([^"]+)"', page)[1]
        browser.get(origin(base) + refresh.replace("&amp;", "&"), timeout=20)
        assert [request.size for request in sized.launches.requests] == ["large", "large"]

    def test_a_trusted_repository_goes_straight_on_with_the_size_of_the_link_or_the_first(self, sized, base, browser):
        sized.launches.trust = Trust.TRUSTED
        page = browser.get(f"{base}/{PAGE}?size=large", timeout=20).text
        assert page_config(page)["eventsUrl"].endswith("?size=large")
        assert '<input type="hidden" name="size" value="large">' in page, "the button for browsers without JavaScript"
        page = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert "size=" not in page_config(page)["eventsUrl"]
        assert "Small <span" in page

    @pytest.mark.parametrize("name", ["staff", "huge", "%22%3E%3Cb%3E", "large%00"])
    def test_a_link_to_a_size_that_is_not_for_the_person_is_refused_in_words(self, sized, base, browser, name):
        answer = browser.get(f"{base}/{PAGE}?size={name}", timeout=20)
        assert answer.status_code == 403
        assert "There is no machine size" in answer.text
        assert "You can choose: small, large." in answer.text
        assert '"><b>' not in answer.text

    def test_one_size_is_told_and_not_asked(self, sized, base, browser):
        sized.launches.sizes = MachineSizes(SIZES[:1])
        text = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert shown(text) == {}
        assert "Small <span" in text

    def test_a_running_session_keeps_its_size_and_the_page_says_so(self, sized, base, browser):
        sized.launches.running = "/user/ana/r/"
        text = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert "It keeps its machine size" in text
        assert shown(text) == {}
        assert "Small <span" in text

    def test_where_nothing_is_enforced_no_figure_is_shown(self, sized, base, browser):
        sized.launches.sizes = MachineSizes(SIZES, Enforceable.of(()))
        text = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert shown(text) == {"small": True, "large": False}
        assert "For a &lt;look&gt;." in text
        assert "GiB" not in text
        assert "CPU" not in text

    def test_a_hub_without_sizes_says_nothing_of_them(self, web, base, browser):
        web.launches.trust = Trust.UNKNOWN
        text = browser.get(f"{base}/{PAGE}", timeout=20).text
        assert 'name="size"' not in text
        assert "Machine" not in text


class TestApi:
    def test_the_preview_has_the_sizes_and_the_one_it_would_be(self, sized, base, api):
        def preview(more=""):
            return api.get(f"{base}/api/v1/preview?spec=gh/u/r/HEAD{more}", timeout=20)

        found = preview().json()["preview"]
        assert (found["size"], [size["name"] for size in found["sizes"]]) == ("small", ["small", "large"])
        assert found["sizes"][0] == {
            "name": "small",
            "title": "Small",
            "description": "For a <look>.",
            "memory_bytes": 1536 * 2**20,
            "cpus": 0.5,
        }
        assert preview("&size=large").json()["preview"]["size"] == "large"
        refused = preview("&size=staff")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "machine_size_not_allowed")

    def test_a_launch_takes_a_size_and_its_events_are_of_that_launch(self, sized, base, api):
        sized.launches.script, sized.launches.pause_after = BUILD, 1
        wish = {"spec": "gh/u/r/HEAD", "size": "large", "dask": True}
        answer = api.post(f"{base}/api/v1/launches", json=wish, timeout=20)
        assert answer.status_code == 202
        assert sized.launches.requests[-1].size == "large"
        events = answer.json()["launch"]["events_url"]
        assert events.endswith("/build/gh/u/r/HEAD?dask=1&size=large")
        sized.launches.pause_after = None
        api.get(origin(base) + events[events.index("/services") :], headers=STREAM, timeout=20)
        assert sized.launches.requests[-1].size == "large"

    @pytest.mark.parametrize("value", [1, None, ["large"], {}])
    def test_a_size_is_text(self, sized, base, api, value):
        wish = {"spec": "gh/u/r/HEAD", "size": value}
        answer = api.post(f"{base}/api/v1/launches", json=wish, timeout=20)
        assert answer.status_code == 400
