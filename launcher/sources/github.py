"""``gh/<user>/<repo>/<ref>``: GitHub. Refs are found through its API, files are fetched with git."""

from __future__ import annotations

import asyncio
import math
import re
import time
from urllib.parse import quote

from launcher.errors import LauncherError, RepositoryNotFound, SourceInvalid, SourceUnavailable, SpecInvalid
from launcher.models import Repository, is_commit
from launcher.sources.addresses import WebAddress
from launcher.sources.git_based import GitBasedProvider, Target, below
from launcher.sources.http import HttpResponse
from launcher.sources.providers import SourceTools, decode_once
from launcher.sources.refs import candidates, check_commit, check_ref, choose, missing, no_default, proposal_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_REPOSITORY = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_DEFAULTS = frozenset({"main", "master"})
_DESCRIBED = re.compile(r".*-g[0-9A-Fa-f]{4,64}")  # by git a commit, of whatever fork, not a branch

_DISPLAY: dict[str, object] = {
    "displayName": "GitHub",
    "id": "gh",
    "spec": {"validateRegex": r"[^/]+/[^/]+/.+"},
    "detect": {"regex": "^(https?://github.com/)?(?<repo>.*[^/])/?"},
    "repo": {
        "label": "GitHub repository name or URL",
        "placeholder": "example: binder-examples/requirements or https://github.com/binder-examples/requirements",
        "urlEncode": False,
    },
    "ref": {"enabled": True, "default": "HEAD"},
}


class GitHubProvider(GitBasedProvider):
    """GitHub, or GitHub Enterprise by configuration."""

    id = "gh"
    default_for = _DEFAULTS
    display_config = _DISPLAY

    def __init__(self, tools: SourceTools) -> None:
        super().__init__(tools)
        self._api = GitHubApi(tools)

    def read(self, raw: str) -> Target:
        """Take ``user/repo/ref`` apart; the ref may hold slashes."""
        user, repository, ref = split_spec(raw)
        address = below(self.tools, self.tools.config.github_url, f"{user}/{repository}")
        return Target(address, check_ref(decode_once(ref)), f"{self.id}/{user}/{repository}")

    def ref_url(self, target: Target, repository: Repository, commit: str) -> str:
        """GitHub's page of the commit."""
        return tree_url(repository.provider, target.address, commit)

    async def find(self, target: Target) -> tuple[str, str | None]:
        """Ask the API; when it does not want to be asked now (rate limit), ask git.

        Git is asked, too, where the API promises nothing about which commit it finds: for pull requests, and for names
        that end as those of ``git describe`` do. It would find a commit of anybody's fork, which is then fetched as
        one that a branch was at a moment ago.
        """
        if proposal_of(target.ref) or _DESCRIBED.fullmatch(target.ref):
            return await super().find(target)
        try:
            return await self._find_by_api(target)
        except SourceUnavailable as unavailable:
            try:
                return await super().find(target)
            except LauncherError as error:
                raise (unavailable if isinstance(error, SourceUnavailable) else error) from None

    async def _find_by_api(self, target: Target) -> tuple[str, str | None]:
        name, ref = "/".join(target.address.path.split("/")[-2:]), target.ref
        if is_commit(ref):
            if await self._api.commit(name, check_commit(ref)) != ref:
                raise missing(ref)
            return ref, None
        if ref != "HEAD":
            names = candidates(ref)
            answers = await asyncio.gather(*(self._api.commit(name, full.removeprefix("refs/")) for full in names))
            found = {full: commit for full, commit in zip(names, answers, strict=True) if commit is not None}
            chosen = choose(ref, found)
            if chosen is not None:
                return chosen
            if ref not in self.default_for:
                raise missing(ref)
        head = await self._api.commit(name, "HEAD")
        if head is None:
            raise no_default()
        return head, "HEAD"


