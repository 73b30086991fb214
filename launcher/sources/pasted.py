"""What people paste when they mean a repository: addresses of its pages, clone addresses, DOIs, other links, badges.

`read_pasted` looks at the text only and asks nobody. `find_pasted` asks the repository where the text leaves open which
branch is meant. Whether a launch would work is found out by resolving the spec.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from launcher.errors import AddressRefused, LauncherError, RepositoryNotFound, SpecInvalid
from launcher.sources.base import Sources, spec_at
from launcher.sources.forge_pages import Pasted, of_doi, of_page

__all__ = ["FoundPasted", "Pasted", "find_pasted", "read_pasted"]

_LONGEST = 2048
_DOI = re.compile(r"(?:doi[:\s]\s*|(?:https?://)?(?:dx\.|www\.)?doi\.org/)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_SCP = re.compile(r"(?:ssh://)?(?:[\w.-]+@)?([\w.-]+\.[\w-]+):(?!/|\d+(?:/|$))(\S+)")
_SHORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+")
_SPEC = re.compile(r"(?:gh|gist|gl|git|zenodo|figshare|dataverse|hydroshare|ckan|local)/[^/]+/.+")
_LAUNCH = re.compile(r"/v2/([a-z]+)/(.+)")
_INSIDE = re.compile(r"/?(?:lab/tree|doc/tree|tree|notebooks|edit|retro/(?:tree|notebooks))/(.+)")
_WRAPPED = (
    re.compile(r".*\]\(\s*<?([^()<>]+?)>?(?:\s+[\"'][^\"']*[\"'])?\s*\)\W*"),  # Markdown: of a badge, the outer link
    re.compile(r".*?<a\s[^>]*href=[\"']([^\"']+)[\"'].*", re.IGNORECASE),
    re.compile(r".*:target:\s*(\S+).*"),
    re.compile(r".*`[^`<]*<([^`>]+)>`_{0,2}\W*"),
)
_CLONE = re.compile(r"\W*git\s+clone\s.*?((?:https?|ssh|git)://\S+|[\w.-]+@\S+)(?:\s.*)?")
_CLONED_BRANCH = re.compile(r"\s(?:-b|--branch)[ =](\S+)")
_AROUND = "<>()[]{}\"'`“”‘’„«»"  # noqa: RUF001 - quotes as people type them
_FIND_SECONDS = 4.0


@dataclass(frozen=True)
class FoundPasted:
    """What was pasted, as well as it could be found out. sure: no part of it is a guess."""

    pasted: Pasted
    sure: bool


def read_pasted(text: str) -> Pasted:
    """The repository that the text means. Raises SpecInvalid with a sentence that says what would work."""
    text = text.strip()
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise SpecInvalid("This names no repository.", hint="Paste the address of its page.")
    if match := _CLONE.fullmatch(text):
        branch = _CLONED_BRANCH.search(text)
        found = read_pasted(match[1])
        return found.with_ref(branch[1]) if branch else found
    text = _unwrapped(text)
    if match := _DOI.fullmatch(text):
        return of_doi(match[1])
    if match := _SCP.fullmatch(text):
        return of_page(urlsplit(f"https://{match[1]}/{match[2]}"))
    if "://" not in text and _SHORT.fullmatch(text) and "." not in text.partition("/")[0]:
        return Pasted("gh", text.removesuffix(".git"))
    address = urlsplit(f"https:///v2/{text}") if _SPEC.fullmatch(text) else _address(text)
    return _launch_link(address) or _pull_link(address) or of_page(address)


async def find_pasted(sources: Sources, text: str, *, ref: str = "", seconds: float = _FIND_SECONDS) -> FoundPasted:
    """The repository that the text means, at ``ref`` when one is given.

    An address such as ``…/tree/feature/x/docs`` does not say where the branch ends: then the repository is asked, for
    ``seconds`` at most, and when it does not answer, the branch is one segment long. An address of http that this hub
    does not speak to is taken as https. Raises SpecInvalid, ProviderUnknown, AddressRefused, RepositoryNotFound.
    """
    pasted = read_pasted(text)
    if ref.strip():
        pasted = pasted.with_ref(ref.strip())
    try:
        spec = spec_at(sources, pasted.spec("HEAD"))
    except AddressRefused:
        if not pasted.repository.startswith("http://"):
            raise
        pasted = replace(pasted, repository=pasted.repository.replace("http://", "https://", 1))
        spec = spec_at(sources, pasted.spec("HEAD"))
    if not pasted.guessed:
        return FoundPasted(pasted, sure=True)
    try:
        async with asyncio.timeout(seconds):
            found = await sources.longest_ref(spec, f"{pasted.ref}/{pasted.path}")
    except (RepositoryNotFound, AddressRefused):
        raise
    except (LauncherError, TimeoutError):
        return FoundPasted(pasted, sure=False)
    return FoundPasted(pasted.with_ref(found or pasted.ref), sure=True)


def _unwrapped(text: str) -> str:
    """The address in a badge, a link of Markdown, HTML or reStructuredText, or in quotes, without a full stop."""
    line = " ".join(text.split())  # one space at a time: patterns that meet many try every way to share them
    for shape in _WRAPPED:
        if match := shape.fullmatch(line):
            text = match[1]
            break
    return text.strip(_AROUND + " ").rstrip(".,;:!?" + _AROUND).strip()


def _address(text: str) -> SplitResult:
    """The text as an address; ssh and git addresses of a clone are those of the same pages."""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if "." not in host and host != "localhost":
        raise SpecInvalid("This is no address of a repository.", hint="Paste the address of its page, or `user/name`.")
    if parts.scheme in {"ssh", "git", "git+ssh"}:
        return parts._replace(scheme="https", netloc=host)
    if parts.scheme not in {"http", "https"}:
        raise SpecInvalid("Repositories are fetched by https only.", hint="Paste an address that begins with https.")
    return parts._replace(netloc=host + (f":{port}" if port else ""))  # a password is nobody's business


def _launch_link(address: SplitResult) -> Pasted | None:
    """The repository of another launch link, of this hub or any BinderHub."""
    match = _LAUNCH.search(address.path)
    if match is None:
        return None
    provider, raw = match[1], match[2].rstrip("/")
    parts = raw.split("/")
    count = 2 if provider in {"gh", "gist"} else 1
    found = Pasted(provider, unquote("/".join(parts[:count])), unquote("/".join(parts[count:])))
    if not found.has_ref:
        found = Pasted(provider, unquote(raw))
    query = parse_qs(address.query)
    path = next((query[name][0] for name in ("labpath", "filepath") if name in query), "")
    return _with_path(found, path or _inside(query.get("urlpath", [""])[0]))


def _pull_link(address: SplitResult) -> Pasted | None:
    """The repository that an nbgitpuller link pulls."""
    query = parse_qs(address.query)
    if not address.path.endswith("/git-pull") or "repo" not in query:
        return None
    found = read_pasted(query["repo"][0])
    path = _inside(query.get("urlpath", query.get("urlPath", [""]))[0]).partition("/")[2]
    return _with_path(found.with_ref(query["branch"][0]) if "branch" in query else found, path)


def _inside(path: str) -> str:
    """The file that a path inside a session opens."""
    match = _INSIDE.fullmatch(path.partition("?")[0])
    return match[1] if match else ""


def _with_path(pasted: Pasted, path: str) -> Pasted:
    path = path.strip("/")
    return replace(pasted, path=path, is_file="." in path.rpartition("/")[2]) if path else pasted
