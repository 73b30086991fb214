"""Records of the five hosts: from a link to a commit with the record's files."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from launcher.errors import AddressRefused, RefNotFound, RepositoryNotFound, SourceInvalid, SourceUnavailable
from launcher.models import Resolved, Snapshot
from launcher.sources.ckan import CkanProvider
from launcher.sources.dataverse import DataverseProvider
from launcher.sources.figshare import FigshareProvider
from launcher.sources.hydroshare import HydroshareProvider
from launcher.sources.records import RecordProvider
from launcher.sources.registry import RepositorySources
from launcher.sources.zenodo import ZenodoProvider
from tests.support.doi_server import DoiServer, doi_server, no_names, tools_for, zip_bytes

RESOURCE = "b8f6eae9d89241cf8b5904033460af61"
README, REQUIREMENTS = b"# A record\n", b"numpy\n"


@pytest.fixture
def server() -> Iterator[DoiServer]:
    with doi_server("zenodo", "figshare", "dataverse", "hydroshare", "ckan") as running:
        yield running


async def resolve(provider: RecordProvider, raw: str) -> Resolved:
    return await provider.resolve(provider.parse(raw))


async def fetch(provider: RecordProvider, raw: str) -> Snapshot:
    return await provider.fetch(await resolve(provider, raw))


def files_of(snapshot: Snapshot) -> dict[str, bytes]:
    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", str(snapshot.cache), *arguments], capture_output=True, check=True).stdout

    names = git("ls-tree", "-r", "-z", "--name-only", snapshot.commit).decode().split("\0")[:-1]
    return {name: git("cat-file", "blob", f"{snapshot.commit}:{name}") for name in names}


def nothing_left_in(directory: Path) -> bool:
    """Whether the cache holds no scratch directory of a download."""
    return not [path for path in (directory / "cache").iterdir() if path.suffix == ".record"]


async def test_every_record_is_reached_through_the_one_door(server: DoiServer, tmp_path: Path) -> None:
    server.body("/files/4", README)
    known = tools_for(server, tmp_path)
    sources = RepositorySources(known.config, resolver=no_names)
    described = [entry["id"] for entry in sources.describe()]
    assert {"zenodo", "figshare", "dataverse", "hydroshare", "ckan"} <= set(described)
    resolved = await sources.resolve(sources.parse("figshare", "10.6084/m9.figshare.9782777"))
    assert resolved.repository == sources.repository(resolved.spec)
    assert files_of(await sources.fetch(resolved)) == {"README.md": README}


# Zenodo


async def test_a_zenodo_record_resolves_to_its_number(server: DoiServer, tmp_path: Path) -> None:
    server.fixtures("zenodo")
    zenodo = ZenodoProvider(tools_for(server, tmp_path))
    resolved = await resolve(zenodo, "10.5281/zenodo.3232985/")
    assert resolved.ref == "3232985"
    assert resolved.persistent_spec == "zenodo/10.5281/zenodo.3232985"
    assert resolved.ref_url == "https://doi.org/10.5281/zenodo.3232985"
    assert resolved.ref_name is None


async def test_a_zenodo_doi_of_all_versions_leads_to_the_newest(server: DoiServer, tmp_path: Path) -> None:
    server.redirect("/api/records/3242073", "/api/records/3242074")
    resolved = await resolve(ZenodoProvider(tools_for(server, tmp_path)), "https://doi.org/10.5281/zenodo.3242073")
    assert resolved.ref == "3242074"
    assert resolved.persistent_spec == "zenodo/10.5281/zenodo.3242074"
    assert resolved.spec.raw == "https://doi.org/10.5281/zenodo.3242073"


async def test_a_foreign_doi_of_a_zenodo_record_works(server: DoiServer, tmp_path: Path) -> None:
    resolved = await resolve(ZenodoProvider(tools_for(server, tmp_path)), "10.17605/OSF.IO/OWN")
    assert (resolved.ref, resolved.persistent_spec) == ("3232985", "zenodo/10.17605/OSF.IO/OWN")


@pytest.mark.parametrize("doi", ["10.21105/joss.01277", "10.9999/nothing", "10.5281/zenodo.999"])
async def test_what_is_not_on_zenodo_is_not_found(server: DoiServer, tmp_path: Path, doi: str) -> None:
    with pytest.raises(RepositoryNotFound):
        await resolve(ZenodoProvider(tools_for(server, tmp_path)), doi)


async def test_several_zenodo_files_are_stored_by_their_names(server: DoiServer, tmp_path: Path) -> None:
    server.body("/api/records/3232985/files/README.md/content", README)
    server.body("/api/records/3232985/files/requirements.txt/content", REQUIREMENTS)
    snapshot = await fetch(ZenodoProvider(tools_for(server, tmp_path)), "10.5281/zenodo.3232985")
    assert files_of(snapshot) == {"README.md": README, "requirements.txt": REQUIREMENTS}
    assert nothing_left_in(tmp_path)


async def test_a_single_zip_is_unpacked_without_its_wrapping_directory(server: DoiServer, tmp_path: Path) -> None:
    packed = zip_bytes({"org-repo-abc123/README.md": README, "org-repo-abc123/binder/requirements.txt": REQUIREMENTS})
    server.json("/api/records/3242074/files", single_entry("org/repo-v1.zip", len(packed)))
    server.body("/content", packed)
    snapshot = await fetch(ZenodoProvider(tools_for(server, tmp_path)), "10.5281/zenodo.3242074")
    assert files_of(snapshot) == {"README.md": README, "binder/requirements.txt": REQUIREMENTS}
    assert nothing_left_in(tmp_path)


async def test_a_version_is_downloaded_once_and_gives_the_same_commit_anywhere(
    server: DoiServer, tmp_path: Path
) -> None:
    server.body("/api/records/3232985/files/README.md/content", README)
    server.body("/api/records/3232985/files/requirements.txt/content", REQUIREMENTS)
    zenodo = ZenodoProvider(tools_for(server, tmp_path))
    resolved = await resolve(zenodo, "10.5281/zenodo.3232985")
    first = await zenodo.fetch(resolved)
    asked = len(server.requests)
    assert await ZenodoProvider(tools_for(server, tmp_path)).fetch(resolved) == first
    assert len(server.requests) == asked
    elsewhere = await ZenodoProvider(tools_for(server, tmp_path / "other")).fetch(resolved)
    assert elsewhere.commit == first.commit
    assert elsewhere.cache != first.cache


async def test_many_clicks_on_one_record_download_it_once(server: DoiServer, tmp_path: Path) -> None:
    server.body("/api/records/3232985/files/README.md/content", README)
    server.body("/api/records/3232985/files/requirements.txt/content", REQUIREMENTS)
    zenodo = ZenodoProvider(tools_for(server, tmp_path))
    resolved = await resolve(zenodo, "10.5281/zenodo.3232985")
    snapshots = await asyncio.gather(*(zenodo.fetch(resolved) for _ in range(5)))
    assert len(set(map(str, snapshots))) == 1
    assert server.requests.count("/api/records/3232985/files/README.md/content") == 1


async def test_what_a_killed_launcher_left_is_cleared_by_the_next(server: DoiServer, tmp_path: Path) -> None:
    server.body("/api/records/3232985/files/README.md/content", README)
    server.body("/api/records/3232985/files/requirements.txt/content", REQUIREMENTS)
    tools = tools_for(server, tmp_path)
    zenodo = ZenodoProvider(tools)
    resolved = await resolve(zenodo, "10.5281/zenodo.3232985")
    remains = tools.cache.path(resolved.repository.id).with_suffix(".record") / "files"
    remains.mkdir(parents=True)
    (remains / "half.zip").touch()
    assert set(files_of(await zenodo.fetch(resolved))) == {"README.md", "requirements.txt"}
    assert nothing_left_in(tmp_path)


async def test_a_cancelled_download_leaves_nothing_and_can_be_repeated(server: DoiServer, tmp_path: Path) -> None:
    server.body("/api/records/3232985/files/README.md/content", README)
    path = "/api/records/3232985/files/requirements.txt/content"
    server.silent(path)
    zenodo = ZenodoProvider(tools_for(server, tmp_path))
    resolved = await resolve(zenodo, "10.5281/zenodo.3232985")
    task = asyncio.create_task(zenodo.fetch(resolved))
    async with asyncio.timeout(20):
        while path not in server.requests:  # noqa: ASYNC110 - another thread's list
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.left.wait, 20)  # the connection ended with the task
    assert nothing_left_in(tmp_path)
    server.body("/api/records/3232985/files/requirements.txt/content", REQUIREMENTS)
    assert set(files_of(await zenodo.fetch(resolved))) == {"README.md", "requirements.txt"}


async def test_a_record_without_files_is_an_empty_commit(server: DoiServer, tmp_path: Path) -> None:
    server.json("/api/records/3232985/files", {"entries": []})
    assert files_of(await fetch(ZenodoProvider(tools_for(server, tmp_path)), "10.5281/zenodo.3232985")) == {}


async def test_a_damaged_file_is_noticed(server: DoiServer, tmp_path: Path) -> None:
    server.body("/api/records/3232985/files/README.md/content", README.replace(b"A", b"B"))
    server.body("/api/records/3232985/files/requirements.txt/content", REQUIREMENTS)
    with pytest.raises(SourceInvalid, match="README"):
        await fetch(ZenodoProvider(tools_for(server, tmp_path)), "10.5281/zenodo.3232985")
    assert nothing_left_in(tmp_path)


def single_entry(key: str, size: int) -> dict[str, Any]:
    return {"entries": [{"key": key, "size": size, "links": {"content": "{server}/content"}}]}


# Figshare


async def test_figshare_without_a_version_means_the_newest_by_number(server: DoiServer, tmp_path: Path) -> None:
    figshare = FigshareProvider(tools_for(server, tmp_path))
    resolved = await resolve(figshare, "10.6084/m9.figshare.9782777")
    assert resolved.ref == "9782777.v10"
    assert resolved.persistent_spec == "figshare/10.6084/m9.figshare.9782777.v10"
    assert resolved.ref_url == "https://doi.org/10.6084/m9.figshare.9782777.v10"
    older = await resolve(figshare, "10.6084/m9.figshare.9782777.v1")
    assert older.ref == "9782777.v1"
    assert older.repository.id == resolved.repository.id


@pytest.mark.parametrize("doi", ["10.6084/m9.figshare.9782777.v77", "10.6084/m9.figshare.1"])
async def test_a_figshare_version_that_is_not_there_is_not_found(server: DoiServer, tmp_path: Path, doi: str) -> None:
    with pytest.raises((RefNotFound, RepositoryNotFound)):
        await resolve(FigshareProvider(tools_for(server, tmp_path)), doi)


async def test_a_doi_cannot_borrow_another_institutions_name(server: DoiServer, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFound):
        await resolve(FigshareProvider(tools_for(server, tmp_path)), "10.26188/trusted.9782777.v1")


async def test_figshare_files_are_stored_and_links_elsewhere_are_not_followed(
    server: DoiServer, tmp_path: Path
) -> None:
    server.redirect("/files/1", "/storage/1?signature=x")
    server.body("/storage/1?signature=x", README)
    server.body("/files/2", REQUIREMENTS)
    snapshot = await fetch(FigshareProvider(tools_for(server, tmp_path)), "10.6084/m9.figshare.9782777.v1")
    assert files_of(snapshot) == {"README.md": README, "requirements.txt": REQUIREMENTS}


async def test_two_versions_of_an_article_share_one_cache(server: DoiServer, tmp_path: Path) -> None:
    for number, body in ((1, README), (2, REQUIREMENTS), (4, README)):
        server.body(f"/files/{number}", body)
    figshare = FigshareProvider(tools_for(server, tmp_path))
    old = await fetch(figshare, "10.6084/m9.figshare.9782777.v1")
    new = await fetch(figshare, "10.6084/m9.figshare.9782777")
    assert old.cache == new.cache
    assert old.commit != new.commit
    assert set(files_of(old)) == {"README.md", "requirements.txt"}
    assert set(files_of(new)) == {"README.md"}


# Dataverse


@pytest.mark.parametrize("doi", ["10.7910/DVN/TJCLKP", "10.7910/dvn/tjclkp", "10.7910/DVN/TJCLKP/F1"])
async def test_a_dataverse_doi_resolves_to_the_published_version(server: DoiServer, tmp_path: Path, doi: str) -> None:
    resolved = await resolve(DataverseProvider(tools_for(server, tmp_path)), doi)
    assert resolved.ref == "3035124.v3.1"
    assert resolved.persistent_spec == "dataverse/10.7910/DVN/TJCLKP"
    assert resolved.ref_url == "https://doi.org/10.7910/DVN/TJCLKP"


async def test_dataverse_files_arrive_in_their_folders_as_they_were_uploaded(server: DoiServer, tmp_path: Path) -> None:
    for number, body in ((3323458, README), (3323459, b"dta!"), (3323460, REQUIREMENTS)):
        server.body(f"/api/access/datafile/{number}?format=original", body)
    snapshot = await fetch(DataverseProvider(tools_for(server, tmp_path)), "10.7910/DVN/TJCLKP")
    assert files_of(snapshot) == {
        "README.md": README,
        "data/raw/survey.dta": b"dta!",
        "binder/requirements.txt": REQUIREMENTS,
    }


async def test_a_dataset_with_private_files_says_so(server: DoiServer, tmp_path: Path) -> None:
    routes = server.fixtures("dataverse")
    body = routes["/api/datasets/3035124/versions/3.1"]
    body["data"]["files"][0]["restricted"] = True
    server.json("/api/datasets/3035124/versions/3.1", body)
    with pytest.raises(SourceInvalid, match="not public"):
        await fetch(DataverseProvider(tools_for(server, tmp_path)), "10.7910/DVN/TJCLKP")


async def test_a_dataset_without_a_published_version_is_not_found(server: DoiServer, tmp_path: Path) -> None:
    path = "/api/datasets/:persistentId?persistentId=doi:10.7910/DVN/TJCLKP"
    body = server.fixtures("dataverse")[path]
    del body["data"]["latestVersion"]["versionNumber"]
    server.json(path, body)
    with pytest.raises(RefNotFound):
        await resolve(DataverseProvider(tools_for(server, tmp_path)), "10.7910/DVN/TJCLKP")


async def test_only_installations_the_operator_named_are_asked(server: DoiServer, tmp_path: Path) -> None:
    tools = tools_for(server, tmp_path, dataverse_hosts=frozenset({"dataverse.example.org"}))
    with pytest.raises(RepositoryNotFound):
        await resolve(DataverseProvider(tools), "10.7910/DVN/TJCLKP")
    assert server.requests == ["/api/handles/10.7910/DVN/TJCLKP"]
    tools = tools_for(server, tmp_path, dataverse_hosts=frozenset({"127.0.0.1"}))
    assert (await resolve(DataverseProvider(tools), "10.7910/DVN/TJCLKP")).ref == "3035124.v3.1"


@pytest.mark.parametrize(
    "landing",
    [
        "https://10.0.0.1/dataset.xhtml",
        "http://localhost:1/",
        "https://192.0.2.1/",
        "ftp://example.org/",
        "javascript:alert(1)",
        "",
    ],
)
async def test_a_doi_cannot_lead_into_the_operators_network(server: DoiServer, tmp_path: Path, landing: str) -> None:
    server.json("/api/handles/10.1/x", {"values": [{"type": "URL", "data": {"value": landing}}]})
    with pytest.raises(AddressRefused):
        await resolve(DataverseProvider(tools_for(server, tmp_path)), "10.1/x")


# HydroShare


async def test_a_hydroshare_resource_resolves_to_its_last_change(server: DoiServer, tmp_path: Path) -> None:
    resolved = await resolve(HydroshareProvider(tools_for(server, tmp_path)), f"10.4211/hs.{RESOURCE}")
    assert resolved.ref == f"{RESOURCE}.v1569427757"
    assert resolved.ref_url == f"https://www.hydroshare.org/resource/{RESOURCE}"
    assert resolved.persistent_spec == f"hydroshare/{quote(resolved.ref_url, safe='')}"
    assert (
        await resolve(HydroshareProvider(tools_for(server, tmp_path)), resolved.persistent_spec.partition("/")[2])
    ).ref


async def test_hydroshare_gives_the_content_of_its_bag_when_it_is_ready(server: DoiServer, tmp_path: Path) -> None:
    bag = zip_bytes(
        {
            f"{RESOURCE}/bagit.txt": b"BagIt-Version: 0.96\n",
            f"{RESOURCE}/data/resourcemap.xml": b"<xml/>",
            f"{RESOURCE}/data/contents/README.md": README,
            f"{RESOURCE}/data/contents/sub/x.csv": b"1",
        }
    )
    path = f"/django_s3/download/bags/{RESOURCE}.zip"

    def not_yet(handler: Any) -> None:
        server.redirect(path, "/storage/bag.zip")
        handler.send(200, b"<html>Your archive is being prepared</html>")

    server.answers[path] = not_yet
    server.body("/storage/bag.zip", bag)
    hydroshare = HydroshareProvider(tools_for(server, tmp_path))
    hydroshare.asking_interval = 0.01
    snapshot = await fetch(hydroshare, RESOURCE)
    assert files_of(snapshot) == {"README.md": README, "sub/x.csv": b"1"}
    assert nothing_left_in(tmp_path)


async def test_a_bag_that_is_never_ready_is_given_up(server: DoiServer, tmp_path: Path) -> None:
    server.body(f"/django_s3/download/bags/{RESOURCE}.zip", b"not yet")
    hydroshare = HydroshareProvider(tools_for(server, tmp_path, fetch_timeout=0.2))
    hydroshare.asking_interval = 0.1
    with pytest.raises(SourceUnavailable):
        await fetch(hydroshare, RESOURCE)
    assert nothing_left_in(tmp_path)


# CKAN


@pytest.mark.parametrize(
    ("end", "seconds"),
    [
        ("/dataset/my-sample-dataset-001", 1709043354),
        ("/dataset/my-sample-dataset-001/", 1709043354),
        ("/prefix/dataset/my-sample-dataset-001", 1709043354),
        ("/dataset/my-sample-dataset-001?activity_id=93df7fd0-0edc-4ebf-bac7-fbf5f78de90b", 1706774431),
        ("/dataset/my-sample-dataset-001/history/93df7fd0-0edc-4ebf-bac7-fbf5f78de90b?activity_id=other", 1706774431),
    ],
)
async def test_a_ckan_dataset_resolves_to_its_last_change(
    server: DoiServer, tmp_path: Path, end: str, seconds: int
) -> None:
    ckan = CkanProvider(tools_for(server, tmp_path))
    resolved = await resolve(ckan, quote(server.url + end, safe=""))
    assert resolved.ref == f"my-sample-dataset-001.v{seconds}"
    assert resolved.ref_url == server.url + end
    assert await resolve(ckan, resolved.persistent_spec.partition("/")[2]) == Resolved(
        ckan.parse(quote(server.url + end, safe="")), resolved.repository, resolved.ref, None,
        resolved.persistent_spec, resolved.ref_url,
    )  # fmt: skip


async def test_a_dataset_that_is_not_there_is_not_found(server: DoiServer, tmp_path: Path) -> None:
    with pytest.raises(RepositoryNotFound):
        await resolve(CkanProvider(tools_for(server, tmp_path)), quote(f"{server.url}/dataset/nothing", safe=""))


async def test_ckan_resources_of_one_name_are_all_kept(server: DoiServer, tmp_path: Path) -> None:
    server.body("/dataset/x/resource/aaaa/download/table.csv", b"a")
    server.body("/dataset/x/resource/bbbb/download/table.csv", b"b")
    server.body("/other%20file.txt?v=2", b"c")
    snapshot = await fetch(
        CkanProvider(tools_for(server, tmp_path)), quote(f"{server.url}/dataset/my-sample-dataset-001", safe="")
    )
    assert files_of(snapshot) == {"table.csv": b"a", "bbbb-table.csv": b"b", "other%20file.txt": b"c"}
