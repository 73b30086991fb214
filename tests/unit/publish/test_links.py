"""Links and badges: what is copied leads where it should, whatever was pasted."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from launcher.errors import AddressRefused, LauncherError, ProviderUnknown, SpecInvalid
from launcher.hub.redirect import launch_path
from launcher.publish.links import Interface, LinkMaker, Wanted
from launcher.sources.providers import SourcesConfig
from launcher.sources.registry import RepositorySources

SERVICE = "https://hub.test/services/binder/"


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    sources = RepositorySources(SourcesConfig(tmp_path_factory.mktemp("cache")))
    return LinkMaker(sources, service_url=SERVICE, hub_url="https://hub.test/hub/")


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        (Wanted("o/r"), "gh/o/r/HEAD"),
        (Wanted("o/r", ref="dev"), "gh/o/r/dev"),
        (Wanted("o/r", path="a b.ipynb"), "gh/o/r/HEAD?labpath=a%20b.ipynb"),
        (Wanted("https://github.com/o/r/blob/main/n/a.ipynb"), "gh/o/r/main?labpath=n/a.ipynb"),
        (Wanted("https://github.com/o/r/tree/main/n"), "gh/o/r/main?urlpath=lab/tree/n"),
        (Wanted("o/r", interface=Interface.NOTEBOOK), "gh/o/r/HEAD?urlpath=tree"),
        (Wanted("o/r", path="a.ipynb", interface=Interface.NOTEBOOK), "gh/o/r/HEAD?filepath=a.ipynb"),
        (Wanted("o/r", interface=Interface.RSTUDIO), "gh/o/r/HEAD?urlpath=rstudio"),
        (
            Wanted("o/r", path="proxy/8050/?x=1&y", interface=Interface.OTHER),
            "gh/o/r/HEAD?urlpath=proxy/8050/%3Fx%3D1%26y",
        ),
        (Wanted("https://gitlab.com/g/p"), "gl/g%2Fp/HEAD"),
        (Wanted("https://doi.org/10.5281/zenodo.7", path="x.ipynb"), "zenodo/10.5281/zenodo.7?labpath=x.ipynb"),
    ],
)
def test_the_launch_link_opens_what_was_asked_for(maker, wanted, target):
    links = maker.make(wanted)
    assert links.launch == f"{SERVICE}v2/{target}"
    assert {name: value[0] for name, value in parse_qs(urlsplit(links.launch).query).items()} == dict(links.query)


def test_every_badge_shows_the_image_and_leads_to_the_link(maker):
    links = maker.make(Wanted("o/r", path="a&b (1).ipynb"))
    found = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append((tag, dict(attributes)))

    Reader().feed(links.html)
    assert found == [("a", {"href": links.launch}), ("img", {"src": links.badge, "alt": "Launch"})]
    assert links.markdown.startswith(f"[![Launch]({links.badge})](")
    assert links.markdown.count(")") == 2, "a bracket in the address would end the link"
    assert links.rst.splitlines() == [f".. image:: {links.badge}", f"   :target: {links.launch}", "   :alt: Launch"]
    assert links.badge == f"{SERVICE}badge_logo.svg"


def test_settings_of_books_are_yaml_that_names_the_repository_and_this_launcher(maker):
    links = maker.make(Wanted("https://github.com/o/r/tree/main"))
    assert yaml.safe_load(links.myst)["project"] == {"github": "https://github.com/o/r", "binder": links.launch}
    book = yaml.safe_load(links.jupyter_book)
    assert book["repository"] == {"url": "https://github.com/o/r", "branch": "main"}
    assert book["launch_buttons"]["binderhub_url"] == SERVICE.rstrip("/")
    assert maker.make(Wanted("https://gitlab.com/g/p")).jupyter_book is None


def test_a_pull_link_opens_the_files_in_the_regular_session(maker):
    links = maker.make(Wanted("https://github.com/o/r/blob/main/n/a b.ipynb"))
    parts = urlsplit(links.nbgitpuller)
    assert (parts.netloc, parts.path) == ("hub.test", "/hub/user-redirect/git-pull")
    pulled = {"repo": ["https://github.com/o/r"], "branch": ["main"], "urlpath": ["lab/tree/r/n/a b.ipynb"]}
    assert parse_qs(parts.query) == pulled
    assert launch_path("git-pull", parts.query) is None
    assert maker.make(Wanted("10.5281/zenodo.7")).nbgitpuller is None


@pytest.mark.parametrize("environment", ["e/env", "https://gitlab.com/g/env", "https://git.example.org/env"])
def test_files_of_one_repository_in_the_environment_of_another(maker, environment):
    links = maker.make(Wanted("o/r", path="a.ipynb", ref="dev", environment=environment, environment_ref="v1"))
    parts = urlsplit(links.launch)
    assert parts.path == f"/services/binder/v2/{links.spec}"
    assert links.spec.endswith("/v1")
    pull = parse_qs(parts.query)["urlpath"][0]
    assert parse_qs(pull.removeprefix("git-pull?")) == {
        "repo": ["https://github.com/o/r"],
        "branch": ["dev"],
        "urlpath": ["lab/tree/r/a.ipynb"],
    }
    as_redirected = launch_path("git-pull", urlsplit(links.nbgitpuller).query)
    assert as_redirected.startswith(f"v2/{links.spec}?"), "the Hub makes the same launch of the pull link"
    assert parse_qs(as_redirected.partition("?")[2]) == {"urlpath": [pull]}


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (Wanted(""), SpecInvalid),
        (Wanted("o/r", ref="a..b"), SpecInvalid),
        (Wanted("o/r", environment="https://github.com/only"), SpecInvalid),
        (Wanted("10.5281/zenodo.7", environment="e/env"), SpecInvalid),
        (Wanted("https://127.0.0.1/r"), AddressRefused),
        (Wanted("https://mybinder.org/v2/nowhere/x/y"), ProviderUnknown),
    ],
)
def test_what_cannot_work_is_said_at_once(maker, wanted, error):
    with pytest.raises(LauncherError) as raised:
        maker.make(wanted)
    assert isinstance(raised.value, error)
    assert raised.value.message
