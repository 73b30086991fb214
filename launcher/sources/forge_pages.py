"""Addresses of pages as forges and archives make them, and which repository, ref and file each means.

Only the text is looked at. Where a branch ends and a path begins cannot be seen in it: then the branch is taken to be
one segment long, and the answer says that this is a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, parse_qs, quote, unquote

from launcher.errors import SpecInvalid
from launcher.models import is_commit

_QUOTED = frozenset({"gl", "git", "ckan"})
_WITHOUT_REF = frozenset({"zenodo", "figshare", "dataverse", "hydroshare", "ckan", "local"})
_DOI_OF = (("10.5281/", "zenodo"), ("10.6084/", "figshare"), ("10.4211/", "hydroshare"))
_FILES = frozenset({"blob", "raw", "edit", "blame", "media"})
_ARCHIVE = re.compile(r"\.(?:zip|tar\.gz|tar\.bz2|tar)$")
_NO_USERS = frozenset({"orgs", "settings", "topics", "search", "marketplace", "collections", "explore", "sponsors"})


@dataclass(frozen=True)
class Pasted:
    """A repository as somebody named it.

    repository: as its provider's specs name it, without percent-encoding. ref: "" when none was named.
    path: of a file (``is_file``) or directory in it, "" for none. guessed: the ref may be longer, and the path shorter
    by as much.
    """

    provider: str
    repository: str
    ref: str = ""
    path: str = ""
    is_file: bool = False
    guessed: bool = False

    @property
    def has_ref(self) -> bool:
        """Whether specs of this provider name a branch, tag or commit."""
        return self.provider not in _WITHOUT_REF

    def spec(self, ref: str = "") -> str:
        """``<provider>/<raw spec>``, at ``ref``, else what was pasted, else the default branch."""
        name = quote(self.repository, safe="" if self.provider in _QUOTED else "/:@")
        chosen = ref or self.ref or "HEAD"
        return f"{self.provider}/{name}/{quote(chosen, safe='/')}" if self.has_ref else f"{self.provider}/{name}"

    def with_ref(self, ref: str) -> Pasted:
        """The same when the ref is this one: what it does not take of a guess is the path."""
        whole = f"{self.ref}/{self.path}"
        if not self.guessed or not f"{whole}/".startswith(f"{ref}/"):
            return replace(self, ref=ref, guessed=False)
        path = whole.removeprefix(ref).lstrip("/")
        return replace(self, ref=ref, path=path, is_file=self.is_file and bool(path), guessed=False)


def of_page(address: SplitResult) -> Pasted:
    """The repository that the page at an address is about. Raises SpecInvalid."""
    host = address.netloc.lower().removeprefix("www.")
    segments = [unquote(part) for part in address.path.split("/") if part]
    persistent = parse_qs(address.query).get("persistentId", [""])[0]
    if persistent.lower().startswith("doi:10."):
        return of_doi(persistent[4:])
    if host.endswith(".github.io"):
        raise SpecInvalid("This is a site made from a repository, not the repository.", hint="Paste the repository's.")
    read = _HOSTS.get(host)
    if read is None and host.endswith("hydroshare.org"):
        read = _hydroshare
    if read is not None:
        return read(segments)
    return _any_host(f"{address.scheme}://{address.netloc}", segments)


def of_doi(doi: str) -> Pasted:
    """The repository of a DOI."""
    doi = doi.rstrip(".,;")
    provider = next((name for start, name in _DOI_OF if doi.lower().startswith(start)), "dataverse")
    return Pasted(provider, doi)


def _at(found: Pasted, place: Sequence[str], *, is_file: bool = False) -> Pasted:
    """A repository at the ref and path of a page, both in ``place``."""
    ref, *path = _unprefixed(place) or [""]
    guessed = bool(path) and ref != "HEAD" and not is_commit(ref.lower())
    return replace(found, ref=ref, path="/".join(path), is_file=is_file and bool(path), guessed=guessed)


def _proposed(found: Pasted, kind: str, number: str) -> Pasted:
    """A pull or merge request, at the ref that its forge keeps for it."""
    if not re.fullmatch("[1-9][0-9]{0,9}", number):
        raise SpecInvalid("This is the number of no request to merge.", hint="Open the request and paste its address.")
    return replace(found, ref=f"refs/{kind}/{number}/head")


def _github(segments: Sequence[str]) -> Pasted:
    if len(segments) < 2 or segments[0] in _NO_USERS:  # noqa: PLR2004 - user and repository
        raise SpecInvalid("This is a page of GitHub, but of no repository.", hint="Open the repository and paste that.")
    user, name, *rest = segments
    return _github_page(Pasted("gh", f"{user}/{name.removesuffix('.git')}"), rest)


def _github_page(found: Pasted, rest: Sequence[str]) -> Pasted:
    """What comes after the repository at GitHub, and at forges made after it."""
    match rest:
        case ["pull", number, *_]:
            return _proposed(found, "pull", number)
        case ["tree" | "commits", *place]:
            return _at(found, place)
        case [page, *place] if page in _FILES:
            return _at(found, place, is_file=True)
        case ["commit", *ref] | ["releases", "tag", *ref]:
            return replace(found, ref="/".join(ref))
        case ["archive", *place] if place:
            return replace(found, ref=_ARCHIVE.sub("", "/".join(_unprefixed(place))))
    return found


def _unprefixed(place: Sequence[str]) -> Sequence[str]:
    return place[2:] if list(place[:2]) in (["refs", "heads"], ["refs", "tags"]) else place


def _raw_github(segments: Sequence[str]) -> Pasted:
    return _github([*segments[:2], "raw", *segments[2:]])


def _notebook_viewer(segments: Sequence[str]) -> Pasted:
    """Nbviewer and Colab: ``github/<user>/<repository>/blob/…`` and ``gist/<user>/<id>``."""
    if segments[:1] == ["github"]:
        return _github(segments[1:])
    if segments[:1] == ["gist"]:
        return _gist(segments[1:])
    raise SpecInvalid("This page is of no repository that can be launched.", hint="Paste the repository's own address.")


def _mybinder(segments: Sequence[str]) -> Pasted:
    match segments:
        case ["repo", user, name, *_]:  # links before version 2
            return Pasted("gh", f"{user}/{name}")
    raise SpecInvalid("This is a page of mybinder.org, but no launch link.", hint="Paste the repository's own address.")


def _gist(segments: Sequence[str]) -> Pasted:
    if len(segments) < 2:  # noqa: PLR2004 - user and gist
        raise SpecInvalid("The address of a gist has its owner in it.", hint="gist.github.com/<user>/<id>")
    user, identity, *rest = segments
    commit = next((part for part in rest if re.fullmatch("[0-9a-f]{40}", part)), "")
    return Pasted("gist", f"{user}/{identity.removesuffix('.git')}", commit)


def _gitlab(segments: Sequence[str]) -> Pasted:
    project, page = _gitlab_page(segments)
    if len(project) < 2:  # noqa: PLR2004 - group and project
        raise SpecInvalid("This is a page of GitLab, but of no project.", hint="Open the project and paste that.")
    return _of_gitlab(Pasted("gl", "/".join(project).removesuffix(".git")), page)


def _gitlab_page(segments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Project and page: everything after ``-``; older links have no ``-``, but no project is called like a page."""
    if "-" in segments:
        split = list(segments).index("-")
        return segments[:split], segments[split + 1 :]
    pages = ("tree", "blob", "raw", "commits", "merge_requests")
    split = next((number for number, part in enumerate(segments) if number > 1 and part in pages), len(segments))
    return segments[:split], segments[split:]


