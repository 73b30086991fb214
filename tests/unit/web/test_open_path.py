"""Where links may lead: BinderHub's parameters to the byte, and nothing outside the session."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import PathInvalid
from launcher.web.open_path import checked, parse_open_path

SESSION = "https://hub.example.org/user/alice/gh-u-r/"


def parse(**arguments: str) -> str:
    return parse_open_path(arguments.get)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({}, ""),
        ({"labpath": "index.ipynb"}, "doc/tree/index.ipynb"),
        ({"labpath": "a b/ü.ipynb/"}, "doc/tree/a%20b/%C3%BC.ipynb"),
        ({"filepath": "a/b.ipynb"}, "tree/a/b.ipynb"),
        ({"labpath": "a", "filepath": "b", "urlpath": "c"}, "doc/tree/a"),
        ({"filepath": "b", "urlpath": "c"}, "tree/b"),
        ({"labpath": "100%.ipynb"}, "doc/tree/100%25.ipynb"),
        ({"urlpath": "lab/tree/RTC:index.ipynb"}, "lab/tree/RTC:index.ipynb"),
        ({"urlpath": "/lab/tree/x?reset"}, "lab/tree/x?reset"),
        ({"urlpath": "rstudio/"}, "rstudio/"),
        ({"urlpath": "voila/render/a%20b.ipynb"}, "voila/render/a%20b.ipynb"),
    ],
)
def test_parameters_mean_what_binderhub_makes_of_them(arguments, path):
    assert parse(**arguments) == path


def test_nested_nbgitpuller_links_keep_their_encoding():
    link = (
        "git-pull%3Frepo%3Dhttps%253A%252F%252Fgithub.com%252Forg%252Fcontent"
        "%26urlpath%3Dlab%252Ftree%252Fcontent%252Findex.ipynb%26branch%3Dmain"
    )
    ((_, argument),) = parse_qsl(f"urlpath={link}")
    path = parse(urlpath=argument)
    assert path == argument
    inner = dict(parse_qsl(urlsplit(path).query))
    assert inner == {
        "repo": "https://github.com/org/content",
        "urlpath": "lab/tree/content/index.ipynb",
        "branch": "main",
    }


@pytest.mark.parametrize(
    "urlpath",
    [
        "https://evil.test",
        "https://hub.example.org//evil.test",
        "javascript:alert(1)",
        "JavaScript%3Aalert(1)",
        "/\\evil.test",
        "\\\\evil.test",
        "/%09/evil.test",
        "/\t/evil.test",
        "%2f%2fevil.test",
        "%252f%252fevil.test",
        "%2fevil.test",
        "../../hub/admin",
        "%2e%2e/%2e%2e/hub/admin",
        "lab/tree/../../../etc/passwd",
        "lab/..%2f..%2fx",
        "..%252f..%252fx",
        "..%c0%af",
        "%00.ipynb",
        "a%0d%0aSet-Cookie:x",
        "lab?token=x",
        "lab?a=1&TOKEN=x",
        "lab?%74oken=x",
        "lab#token=x",
        "git-pull?repo=https%3A%2F%2Fh%2Fr&urlpath=lab%3Ftoken%3Dx",
        "git-pull?urlpath=%2F%2Fevil.test",
        "git-pull?urlpath=..%2F..%2Fhub",
        "git-pull?urlpath=https%3A%2F%2Fevil.test",
        "login?next=//evil.test",
        "login?next=https://evil.test",
        "%" + "25" * 9 + "2f",
        "\ud800",
        "\u2028",
        "x" * 9000,
    ],
)
def test_paths_that_could_leave_the_session_are_refused(urlpath):
    with pytest.raises(PathInvalid):
        parse(urlpath=urlpath)


@pytest.mark.parametrize(
    "urlpath",
    ["//evil.test", "///evil.test", "/hub/logout", "/user/other/lab", "evil.test", "@evil.test", "/".join("d" * 2000)],
)
def test_paths_that_only_look_harmful_stay_inside_the_session(urlpath):
    assert urljoin(SESSION, parse(urlpath=urlpath)).startswith(SESSION)


@pytest.mark.parametrize("name", ["labpath", "filepath"])
@pytest.mark.parametrize("path", ["../../x", "a/../../../x", "..%2fx", "x?token=y", "a\\b", "a\x00b", "%2e%2e/x"])
def test_file_paths_are_held_to_the_same_rules(name, path):
    with pytest.raises(PathInvalid):
        parse(**{name: path})


@given(st.text(max_size=60))
def test_whatever_is_accepted_is_ascii_stays_inside_and_means_itself(text):
    try:
        path = parse(urlpath=text)
    except PathInvalid:
        return
    assert path.isascii()
    assert path.isprintable()
    assert urljoin(SESSION, quote(path, safe="%/?:@&=+$,;-_.!~*'()#[]|^`{}")).startswith(SESSION)
    assert checked(path) == path
