"""What people paste when they mean a repository: addresses of every page of it, clone addresses, DOIs, other links.

Only the text is looked at; nobody is asked. Whether the repository is there is found out by resolving its spec.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from launcher.errors import SpecInvalid

_QUOTED = frozenset({"gl", "git", "ckan"})
_WITHOUT_REF = frozenset({"zenodo", "figshare", "dataverse", "hydroshare", "ckan", "local"})
_DOI = re.compile(r"(?:doi:\s*|(?:https?://)?(?:dx\.|www\.)?doi\.org/)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_SCP = re.compile(r"(?:[\w.-]+@)([\w.-]+\.[\w-]+):(?!/)(\S+)")
_SHORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+")
_DOI_OF = (("10.5281/", "zenodo"), ("10.6084/", "figshare"), ("10.4211/", "hydroshare"))
_LAUNCH = re.compile(r"/v2/([a-z]+)/(.+)")
_INSIDE = re.compile(r"/?(?:lab/tree|doc/tree|tree|notebooks|edit|retro/(?:tree|notebooks))/(.+)")


@dataclass(frozen=True)
class Pasted:
    """A repository as somebody named it.

    repository: as its provider's specs name it, without percent-encoding. ref: "" when none was named.
    path: of a file (``is_file``) or directory in it, "" for none.
    """

    provider: str
    repository: str
    ref: str = ""
    path: str = ""
    is_file: bool = False

    @property
    def has_ref(self) -> bool:
        """Whether specs of this provider name a branch, tag or commit."""
        return self.provider not in _WITHOUT_REF

    def spec(self, ref: str = "") -> str:
        """``<provider>/<raw spec>``, at ``ref``, else what was pasted, else the default branch."""
        name = quote(self.repository, safe="" if self.provider in _QUOTED else "/:@")
        chosen = ref or self.ref or "HEAD"
        return f"{self.provider}/{name}/{quote(chosen, safe='/')}" if self.has_ref else f"{self.provider}/{name}"


def read_pasted(text: str) -> Pasted:
    """The repository that the text means. Raises SpecInvalid with a sentence that says what would work."""
    text = text.strip().strip("<>\"'").strip()
    if not text or len(text) > 2048 or not text.isprintable():  # noqa: PLR2004 - longer than any address
        raise SpecInvalid("This names no repository.", hint="Paste the address of its page.")
    if match := _DOI.fullmatch(text):
        return _doi(match[1])
    if match := _SCP.fullmatch(text):
        return _at_host(urlsplit(f"https://{match[1]}/{match[2]}"))
    if "://" not in text and _SHORT.fullmatch(text) and "." not in text.partition("/")[0]:
        return Pasted("gh", text.removesuffix(".git"))
    address = _address(text)
    return _launch_link(address) or _pull_link(address) or _at_host(address)


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


def _doi(doi: str) -> Pasted:
    doi = doi.rstrip(".,;")
    provider = next((name for start, name in _DOI_OF if doi.lower().startswith(start)), "dataverse")
    return Pasted(provider, doi)


def _launch_link(address: SplitResult) -> Pasted | None:
    """The repository of another launch link, of this hub or any BinderHub."""
    match = _LAUNCH.search(address.path)
    if match is None:
        return None
    provider, raw = match[1], match[2].rstrip("/")
    parts = raw.split("/")
    count = 2 if provider in {"gh", "gist"} else 1
    found = Pasted(provider, unquote("/".join(parts[:count])), unquote("/".join(parts[count:])))
    if provider in _WITHOUT_REF:
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
    return _with_path(replace(found, ref=query.get("branch", [found.ref])[0]), path)


def _inside(path: str) -> str:
    """The file that a path inside a session opens."""
    match = _INSIDE.fullmatch(path.partition("?")[0])
    return match[1] if match else ""


def _with_path(pasted: Pasted, path: str) -> Pasted:
    path = path.strip("/")
    return replace(pasted, path=path, is_file="." in path.rpartition("/")[2]) if path else pasted


def _at_host(address: SplitResult) -> Pasted:
    host = address.netloc.lower().removeprefix("www.")
    segments = [unquote(part) for part in address.path.split("/") if part]
    read = _HOSTS.get(host)
    if read is None and host.endswith("hydroshare.org"):
        read = _hydroshare
    if read is not None:
        return read(segments)
    return _any_host(f"{address.scheme}://{address.netloc}", segments)


def _github(segments: Sequence[str]) -> Pasted:
    if len(segments) < 2:  # noqa: PLR2004 - user and repository
        raise SpecInvalid("This is a page of GitHub, but of no repository.", hint="Open the repository and paste that.")
    user, name, *rest = segments
    found = Pasted("gh", f"{user}/{name.removesuffix('.git')}")
    match rest:
        case ["pull", *_]:
            raise SpecInvalid(
                "A pull request is code that its repository has not taken yet, so it has no link of its own.",
                hint="Open the branch it comes from, named at the top of the pull request, and paste that address.",
            )
        case ["tree", ref, *path]:
            return replace(found, ref=ref, path="/".join(path))
        case ["blob" | "raw" | "edit" | "blame", ref, *path]:
            return replace(found, ref=ref, path="/".join(path), is_file=bool(path))
        case ["commit", ref, *_] | ["releases", "tag", ref]:
            return replace(found, ref=ref)
        case ["commits", *ref]:
            return replace(found, ref="/".join(ref))
    return found


def _raw_github(segments: Sequence[str]) -> Pasted:
    user, name, *rest = [*segments, "", ""][: max(2, len(segments))]
    rest = rest[2:] if rest[:2] == ["refs", "heads"] else rest
    return _github([user, name, "blob", *rest])


def _notebook_viewer(segments: Sequence[str]) -> Pasted:
    """Nbviewer and Colab: ``github/<user>/<repository>/blob/…`` and ``gist/<user>/<id>``."""
    if segments[:1] == ["github"]:
        return _github(segments[1:])
    if segments[:1] == ["gist"]:
        return _gist(segments[1:])
    raise SpecInvalid("This page is of no repository that can be launched.", hint="Paste the repository's own address.")


def _gist(segments: Sequence[str]) -> Pasted:
    if len(segments) < 2:  # noqa: PLR2004 - user and gist
        raise SpecInvalid("The address of a gist has its owner in it.", hint="gist.github.com/<user>/<id>")
    user, identity, *rest = segments
    commit = rest[0] if rest and re.fullmatch("[0-9a-f]{40}", rest[0]) else ""
    return Pasted("gist", f"{user}/{identity.removesuffix('.git')}", commit)


def _gitlab(segments: Sequence[str]) -> Pasted:
    name, ref, path, is_file = _gitlab_page(segments)
    if len(name) < 2:  # noqa: PLR2004 - group and project
        raise SpecInvalid("This is a page of GitLab, but of no project.", hint="Open the project and paste that.")
    return Pasted("gl", "/".join(name).removesuffix(".git"), ref, path, is_file)


def _gitlab_page(segments: Sequence[str]) -> tuple[Sequence[str], str, str, bool]:
    """Project, ref, path, whether it is a file: everything after ``-`` is a page of the project."""
    if "-" not in segments:
        return segments, "", "", False
    split = list(segments).index("-")
    match segments[split + 1 :]:
        case ["merge_requests", *_]:
            raise SpecInvalid(
                "A merge request is code that its project has not taken yet, so it has no link of its own.",
                hint="Open the branch it comes from and paste that address.",
            )
        case ["tree" | "commits", ref, *path]:
            return segments[:split], ref, "/".join(path), False
        case ["blob" | "raw" | "edit", ref, *path]:
            return segments[:split], ref, "/".join(path), bool(path)
        case ["commit" | "tags", ref, *_]:
            return segments[:split], ref, "", False
    return segments[:split], "", "", False


def _zenodo(segments: Sequence[str]) -> Pasted:
    match segments:
        case ["record" | "records", number, *_] if number.isdigit():
            return Pasted("zenodo", f"10.5281/zenodo.{number}")
        case ["doi", *doi]:
            return _doi("/".join(doi))
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
    """Any other git server; pages of GitLab, Forgejo and Gitea are known by their shape."""
    name, ref, path, is_file = _gitlab_page(segments)
    match segments:
        case [user, repository, "src", "branch" | "tag" | "commit", ref, *inside]:
            name, path, is_file = [user, repository], "/".join(inside), "." in (inside or [""])[-1]
        case ["dataset", _, *_]:
            return Pasted("ckan", f"{origin}/{'/'.join(segments)}")
    if not name:
        raise SpecInvalid("This is the address of a host, not of a repository.", hint="Add the repository's path.")
    return Pasted("git", f"{origin}/{'/'.join(name)}", ref, path, is_file)


_HOSTS: dict[str, Callable[[Sequence[str]], Pasted]] = {
    "github.com": _github,
    "github.dev": _github,
    "raw.githubusercontent.com": _raw_github,
    "gist.github.com": _gist,
    "gitlab.com": _gitlab,
    "nbviewer.org": _notebook_viewer,
    "nbviewer.jupyter.org": _notebook_viewer,
    "colab.research.google.com": _notebook_viewer,
    "zenodo.org": _zenodo,
    "figshare.com": _figshare,
}
