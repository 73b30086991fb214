"""Dataverse: datasets by DOI, on whatever installation the DOI leads to."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from launcher.errors import AddressRefused, RefNotFound, RepositoryNotFound, SourceInvalid
from launcher.models import Repository, Resolved, Spec
from launcher.sources.addresses import WebAddress
from launcher.sources.doi import DoiResolver, doi_url, parse_doi
from launcher.sources.providers import SourceTools, directory_name, repository_id
from launcher.sources.records import RecordFile, RecordProvider, answer_of, display_config


class DataverseProvider(RecordProvider):
    """``dataverse/<DOI>`` of a dataset or of one of its files; the ref is ``<dataset>.v<major>.<minor>``."""

    id = "dataverse"
    display_config = display_config("dataverse", "Dataverse DOI", label="Dataverse DOI", example="10.7910/DVN/TJCLKP")

    def __init__(self, tools: SourceTools) -> None:
        super().__init__(tools)
        self._addresses = tools.addresses
        self._installations = tools.config.dataverse_hosts
        self._doi = DoiResolver(tools.http, tools.config.provider_urls.get("doi", "https://doi.org"))

    def repository(self, spec: Spec) -> Repository:
        """The dataset of a DOI. Raises SpecInvalid."""
        doi = parse_doi(spec.raw)
        name = directory_name(doi.rpartition("/")[2])
        return Repository(repository_id(self.id, "doi.org", doi.lower()), self.id, doi, name, doi_url(doi))

    async def resolve(self, spec: Spec) -> Resolved:
        """The newest published version. Raises RepositoryNotFound, RefNotFound, AddressRefused, SourceError."""
        host, persistent_id = await self._locate(parse_doi(spec.raw))
        dataset = await self._dataset(host, persistent_id)
        with answer_of("Dataverse"):
            version = dataset["latestVersion"]
            if "versionNumber" not in version:
                raise RefNotFound("This dataset has no published version.")
            ref = f"{int(dataset['id'])}.v{int(version['versionNumber'])}.{int(version['versionMinorNumber'])}"
            doi = parse_doi(f"{dataset['authority']}/{dataset['identifier']}")
        return self.resolved(spec, ref=ref, persistent=doi, ref_url=doi_url(doi))

    async def download(self, resolved: Resolved, directory: Path) -> Path:
        """The files of the version in their folders, as they were uploaded; nothing is unpacked. Raises SourceError."""
        host, _ = await self._locate(parse_doi(resolved.spec.raw))
        dataset, _, version = resolved.ref.partition(".v")
        body = await self.http.get_json(f"{host}/api/datasets/{dataset}/versions/{version}")
        with answer_of("Dataverse"):
            files = [_file(host, entry) for entry in body["data"]["files"]]
        await self.downloads.files(files, directory)
        return directory

    async def _locate(self, doi: str) -> tuple[str, str]:
        """Base URL of the installation, checked, and the persistent id as the installation spells it."""
        landing = await self._doi.landing_page(doi)
        address = self._check(landing)
        if self._installations is not None and address.host not in self._installations:
            raise RepositoryNotFound(f"The DOI {doi} is not on a Dataverse that is known here.")
        named = parse_qs(urlsplit(landing).query).get("persistentId", [f"doi:{doi}"])
        return f"{address.scheme}://{address.authority}", named[0]

    def _check(self, landing: str) -> WebAddress:
        """The landing page's address. Many were registered before their hosts had https, which they have now."""
        try:
            return self._addresses.check_url(landing)
        except AddressRefused:
            if not landing.startswith("http://"):
                raise
            return self._addresses.check_url(landing.replace("http://", "https://", 1))

    async def _dataset(self, host: str, persistent_id: str) -> dict[str, Any]:
        try:
            body = await self._ask(host, "datasets", persistent_id)
        except RepositoryNotFound:  # then it may be the DOI of a file
            file = await self._ask(host, "files", persistent_id, returnDatasetVersion="true")
            with answer_of("Dataverse"):
                dataset_id = str(file["datasetVersion"]["datasetPersistentId"])
            body = await self._ask(host, "datasets", dataset_id)
        return body

    async def _ask(self, host: str, kind: str, persistent_id: str, **more: str) -> dict[str, Any]:
        query = urlencode({"persistentId": persistent_id, **more}, safe=":/")
        body = await self.http.get_json(f"{host}/api/{kind}/:persistentId?{query}")
        with answer_of("Dataverse"):
            if body["status"] != "OK" or not isinstance(body["data"], dict):
                raise ValueError(body["status"])
            return dict(body["data"])


def _file(host: str, entry: dict[str, Any]) -> RecordFile:
    """One file; tables are asked for as they were uploaded, not as the archive keeps them."""
    if entry.get("restricted"):
        raise SourceInvalid(
            "The dataset has files that are not public.", hint="Ask the authors to publish them, or a version without."
        )
    data = entry["dataFile"]
    name = str(data.get("originalFileName") or entry["label"])
    folder = str(entry.get("directoryLabel") or "")
    url = f"{host}/api/access/datafile/{int(data['id'])}?format=original"
    size = data.get("originalFileSize") if data.get("originalFileName") else data.get("filesize")
    return RecordFile(name=f"{folder}/{name}" if folder else name, url=url, size=int(size) if size else None)
