"""Zenodo: records by DOI. A DOI of all versions leads to the newest one."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from launcher.errors import RepositoryNotFound
from launcher.models import Repository, Resolved, Spec
from launcher.sources.doi import DoiResolver, doi_url, parse_doi
from launcher.sources.providers import SourceTools, directory_name, repository_id
from launcher.sources.records import RecordFile, RecordProvider, answer_of, display_config

_OWN_DOI = re.compile(r"(?P<prefix>10\.5281/zenodo\.)(?P<record>[0-9]{1,18})", re.IGNORECASE)
_LANDING = re.compile(
    r"https?://(?:www\.)?zenodo\.org/(?:records?|doi)/(?:10\.[0-9.]+/zenodo\.)?(?P<record>[0-9]{1,18})/?", re.IGNORECASE
)


class ZenodoProvider(RecordProvider):
    """``zenodo/<DOI>``; the ref is the record's number."""

    id = "zenodo"
    display_config = display_config("zenodo", "Zenodo DOI", label="Zenodo DOI", example="10.5281/zenodo.3242074")

    def __init__(self, tools: SourceTools) -> None:
        super().__init__(tools)
        urls = tools.config.provider_urls
        self._url = urls.get("zenodo", "https://zenodo.org")
        self._doi = DoiResolver(tools.http, urls.get("doi", "https://doi.org"))

    def repository(self, spec: Spec) -> Repository:
        """The record of a DOI. Raises SpecInvalid."""
        doi = parse_doi(spec.raw)
        name = directory_name(doi.rpartition("/")[2])
        return Repository(repository_id(self.id, "doi.org", doi.lower()), self.id, doi, name, doi_url(doi))

    async def resolve(self, spec: Spec) -> Resolved:
        """The record's number, of the newest version for a DOI of all versions.

        Raises RepositoryNotFound, SourceError.
        """
        doi = parse_doi(spec.raw)
        own = _OWN_DOI.fullmatch(doi)
        asked = own["record"] if own else await self._record_of(doi)
        record = await self.http.get_json(f"{self._url}/api/records/{asked}")
        with answer_of("Zenodo"):
            number = str(int(record["id"]))
        # Of a foreign DOI no version is known but itself.
        persistent = f"{own['prefix']}{number}" if own else doi
        return self.resolved(spec, ref=number, persistent=persistent, ref_url=doi_url(persistent))

    async def download(self, resolved: Resolved, directory: Path) -> Path:
        """The record's files; a single archive is unpacked. Raises SourceError."""
        listing = await self.http.get_json(f"{self._url}/api/records/{quote(resolved.ref)}/files")
        with answer_of("Zenodo"):
            files = [
                RecordFile(
                    name=str(entry["key"]),
                    url=str(entry["links"]["content"]),
                    size=int(entry["size"]),
                    md5=str(entry.get("checksum") or "").removeprefix("md5:") or None,
                )
                for entry in listing["entries"]
            ]
        return await self.downloads.content(files, directory)

    async def _record_of(self, doi: str) -> str:
        landing = _LANDING.fullmatch(await self._doi.landing_page(doi))
        if landing is None:
            raise RepositoryNotFound(f"The DOI {doi} is not on Zenodo.", hint="Choose the provider it belongs to.")
        return landing["record"]