class GitHubApi:
    """The few questions we ask GitHub's API; answers are remembered by their ETag."""

    def __init__(self, tools: SourceTools) -> None:
        self._http = tools.http
        self._base = tools.config.github_api_url.rstrip("/")
        token = tools.config.github_token
        self._headers = {"Authorization": f"token {token}"} if token else {}

    async def commit(self, repository: str, ref: str) -> str | None:
        """The commit of ``HEAD``, ``heads/X``, ``tags/X`` or a full id; None when there is none.

        Raises RepositoryNotFound, SourceUnavailable (rate limit included), SourceInvalid.
        """
        url = f"{self._base}/repos/{repository}/commits/{quote(ref, safe='/')}"
        response = await self._get(url, "application/vnd.github.sha")
        if response.status in (409, 422):  # an empty repository; no such commit
            return None
        if response.status == 404:  # noqa: PLR2004
            if b"No commit found" in response.body:
                return None
            raise _not_found()
        text = response.body.decode("utf-8", "replace").strip()
        commit = text if is_commit(text) else _sha_of(response.json())
        if not is_commit(commit):
            raise SourceInvalid("GitHub gave an answer we do not understand.")
        return commit

    async def gist(self, identity: str) -> object:
        """What the API tells about a gist. Raises as `commit`."""
        response = await self._get(f"{self._base}/gists/{identity}", "application/vnd.github+json")
        if response.status == 404:  # noqa: PLR2004
            raise _not_found()
        return response.json()

    async def _get(self, url: str, accept: str) -> HttpResponse:
        response = await self._http.get_revalidated(url, headers={"Accept": accept, **self._headers})
        if response.status in (403, 429):
            raise _rate_limited(response)
        if response.status == 401:  # noqa: PLR2004
            raise SourceUnavailable("GitHub does not accept the token of this hub.", hint="Tell its operator.")
        if response.status not in (200, 404, 409, 422):
            raise SourceUnavailable("GitHub did not answer the question.", hint="Try again in a minute.")
        return response


def _not_found() -> RepositoryNotFound:
    return RepositoryNotFound(
        "There is no public repository of this name on GitHub.", hint="Check the link for a typing error."
    )


def _sha_of(body: object) -> str:
    return str(body.get("sha", "")) if isinstance(body, dict) else ""


def _rate_limited(response: HttpResponse) -> SourceUnavailable:
    reset = response.headers.get("x-ratelimit-reset", "")
    wait = response.retry_after
    if wait is None and reset.isascii() and reset.isdigit() and len(reset) < 12:  # noqa: PLR2004
        wait = max(1, int(reset) - int(time.time()))
    minutes = 5 * math.ceil((wait or 60) / 300)
    return SourceUnavailable(
        f"GitHub rate limit exceeded. Try again in {minutes} minutes.",
        hint="An operator's token lets this hub ask GitHub more often.",
        retry_after=wait or 60,
    )


def split_spec(raw: str) -> tuple[str, str, str]:
    """User, repository (without ``.git``) and ref, still encoded, of ``user/repo/ref``. Raises SpecInvalid."""
    spec = raw.rstrip("/")
    decode_once(spec)  # nothing unprintable is repeated to people
    parts = spec.split("/", 2)
    if len(parts) != 3:  # noqa: PLR2004
        message = f'Spec is not of the form "user/repo/ref", provided: "{spec}".'
        if len(parts) == 2 and parts[-1] not in {"main", "master", "HEAD"}:  # noqa: PLR2004
            message += f' Did you mean "{spec}/HEAD"?'
        raise SpecInvalid(message)
    user, repository = decode_once(parts[0]), decode_once(parts[1]).removesuffix(".git")
    if not _NAME.fullmatch(user) or not _REPOSITORY.fullmatch(repository):
        raise SpecInvalid("This is not the name of a GitHub repository.", hint="It looks like user/repo/ref.")
    return user, repository, parts[2]


def tree_url(provider: str, address: WebAddress, commit: str) -> str:
    """The page of a commit on a forge we know, else the repository's address."""
    plain = address.url.removesuffix(".git")
    forms = {"gh": f"{plain}/tree/{commit}", "gl": f"{plain}/-/tree/{commit}", "gist": f"{plain}/{commit}"}
    return forms.get(provider, address.url)
