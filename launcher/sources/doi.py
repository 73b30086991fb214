"""Digital object identifiers: reading them and asking where they lead."""

from __future__ import annotations

import re
from urllib.parse import quote

from launcher.errors import RepositoryNotFound, SpecInvalid
from launcher.sources.http import HttpClient
from launcher.sources.providers import decode_once
from launcher.sources.records import answer_of
from launcher.sources.untrusted import shown

_PREFIX = re.compile(r"(?:doi:\s*|(?:https?:/+)?(?:dx\.|www\.)?doi\.org/)?", re.IGNORECASE)
_SEGMENT = r"[^\s/\\?#%\"'<>`{}|^\x00-\x20\x7f]+"
_DOI = re.compile(rf"10\.[0-9]{{1,9}}(?:\.[0-9]+)*(?:/{_SEGMENT})+")
_MAX_LENGTH = 255


def parse_doi(raw: str) -> str:
    """The bare DOI of a provider spec, in the case it was written in.

    ``doi:`` or an address of doi.org may stand before it, percent-encoded or not (also with one slash, as some proxies
    leave it), and a slash may follow, because links have one where a ref would stand. Raises SpecInvalid.
    """
    text = decode_once(raw)
    doi = _PREFIX.sub("", text.rstrip("/"), count=1)
    if not doi.isascii() or len(doi) > _MAX_LENGTH or not _DOI.fullmatch(doi) or {".", ".."} & set(doi.split("/")):
        raise SpecInvalid(f"{shown(text)} is not a DOI.", hint="A DOI looks like 10.5281/zenodo.3242074.")
    return doi


def doi_url(doi: str) -> str:
    """Where a person finds a DOI."""
    return f"https://doi.org/{quote(doi, safe='/:;(),.-_~@!$&*+=')}"


class DoiResolver:
    """Asks the DOI system where a DOI leads, by its REST API, so that no landing page is loaded."""

    def __init__(self, http: HttpClient, url: str) -> None:
        self._http = http
        self._url = url

    async def landing_page(self, doi: str) -> str:
        """The address registered for a DOI. Nothing is known about it yet: check it before use.

        Raises RepositoryNotFound, SourceUnavailable, SourceInvalid.
        """
        try:
            body = await self._http.get_json(f"{self._url}/api/handles/{quote(doi, safe='/')}")
        except RepositoryNotFound:
            raise RepositoryNotFound(f"There is no DOI {doi}.", hint="Check it for a typing error.") from None
        with answer_of("doi.org"):
            return next(str(value["data"]["value"]) for value in body["values"] if value["type"] == "URL")
