"""Links and badges: what is copied leads where it should, whatever was pasted."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from launcher.errors import AddressRefused, LauncherError, ProviderUnknown, SourceUnavailable, SpecInvalid
from launcher.hub.redirect import launch_path
from launcher.publish.links import Interface, LinkMaker, Note, Wanted
from launcher.sources.providers import SourcesConfig
from launcher.sources.registry import RepositorySources

SERVICE = "https://hub.test/services/binder/"


class NobodyAsked(RepositorySources):
    """No repository answers, but the branch ``feature/x`` is known."""

    async def longest_ref(self, spec, path):
        if "unreachable" in spec.raw:
            raise SourceUnavailable("The repository's host did not answer as a git server.")
        return "feature/x" if path.startswith("feature/x") else None


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    sources = NobodyAsked(SourcesConfig(tmp_path_factory.mktemp("cache")))
    return LinkMaker(sources, service_url=SERVICE, hub_url="https://hub.test/hub/")


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        (Wanted("o/r"), "gh/o/r/HEAD"),
        (Wanted("o/r", ref="dev"), "gh/o/r/dev"),
        (Wanted("o/r", path="a b.ipynb"), "gh/o/r/HEAD?labpath=a%20b.ipynb"),
        (Wanted("https://github.com/o/r/blob/main/n/a.ipynb"), "gh/o/r/main?labpath=n/a.ipynb"),
        (Wanted("https://github.com/o/r/tree/main/n"), "gh/o/r/main?urlpath=lab/tree/n"),
        (Wanted("https://github.com/o/r/blob/feature/x/n/a.ipynb"), "gh/o/r/feature/x?labpath=n/a.ipynb"),
        (Wanted("https://github.com/o/r/tree/feature/x"), "gh/o/r/feature/x"),
        (Wanted("https://github.com/o/r/blob/main/a.ipynb", ref="dev"), "gh/o/r/dev?labpath=a.ipynb"),
        (Wanted("https://github.com/o/r/pull/3/files"), "gh/o/r/refs/pull/3/head"),
        (Wanted("https://gitlab.com/g/p/-/merge_requests/5"), "gl/g%2Fp/refs/merge-requests/5/head"),
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
async def test_the_launch_link_opens_what_was_asked_for(maker, wanted, target):
    links = await maker.make(wanted)
    assert links.launch == f"{SERVICE}v2/{target}"
    assert {name: value[0] for name, value in parse_qs(urlsplit(links.launch).query).items()} == dict(links.query)


async def test_every_badge_shows_the_image_and_leads_to_the_link(maker):
    links = await maker.make(Wanted("o/r", path="a&b (1).ipynb"))
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


async def test_settings_of_books_are_yaml_that_names_the_repository_and_this_launcher(maker):
    links = await maker.make(Wanted("https://github.com/o/r/tree/main"))
    assert yaml.safe_load(links.myst)["project"] == {"github": "https://github.com/o/r", "binder": links.launch}
    book = yaml.safe_load(links.jupyter_book)
    assert book["repository"] == {"url": "https://github.com/o/r", "branch": "main"}
    assert book["launch_buttons"]["binderhub_url"] == SERVICE.rstrip("/")
    elsewhere = await maker.make(Wanted("https://gitlab.com/g/p"))
    assert elsewhere.jupyter_book is None
    assert yaml.safe_load(elsewhere.myst)["project"] == {"binder": elsewhere.launch}, "`github` takes nothing else"


async def test_a_pull_link_opens_the_files_in_the_regular_session(maker):
    links = await maker.make(Wanted("https://github.com/o/r/blob/main/n/a b.ipynb"))
    parts = urlsplit(links.nbgitpuller)
    assert (parts.netloc, parts.path) == ("hub.test", "/hub/user-redirect/git-pull")
    pulled = {"repo": ["https://github.com/o/r"], "branch": ["main"], "urlpath": ["lab/tree/r/n/a b.ipynb"]}
    assert parse_qs(parts.query) == pulled
    assert launch_path("git-pull", parts.query) is None
    assert (await maker.make(Wanted("10.5281/zenodo.7"))).nbgitpuller is None


async def test_what_somebody_should_know_is_noted(maker):
    assert (await maker.make(Wanted("https://github.com/o/r/blob/main/a.ipynb"))).notes == ()
    guessed = await maker.make(Wanted("https://github.com/o/unreachable/blob/feature/x/a.ipynb"))
    assert (guessed.spec, guessed.notes) == ("gh/o/unreachable/feature", (Note.GUESSED,))
    request = await maker.make(Wanted("https://github.com/o/r/pull/3"))
    assert request.notes == (Note.PROPOSAL,)
    assert (request.nbgitpuller, request.jupyter_book) == (None, None), "neither can bring a request's files"
    environment = await maker.make(Wanted("o/r", environment="https://github.com/o/env/pull/3"))
    assert (environment.spec, environment.notes) == ("gh/o/env/refs/pull/3/head", (Note.PROPOSAL,))


@pytest.mark.parametrize("environment", ["e/env", "https://gitlab.com/g/env", "https://git.example.org/env"])
async def test_files_of_one_repository_in_the_environment_of_another(maker, environment):
    links = await maker.make(Wanted("o/r", path="a.ipynb", ref="dev", environment=environment, environment_ref="v1"))
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
        (Wanted("https://github.com/o/r/pull/3", environment="e/env"), SpecInvalid),
        (Wanted("https://127.0.0.1/r"), AddressRefused),
        (Wanted("https://mybinder.org/v2/nowhere/x/y"), ProviderUnknown),
    ],
)
async def test_what_cannot_work_is_said_at_once(maker, wanted, error):
    with pytest.raises(LauncherError) as raised:
        await maker.make(wanted)
    assert isinstance(raised.value, error)
    assert raised.value.message
