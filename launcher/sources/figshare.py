"""Figshare: articles by DOI, with ``.vN`` at the end for one version, without it for the newest."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.errors import RefNotFound, RepositoryNotFound, SpecInvalid
from launcher.models import Repository, Resolved, Spec
from launcher.sources.doi import doi_url, parse_doi
from launcher.sources.providers import SourceTools, directory_name, repository_id
from launcher.sources.records import RecordFile, RecordProvider, answer_of, display_config

_ARTICLE = re.compile(
    r"(?P<all>10\.[0-9.]+/(?:.+[./])?(?P<article>[0-9]{1,18}))(?:\.v(?P<version>[0-9]{1,9}))?", re.IGNORECASE
)


class FigshareProvider(RecordProvider):
    """``figshare/<DOI>``; the ref is ``<article>.v<version>``."""

    id = "figshare"
    display_config = display_config(
        "figshare", "FigShare DOI", label="FigShare DOI", example="10.6084/m9.figshare.9782777.v1"
    )

    def __init__(self, tools: SourceTools) -> None:
        super().__init__(tools)
        self._url = tools.config.provider_urls.get("figshare", "https://api.figshare.com")

    def repository(self, spec: Spec) -> Repository:
        """The article, whatever version. Raises SpecInvalid."""
        doi = _article(spec)["all"]
        name = directory_name(doi.rpartition("/")[2])
        return Repository(repository_id(self.id, "doi.org", doi.lower()), self.id, doi, name, doi_url(doi))

    async def resolve(self, spec: Spec) -> Resolved:
        """The version asked for, or the newest. Raises RepositoryNotFound, RefNotFound, SourceError."""
        found = _article(spec)
        version = int(found["version"]) if found["version"] else await self._newest(found["article"])
        try:
            article = await self.http.get_json(self._version_url(found["article"], version))
        except RepositoryNotFound:
            raise RefNotFound("Figshare has no such article or version.", hint="Check the DOI's end.") from None
        with answer_of("Figshare"):
            official = str(article["doi"])
        # The number alone decides what Figshare gives, so the rest of the DOI could name someone it is not from.
        if re.sub(r"\.v[0-9]+$", "", official.lower()) != found["all"].lower():
            raise RepositoryNotFound(f"There is no article with the DOI {found['all']}.", hint="Check the DOI.")
        persistent = f"{found['all']}.v{version}"
        ref = f"{found['article']}.v{version}"
        return self.resolved(spec, ref=ref, persistent=persistent, ref_url=doi_url(persistent))

    async def download(self, resolved: Resolved, directory: Path) -> Path:
        """The version's files that Figshare holds itself; a single archive is unpacked. Raises SourceError."""
        article, _, version = resolved.ref.partition(".v")
        body = await self.http.get_json(self._version_url(article, int(version)))
        with answer_of("Figshare"):
            files = [
                RecordFile(
                    name=str(entry["name"]),
                    url=str(entry["download_url"]),
                    size=int(entry["size"]),
                    md5=str(entry.get("computed_md5") or "") or None,
                )
                for entry in body["files"]
                if not entry["is_link_only"]
            ]
        return await self.downloads.content(files, directory)

    async def _newest(self, article: str) -> int:
        versions = await self.http.get_json(f"{self._url}/v2/articles/{article}/versions")
        with answer_of("Figshare"):
            return max(int(entry["version"]) for entry in versions)

    def _version_url(self, article: str, version: int) -> str:
        return f"{self._url}/v2/articles/{article}/versions/{version}"


def _article(spec: Spec) -> re.Match[str]:
    doi = parse_doi(spec.raw)
    match = _ARTICLE.fullmatch(doi)
    if match is None:
        raise SpecInvalid(f"{doi} is not the DOI of a Figshare article.", hint="Try 10.6084/m9.figshare.<number>.")
    return match
