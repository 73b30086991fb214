"""What people put on their pages so that others launch a repository: links, badges, snippets of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from html import escape
from urllib.parse import quote, urlencode

from launcher.errors import SpecInvalid
from launcher.models import Repository
from launcher.sources.base import Sources, spec_at
from launcher.sources.pasted import Pasted, find_pasted

_PULLED = frozenset({"gh", "gl", "gist", "git"})
"""Providers whose repositories git can pull, which nbgitpuller needs."""


class Interface(StrEnum):
    """What opens."""

    LAB = "lab"
    NOTEBOOK = "notebook"
    RSTUDIO = "rstudio"
    OTHER = "other"  # the path is a URL path inside the session, as it is


class Note(StrEnum):
    """What somebody should know who copies the links, though they work."""

    PROPOSAL = "proposal"  # they follow a pull or merge request
    GUESSED = "guessed"  # the repository could not be asked where the branch ends and the path begins


@dataclass(frozen=True)
class Wanted:
    """What somebody typed about a link.

    repository, environment: in any shape that `find_pasted` knows; environment is "" unless another repository says
    which packages there are. ref, environment_ref: win over those that were pasted. path: file or directory to open;
    "" is the pasted one.
    """

    repository: str
    ref: str = ""
    path: str = ""
    interface: Interface = Interface.LAB
    environment: str = ""
    environment_ref: str = ""


@dataclass(frozen=True)
class Links:
    """Everything to copy. spec: what is launched. query: what its launch page is told. notes: see `Note`.

    nbgitpuller: opens the files in the regular session; None for what it cannot pull. myst, jupyter_book: lines of
    their settings; jupyter_book is None where it cannot express the link.
    """

    spec: str
    query: Mapping[str, str] = field(repr=False)
    launch: str
    badge: str
    markdown: str
    html: str
    rst: str
    nbgitpuller: str | None
    myst: str
    jupyter_book: str | None
    notes: tuple[Note, ...] = ()

    def to_json(self) -> dict[str, object]:
        """JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "query"}


class LinkMaker:
    """Makes links to one launcher.

    service_url: its absolute URL, with a slash at the end. hub_url: of the Hub's pages, ``https://host/hub/``.
    """

    def __init__(self, sources: Sources, *, service_url: str, hub_url: str) -> None:
        self._sources = sources
        self._service_url = service_url
        self._hub_url = hub_url

    async def make(self, wanted: Wanted) -> Links:
        """The links. Raises SpecInvalid, ProviderUnknown, AddressRefused, RepositoryNotFound with what cannot work."""
        found = await find_pasted(self._sources, wanted.repository, ref=wanted.ref)
        content, sure = found.pasted, found.sure
        repository = self._check(content)
        path, is_file = _path(wanted, content)
        launched, launched_repository, query = content, repository, open_query(wanted.interface, path, is_file=is_file)
        pull = self._pull(content, repository, wanted, path)
        if wanted.environment.strip():
            if pull is None:
                raise SpecInvalid(
                    "Files of an archive or of a request to merge cannot be put into another repository's environment.",
                    hint="Name a branch of a git repository, or leave the separate environment out.",
                )
            found = await find_pasted(self._sources, wanted.environment, ref=wanted.environment_ref)
            launched, sure = found.pasted, sure and found.sure
            launched_repository = self._check(launched)
            query = {"urlpath": f"git-pull?{urlencode(pull)}"}
        spec = launched.spec()
        launch = f"{self._service_url}v2/{spec}" + (f"?{urlencode(query, quote_via=quote, safe='/')}" if query else "")
        badge = f"{self._service_url}badge_logo.svg"
        separate = {"environment": spec} if launched is not content else {}
        return Links(
            spec=spec,
            query=query,
            launch=launch,
            badge=badge,
            markdown=f"[![Launch]({badge})]({_without_brackets(launch)})",
            html=f'<a href="{escape(launch)}"><img src="{escape(badge)}" alt="Launch"></a>',
            rst=f".. image:: {badge}\n   :target: {launch}\n   :alt: Launch",
            nbgitpuller=f"{self._hub_url}user-redirect/git-pull?{urlencode(pull | separate)}" if pull else None,
            myst="\n".join(["project:", *_github_line(content, repository), f"  binder: {launch}"]),
            jupyter_book=None if separate or wanted.ref else self._jupyter_book(content, repository),
            notes=(Note.PROPOSAL,) * launched_repository.is_proposal + (Note.GUESSED,) * (not sure),
        )

    def _check(self, pasted: Pasted) -> Repository:
        return self._sources.repository(spec_at(self._sources, pasted.spec()))

    def _pull(self, content: Pasted, repository: Repository, wanted: Wanted, path: str) -> dict[str, str] | None:
        """Parameters of an nbgitpuller link."""
        if content.provider not in _PULLED or repository.is_proposal:
            return None
        branch = content.ref
        inside = f"{repository.name}/{path}".rstrip("/")
        opens = {
            Interface.LAB: f"lab/tree/{inside}",
            Interface.NOTEBOOK: f"tree/{inside}",
            Interface.RSTUDIO: "rstudio/",
        }
        return {
            "repo": repository.url,
            **({"branch": branch} if branch and branch != "HEAD" else {}),
            "urlpath": opens.get(wanted.interface, path),
        }

    def _jupyter_book(self, content: Pasted, repository: Repository) -> str | None:
        """Settings of Jupyter Book 1, which makes links to GitHub's repositories only."""
        if content.provider != "gh" or repository.is_proposal:
            return None
        branch = f"\n  branch: {content.ref}" if content.ref else ""
        return (
            f"repository:\n  url: {repository.url}{branch}\n"
            f"launch_buttons:\n  notebook_interface: jupyterlab\n  binderhub_url: {self._service_url.rstrip('/')}"
        )


def _github_line(content: Pasted, repository: Repository) -> list[str]:
    """MyST's ``github``, which takes addresses of GitHub only (https://mystmd.org/guide/frontmatter)."""
    return [f"  github: {repository.url}"] if content.provider == "gh" else []


def _path(wanted: Wanted, content: Pasted) -> tuple[str, bool]:
    """What opens, and whether it is a file: what was typed, else what was pasted."""
    typed = wanted.path.strip().lstrip("/")
    if not typed:
        return content.path, content.is_file
    return typed, "." in typed.rpartition("/")[2]


def open_query(interface: Interface, path: str, *, is_file: bool) -> dict[str, str]:
    """The parameters of a launch page that opens the path."""
    if interface is Interface.OTHER:
        return {"urlpath": path} if path else {}
    if interface is Interface.RSTUDIO:
        return {"urlpath": "rstudio"}
    if interface is Interface.NOTEBOOK:
        return {"filepath": path} if is_file else {"urlpath": f"tree/{path}".rstrip("/")}
    if is_file:
        return {"labpath": path}
    return {"urlpath": f"lab/tree/{path}"} if path else {}


def _without_brackets(url: str) -> str:
    """A URL that ends nothing in Markdown."""
    return url.replace("(", "%28").replace(")", "%29")
