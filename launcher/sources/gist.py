"""``gist/<user>/<id>[/<ref>]``: GitHub gists. The ref is HEAD or a full commit of the gist's history."""

from __future__ import annotations

import re

from launcher.errors import RefNotFound, RepositoryNotFound, SourceInvalid, SpecInvalid
from launcher.models import Repository, is_commit
from launcher.sources.git_based import GitBasedProvider, Target, below
from launcher.sources.github import GitHubApi, tree_url
from launcher.sources.providers import SourceTools, decode_once
from launcher.sources.refs import check_ref

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_ID = re.compile(r"[0-9a-fA-F]{1,64}")
_DEFAULTS = frozenset({"HEAD", "main", "master"})

_DISPLAY: dict[str, object] = {
    "displayName": "GitHub Gist",
    "id": "gist",
    "spec": {"validateRegex": r"[^/]+/[^/]+(/[^/]+)?"},
    "detect": {"regex": "^(https?://gist.github.com/)?(?<repo>.*[^/])/?"},
    "repo": {"label": "Gist ID (username/gistId) or URL", "placeholder": "", "urlEncode": False},
    "ref": {"enabled": True, "default": "HEAD"},
}


class GistProvider(GitBasedProvider):
    """Gists, found through GitHub's API, fetched with git."""

    id = "gist"
    default_for = _DEFAULTS
    display_config = _DISPLAY

    def __init__(self, tools: SourceTools) -> None:
        super().__init__(tools)
        self._api = GitHubApi(tools)

    def read(self, raw: str) -> Target:
        """Take ``user/id`` or ``user/id/ref`` apart."""
        parts = [decode_once(part) for part in raw.rstrip("/").split("/")]
        if len(parts) not in (2, 3) or not _USER.fullmatch(parts[0]) or not _ID.fullmatch(parts[1]):
            raise SpecInvalid(f'Spec is not of the form "username/gistId" or "username/gistId/ref", provided: "{raw}".')
        user, identity = parts[0], parts[1].lower()
        address = below(self.tools, self.tools.config.gist_url, f"{user}/{identity}")
        return Target(address, check_ref(parts[2]) if len(parts) == 3 else "HEAD", f"{self.id}/{user}/{identity}")  # noqa: PLR2004

    def ref_url(self, target: Target, repository: Repository, commit: str) -> str:
        """The gist's page at the commit."""
        return tree_url(repository.provider, target.address, commit)

    async def find(self, target: Target) -> tuple[str, str | None]:
        """The newest commit, or the one asked for if it is in the gist's history."""
        user, identity = target.address.path.split("/")[-2:]
        body = await self._api.gist(identity)
        try:
            owner, public = str(body["owner"]["login"]), body["public"] is True  # type: ignore[index]
            history = [str(entry["version"]) for entry in body["history"]]  # type: ignore[index]
        except (KeyError, TypeError):
            raise SourceInvalid("GitHub gave an answer we do not understand.") from None
        # Somebody's gist under somebody else's name would borrow that person's good name.
        if owner.lower() != user.lower() or not (public or self.tools.config.allow_secret_gist):
            raise RepositoryNotFound("This person has no such public gist.", hint="Check the link for a typing error.")
        if target.ref in self.default_for and history and is_commit(history[0]):
            return history[0], "HEAD"
        if target.ref not in history:
            raise RefNotFound("The gist has no such commit.", hint="Use HEAD or a full commit id.")
        return target.ref, None
