"""One spelling for one repository, whichever provider or address a link uses for it.

Policy, homes and the cache see only this identity: a ban or a trust that another spelling gets around is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from launcher.errors import SpecInvalid
from launcher.models import Repository, RepositoryId
from launcher.sources.addresses import WebAddress
from launcher.sources.providers import directory_name, repository_id

MAX_ID_LENGTH = 1024
_SAFE = "-._~@+,="


@dataclass(frozen=True)
class Forges:
    """Hosts whose rules we know: authority -> provider id (``gh``, ``gl``, ``gist``). Names there ignore case."""

    providers: Mapping[str, str]

    def provider_of(self, address: WebAddress) -> str:
        """The provider that speaks for an address, ``git`` for all others."""
        return self.providers.get(place(address), "git")

    def repository(self, address: WebAddress, *, proposal: str = "") -> Repository:
        """The canonical repository at an address. Raises SpecInvalid when the address names none.

        proposal: ``pull/3`` or ``merge-requests/3`` for the request to merge, which is a repository of its own.

        Host in lower-case ASCII, path percent-decoded once, without empty segments and ``.git``; in lower case
        where the host ignores case; every other difference makes another repository.
        """
        provider = self.provider_of(address)
        segments = _segments(address.path)
        shown = "/".join(segments)
        if provider == "gist":  # the id alone names a gist, its owner is decoration
            segments = segments[-1:]
        path = "/".join(segments) if provider == "git" else "/".join(segments).lower()
        identity = repository_id(provider, place(address), quote(path, safe=f"/{_SAFE}"))
        if proposal:
            identity = RepositoryId(f"{identity}#{proposal}")
            shown += proposal.replace("pull/", "#").replace("merge-requests/", "!")
        if len(identity) > MAX_ID_LENGTH:
            raise SpecInvalid("The repository's address is too long.")
        display = shown if provider != "git" else f"{address.authority}/{shown}"
        return Repository(identity, provider, display, directory_name(segments[-1]), address.url)


def place(address: WebAddress) -> str:
    """Scheme, host and port; https is left out because it is the rule."""
    return address.authority if address.scheme == "https" else f"{address.scheme}://{address.authority}"


def _segments(path: str) -> list[str]:
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise SpecInvalid("The repository's address is not text.") from None
    segments = [segment for segment in decoded.split("/") if segment]
    if not segments or not decoded.isprintable():
        raise SpecInvalid("The address names no repository.")
    last = segments[-1]
    segments[-1] = last[:-4] if last.lower().endswith(".git") and len(last) > 4 else last  # noqa: PLR2004
    return segments