def _of_gitlab(found: Pasted, page: Sequence[str]) -> Pasted:
    match page:
        case ["merge_requests", number, *_]:
            return _proposed(found, "merge-requests", number)
        case ["tree" | "commits", *place]:
            return _at(found, place)
        case ["blob" | "raw" | "edit" | "blame", *place]:
            return _at(found, place, is_file=True)
        case ["commit", ref, *_]:
            return replace(found, ref=ref)
        case ["tags" | "releases", *ref] if ref:
            return replace(found, ref="/".join(ref))
    return found


def _bitbucket(segments: Sequence[str]) -> Pasted:
    if len(segments) < 2:  # noqa: PLR2004 - workspace and repository
        raise SpecInvalid("This is a page of Bitbucket, but of no repository.", hint="Open the repository first.")
    found = Pasted("git", f"https://bitbucket.org/{segments[0]}/{segments[1].removesuffix('.git')}")
    match segments[2:]:
        case ["src" | "raw", *place]:
            return replace(_at(found, place), is_file="." in (place or [""])[-1])
        case ["branch", *ref]:
            return replace(found, ref="/".join(ref))
        case ["commits", ref, *_]:
            return replace(found, ref=ref)
        case ["pull-requests", *_]:
            raise SpecInvalid(
                "Bitbucket keeps no branch for a pull request.", hint="Paste the address of the branch it comes from."
            )
    return found


