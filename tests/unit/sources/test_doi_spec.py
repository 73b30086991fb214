"""Links of the DOI providers: every spelling people use is understood, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from launcher.errors import AddressRefused, LauncherError, SpecInvalid
from launcher.models import Spec
from launcher.sources.ckan import CkanProvider
from launcher.sources.dataverse import DataverseProvider
from launcher.sources.doi import parse_doi
from launcher.sources.figshare import FigshareProvider
from launcher.sources.hydroshare import HydroshareProvider
from launcher.sources.providers import SourceTools
from launcher.sources.zenodo import ZenodoProvider
from tests.support.doi_server import doi_server, tools_for

RESOURCE = "b8f6eae9d89241cf8b5904033460af61"


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[SourceTools]:
    with doi_server() as server:
        yield tools_for(server, tmp_path)
        assert server.requests == []  # reading a link asks nobody


@pytest.mark.parametrize(
    "raw",
    [
        "10.5281/zenodo.3242074",
        "10.5281/zenodo.3242074/",
        "doi:10.5281/zenodo.3242074",
        "https://doi.org/10.5281/zenodo.3242074",
        "https:/doi.org/10.5281/zenodo.3242074",
        "http://dx.doi.org/10.5281/zenodo.3242074/",
        "doi.org/10.5281/zenodo.3242074",
        "https%3A%2F%2Fdoi.org%2F10.5281%2Fzenodo.3242074",
        "10.5281%2Fzenodo.3242074",
    ],
)
def test_a_doi_is_read_in_every_usual_spelling(raw: str) -> None:
    assert parse_doi(raw) == "10.5281/zenodo.3242074"


@pytest.mark.parametrize("doi", ["10.7910/DVN/TJCLKP", "10.1000.10/a(b)c;d", "10.1/x", "10.22002/d1.1235"])
def test_every_kind_of_doi_is_read(doi: str) -> None:
    assert parse_doi(doi) == doi


@pytest.mark.parametrize(
    "raw",
    [
        "", "/", "x", "10.5281", "10.5281/", "11.5281/x", "10.x/y", "10.5281/a b", "10.5281/../../etc",
        "10.5281/a/./b", "10.5281/x?y=1", "10.5281/x#y", "10.5281/x%00", "10.5281/x%0d%0aHost:y", "10.5281/x\n",
        "10.5281/é", "10.5281/%ff", "10.5281/%252e%252e/x", "https://evil.example/10.5281/x",
        "https://doi.org@evil.example/10.5281/x", "10.5281//x", "10.5281/<script>", "10.5281/" + "x" * 400,
        "x" * 10_000_000,
    ],
)  # fmt: skip
def test_what_is_not_a_doi_is_refused_with_words(tools: SourceTools, raw: str) -> None:
    for provider in (ZenodoProvider(tools), FigshareProvider(tools), DataverseProvider(tools)):
        with pytest.raises(SpecInvalid) as caught:
            provider.parse(raw)
        assert len(caught.value.message) < 300
        assert caught.value.message.isprintable()


def test_a_spec_keeps_its_bytes(tools: SourceTools) -> None:
    raw = "https%3A%2F%2Fdoi.org%2F10.5281%2Fzenodo.3242074/"
    assert ZenodoProvider(tools).parse(raw) == Spec("zenodo", raw)


def test_all_spellings_of_a_record_are_one_repository(tools: SourceTools) -> None:
    zenodo = ZenodoProvider(tools)
    spellings = [
        "10.5281/zenodo.1",
        "10.5281/ZENODO.1/",
        "doi:10.5281/zenodo.1",
        "https%3A%2F%2Fdoi.org%2F10.5281%2Fzenodo.1",
    ]
    assert {zenodo.repository(zenodo.parse(raw)).id for raw in spellings} == {"zenodo:doi.org/10.5281/zenodo.1"}
    repository = zenodo.repository(zenodo.parse(spellings[0]))
    assert (repository.display_name, repository.name) == ("10.5281/zenodo.1", "zenodo.1")
    assert repository.url == "https://doi.org/10.5281/zenodo.1"


def test_all_versions_of_a_figshare_article_are_one_repository(tools: SourceTools) -> None:
    figshare = FigshareProvider(tools)
    ids = {
        figshare.repository(figshare.parse(f"10.6084/m9.figshare.9782777{end}")).id for end in ("", ".v1", ".V2", "/")
    }
    assert ids == {"figshare:doi.org/10.6084/m9.figshare.9782777"}


@pytest.mark.parametrize(
    "raw", ["10.6084/m9.figshare.x", "10.6084/m9.figshare.1.v", "10.6084/m9.figshare.1.vx", "10.6084/abc"]
)
def test_a_doi_without_an_article_number_is_not_figshares(tools: SourceTools, raw: str) -> None:
    with pytest.raises(SpecInvalid):
        FigshareProvider(tools).parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        RESOURCE,
        f"{RESOURCE}/",
        f"10.4211/hs.{RESOURCE}",
        quote(f"https://www.hydroshare.org/resource/{RESOURCE}/", safe=""),
        f"https://doi.org/10.4211/hs.{RESOURCE}",
    ],
)
def test_a_hydroshare_resource_is_found_in_whatever_holds_its_id(tools: SourceTools, raw: str) -> None:
    hydroshare = HydroshareProvider(tools)
    repository = hydroshare.repository(hydroshare.parse(raw))
    assert repository.id == f"hydroshare:www.hydroshare.org/{RESOURCE}"
    assert repository.url == f"https://www.hydroshare.org/resource/{RESOURCE}"


@pytest.mark.parametrize("raw", ["", "x", RESOURCE[:-1], RESOURCE.upper(), "%ff" + RESOURCE])
def test_without_an_id_there_is_no_hydroshare_resource(tools: SourceTools, raw: str) -> None:
    with pytest.raises(SpecInvalid):
        HydroshareProvider(tools).parse(raw)


@pytest.mark.parametrize(
    "end", ["", "/", "?activity_id=93df7fd0-0edc", "/?activity_id=93df7fd0-0edc", "/history/93df7fd0-0edc"]
)
def test_a_ckan_dataset_is_one_repository_at_any_time(tools: SourceTools, end: str) -> None:
    ckan = CkanProvider(tools)
    repository = ckan.repository(ckan.parse(quote(f"https://Data.Example.org/fr/dataset/birds{end}", safe="")))
    assert repository.id == "ckan:data.example.org/fr/dataset/birds"
    assert (repository.name, repository.url) == ("birds", "https://data.example.org/fr/dataset/birds")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("https://data.example.org/group/birds", SpecInvalid),
        ("https://data.example.org/dataset/", SpecInvalid),
        ("https://data.example.org/dataset/a/dataset/b", SpecInvalid),
        ("https://data.example.org/dataset/a%20b", SpecInvalid),
        ("https://data.example.org/dataset/a?activity_id=../../x", SpecInvalid),
        ("https://data.example.org/dataset/..%2f..%2fx", AddressRefused),
        ("http://data.example.org/dataset/a", AddressRefused),
        ("https://127.0.0.1/dataset/a", AddressRefused),
        ("https://127.1/dataset/a", AddressRefused),
        ("https://[::ffff:169.254.169.254]/dataset/a", AddressRefused),
        ("https://user:secret@data.example.org/dataset/a", AddressRefused),
        ("https://data.example.org:22/dataset/a", AddressRefused),
        ("file:///dataset/passwd", AddressRefused),
        ("dataset/a", AddressRefused),
        ("", AddressRefused),
    ],
)
def test_what_is_no_public_ckan_dataset_is_refused(
    tools: SourceTools, address: str, error: type[LauncherError]
) -> None:
    with pytest.raises(error) as caught:
        CkanProvider(tools).parse(quote(address, safe=""))
    assert "secret" not in caught.value.message + caught.value.hint


def test_the_descriptions_have_binderhubs_shape(tools: SourceTools) -> None:
    shape = {"displayName", "id", "spec", "repo", "ref"}
    encoded = {}
    for kind in (ZenodoProvider, FigshareProvider, DataverseProvider, HydroshareProvider, CkanProvider):
        config = kind(tools).display_config
        assert set(config) == shape
        assert config["id"] == kind(tools).id
        assert config["ref"] == {"enabled": False}
        repo = config["repo"]
        assert isinstance(repo, dict)
        assert set(repo) == {"label", "placeholder", "urlEncode"}
        encoded[config["id"]] = repo["urlEncode"]
    assert encoded == {"zenodo": False, "figshare": False, "dataverse": False, "hydroshare": True, "ckan": True}
