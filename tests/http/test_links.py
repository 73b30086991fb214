"""The page that makes links and badges, and the same for programs."""

from __future__ import annotations

import re
from html import unescape

import pytest

from launcher.errors import RefNotFound
from tests.http.test_api import error_of
from tests.http.test_my_launches import main_of, press

EVIL = '"><img src=x onerror=alert(1)>'


def made(api, base, **body):
    answer = api.post(f"{base}/api/v1/links", json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def output(page: str, name: str) -> str | None:
    found = re.search(
        rf'<div class="output" id="output-{name}"( hidden)?>.*?<textarea[^>]*>(.*?)</textarea>', page, re.DOTALL
    )
    return None if found[1] else unescape(found[2])


def test_a_program_gets_links_of_whatever_it_names(web, base, api):
    body = made(api, base, repository="https://github.com/o/r/blob/main/a.ipynb")
    assert body["links"]["launch"] == f"{base}/v2/gh/o/r/main?labpath=a.ipynb"
    assert body["links"]["badge"] == f"{base}/badge_logo.svg"
    assert body["links"]["nbgitpuller"].startswith(base.removesuffix("services/binder") + "hub/user-redirect/git-pull?")
    assert body["checked"] is False
    assert web.launches.previews == [], "nobody was asked"
    launch = api.get(body["links"]["launch"], headers={"Accept": "text/html"}, timeout=20)
    assert launch.status_code == 200, "the link is one that works"


def test_a_check_looks_and_starts_nothing(web, base, api):
    assert made(api, base, repository="o/r", check=True)["checked"] is True
    assert len(web.launches.previews) == 1
    assert web.launches.requests == []
    web.launches.problem = "apt.txt cannot be used here."
    error = error_of(api.post(f"{base}/api/v1/links", json={"repository": "o/r", "check": True}, timeout=20), 422)
    assert error["message"] == "apt.txt cannot be used here."
    assert made(api, base, repository="o/r")["links"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, (400, "spec_invalid")),
        ({"repository": "https://github.com/o/r/pull/new"}, (400, "spec_invalid")),
        ({"repository": "o/r", "interface": "vim"}, (400, "bad_request")),
        ({"repository": "o/r", "ref": 3}, (400, "bad_request")),
        ({"repository": "o/r" + "x" * 3000}, (400, "bad_request")),
        ({"repository": "o/r", "path": "../../hub/admin"}, (400, "path_invalid")),
        ({"repository": "o/r", "interface": "other", "path": "lab?token=x"}, (400, "path_invalid")),
        ({"repository": "https://mybinder.org/v2/nowhere/x"}, (404, "provider_unknown")),
    ],
)
def test_what_cannot_work_is_an_error(web, base, api, body, error):
    status, code = error
    assert error_of(api.post(f"{base}/api/v1/links", json=body, timeout=20), status)["code"] == code


def test_the_repository_says_where_a_branch_ends(web, base, api):
    address = "https://github.com/o/r/blob/feature/x/n/a.ipynb"
    web.sources.branch = "feature/x"
    links = made(api, base, repository=address)["links"]
    assert (links["launch"], links["notes"]) == (f"{base}/v2/gh/o/r/feature/x?labpath=n/a.ipynb", [])
    web.sources.branch = "unreachable"
    links = made(api, base, repository=address)["links"]
    assert (links["launch"], links["notes"]) == (f"{base}/v2/gh/o/r/feature?labpath=x/n/a.ipynb", ["guessed"])


def test_a_link_that_follows_a_request_to_merge_says_so(web, base, browser):
    page = browser.get(f"{base}/links", timeout=20).text
    answer = press(browser, base, page, "links", repository="https://git.test/o/r/pulls/3")
    assert output(answer.text, "launch").endswith("%2Fo%2Fr/refs/pull/3/head")
    assert "This link follows a pull or merge request" in main_of(answer.text)
    assert output(answer.text, "nbgitpuller") is None


def test_the_form_makes_everything_to_copy_and_keeps_what_was_typed(web, base, browser):
    empty = browser.get(f"{base}/links", timeout=20)
    assert 'id="results" aria-labelledby="results-heading" hidden' in empty.text
    assert "api.github" not in empty.headers["content-security-policy"]
    typed = {"repository": "https://github.com/o/r/tree/main", "path": "n/a.ipynb", "interface": "notebook"}
    page = press(browser, base, empty.text, "links", **typed)
    assert page.status_code == 200
    link = f"{base}/v2/gh/o/r/main?filepath=n/a.ipynb"
    assert output(page.text, "launch") == link
    assert output(page.text, "markdown") == f"[![Launch]({base}/badge_logo.svg)]({link})"
    assert output(page.text, "html").startswith(f'<a href="{link}">')
    assert output(page.text, "rst").splitlines()[1] == f"   :target: {link}"
    assert link in output(page.text, "myst")
    assert "A launch of this works." in main_of(page.text)
    assert f'<a id="preview" href="{link}"><img src="/services/binder/badge_logo.svg" alt="Launch"></a>' in page.text
    for value in typed.values():
        assert value in page.text
    assert page.url == f"{base}/links", "nothing of it is in an address that a browser or a log keeps"
    zenodo = press(browser, base, page.text, "links", repository="10.5281/zenodo.7").text
    assert output(zenodo, "nbgitpuller") is None
    assert output(zenodo, "jupyter_book") is None


def test_the_form_says_at_once_what_cannot_work(web, base, browser):
    page = browser.get(f"{base}/links", timeout=20).text
    answer = press(browser, base, page, "links", repository="https://github.com/o")
    assert answer.status_code == 400
    assert "a page of GitHub, but of no repository" in main_of(answer.text)
    assert 'id="results" aria-labelledby="results-heading" hidden' in answer.text
    web.launches.preview_error = RefNotFound("The repository has no branch, tag or commit called x.", hint="Check it.")
    answer = press(browser, base, page, "links", repository="o/r", ref="x")
    assert answer.status_code == 404
    assert "no branch, tag or commit called x. Check it." in main_of(answer.text)
    assert 'value="x"' in answer.text, "what was typed is still there to be mended"


def test_what_is_typed_is_text(web, base, browser):
    page = browser.get(f"{base}/links", timeout=20).text
    for field in ("repository", "ref", "path", "environment", "environment_ref"):
        answer = press(browser, base, page, "links", **{"repository": "o/r", "environment": "o/e", field: EVIL})
        assert EVIL not in answer.text, field


def test_only_the_page_itself_sends_the_form(web, base, browser):
    page = browser.get(f"{base}/links", timeout=20).text
    cross = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"}
    assert press(browser, base, page, "links", cross, repository="o/r").status_code == 403
    assert press(browser, base, page, "links", repository="o/r", _xsrf=None).status_code == 403
    assert browser.get(f"{base}/links", headers={"Sec-Fetch-Mode": "cors"}, timeout=20).status_code == 403