def _zenodo(segments: Sequence[str]) -> Pasted:
    match segments:
        case ["record" | "records", number, *_] if number.isdigit():
            return Pasted("zenodo", f"10.5281/zenodo.{number}")
        case ["doi", *doi] if doi:
            return of_doi("/".join(doi))
        case ["badge", "DOI", *doi] if doi:
            return of_doi("/".join(doi).removesuffix(".svg"))
    raise SpecInvalid("This is a page of Zenodo, but of no record.", hint="Open the record, or paste its DOI.")


def _figshare(segments: Sequence[str]) -> Pasted:
    numbers = [part for part in segments if part.isdigit()]
    if segments[:1] != ["articles"] or not numbers:
        raise SpecInvalid("This is a page of Figshare, but of no item.", hint="Open the item, or paste its DOI.")
    version = f".v{numbers[1]}" if len(numbers) > 1 else ""
    return Pasted("figshare", f"10.6084/m9.figshare.{numbers[0]}{version}")


def _hydroshare(segments: Sequence[str]) -> Pasted:
    identity = next((part for part in segments if re.fullmatch("[0-9a-f]{32}", part)), None)
    if identity is None:
        raise SpecInvalid("This is a page of HydroShare, but of no resource.", hint="Open the resource and paste that.")
    return Pasted("hydroshare", identity)


def _any_host(origin: str, segments: Sequence[str]) -> Pasted:
    """Any other git server; pages of Forgejo, Gitea, GitLab and GitHub's own server are known by their shape."""
    if not segments or segments[0] == "-":
        raise SpecInvalid("This is the address of a host, not of a repository.", hint="Add the repository's path.")
    if segments[0] == "dataset" and len(segments) > 1:
        return Pasted("ckan", f"{origin}/{'/'.join(segments)}")
    short = Pasted("git", f"{origin}/{'/'.join(segments[:2])}")
    match segments[2:]:
        case ["src" | "raw" | "media", "branch" | "tag" | "commit", *place]:
            return replace(_at(short, place), is_file="." in (place or [""])[-1])
        case ["commits", "branch" | "tag" | "commit", *ref]:
            return replace(short, ref="/".join(ref))
        case ["pulls", number, *_]:
            return _proposed(short, "pull", number)
        case ["tree" | "blob" | "pull" | "commit" | "issues" | "wiki" | "releases", *_] as page:
            return _github_page(short, page)
    project, page = _gitlab_page(segments)
    return _of_gitlab(Pasted("git", f"{origin}/{'/'.join(project)}"), page)


_HOSTS: dict[str, Callable[[Sequence[str]], Pasted]] = {
    "github.com": _github,
    "github.dev": _github,
    "api.github.com": lambda segments: _github(segments[1:] if segments[:1] == ["repos"] else []),
    "raw.githubusercontent.com": _raw_github,
    "gist.github.com": _gist,
    "gist.githubusercontent.com": _gist,
    "gitlab.com": _gitlab,
    "bitbucket.org": _bitbucket,
    "nbviewer.org": _notebook_viewer,
    "nbviewer.jupyter.org": _notebook_viewer,
    "colab.research.google.com": _notebook_viewer,
    "vscode.dev": _notebook_viewer,
    "mybinder.org": _mybinder,
    "zenodo.org": _zenodo,
    "figshare.com": _figshare,
}
