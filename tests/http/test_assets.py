"""The files that the front end is built into: found by the pages, sent small, kept by browsers."""

from __future__ import annotations

import gzip
import re

import pytest
import requests

from launcher.web.assets import built_assets

HEAVIEST_BYTES = 150_000
PAGES = ["", "about", "errors", "builds", "links", "v2/gh/u/r/HEAD"]


def files_of(page: str) -> set[str]:
    """Every script and style that a page names."""
    return set(re.findall(r'(?:src|href)="([^"]+/static/built/[^"]+)"', page))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_with_all_it_loads_is_small(base, browser, path):
    origin = re.match(r"http://[^/]+", base)[0]
    page = browser.get(f"{base}/{path}", timeout=20)
    files = files_of(page.text)
    assert any(name.endswith(".css") for name in files)
    sizes = {name: len(requests.get(origin + name, stream=True, timeout=20).raw.read()) for name in files}
    assert sum(sizes.values()) + len(gzip.compress(page.content)) <= HEAVIEST_BYTES, sizes


def test_a_built_file_is_the_same_compressed_and_not(base, browser):
    origin = re.match(r"http://[^/]+", base)[0]
    address = origin + next(name for name in files_of(browser.get(f"{base}/about", timeout=20).text))
    small = requests.get(address, headers={"Accept-Encoding": "br, gzip"}, timeout=20)
    large = requests.get(address, headers={"Accept-Encoding": "identity"}, timeout=20)
    assert small.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in large.headers
    assert small.content == large.content
    assert int(small.headers["content-length"]) < int(large.headers["content-length"])
    assert (small.headers["vary"], large.headers["vary"]) == ("Accept-Encoding", "Accept-Encoding")
    for answer in (small, large):
        assert answer.headers["content-type"] == "text/css"
        assert "immutable" in answer.headers["cache-control"]


def test_other_files_are_asked_for_again_after_an_hour(base):
    answer = requests.get(f"{base}/static/icon.svg", timeout=20)
    assert answer.headers["cache-control"] == "public, max-age=3600"


def test_every_entry_of_the_manifest_can_be_loaded_and_no_other():
    assets = built_assets("/services/binder/")
    assert assets.style().startswith("/services/binder/static/built/assets/style-")
    assert assets.tags("launch").startswith('<script type="module" src="/services/binder/static/built/assets/launch-')
    with pytest.raises(KeyError):
        assets.tags("nope")
