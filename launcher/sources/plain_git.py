"""``git/<percent-encoded address>/<ref>``: any git repository on the web."""

from __future__ import annotations

from urllib.parse import quote

from launcher.errors import SpecInvalid
from launcher.models import Repository
from launcher.sources.addresses import refused
from launcher.sources.git_based import GitBasedProvider, Target
from launcher.sources.github import tree_url
from launcher.sources.providers import decode_once
from launcher.sources.refs import check_ref

_DISPLAY: dict[str, object] = {
    "displayName": "Git repository",
    "id": "git",
    "spec": {"validateRegex": r"[^/]+/.+"},
    "repo": {
        "label": "Arbitrary git repository URL",
        "placeholder": "example: http://git.example.com/repo",
        "urlEncode": True,
    },
    "ref": {"enabled": True, "default": "HEAD"},
}


class PlainGitProvider(GitBasedProvider):
    """Any address that speaks git's smart http."""

    id = "git"
    display_config = _DISPLAY

    def read(self, raw: str) -> Target:
        """Take ``<percent-encoded address>/<ref>`` apart."""
        if raw.lower().startswith(("http:/", "https:/", "ssh:/", "git:/")):
            raise SpecInvalid(
                "The address of the repository is not percent-encoded.",
                hint="Write git/https%3A%2F%2Fgit.example.org%2Frepository/main, with %3A for : and %2F for /.",
            )
        quoted, _, ref = raw.rstrip("/").partition("/")
        address = self.tools.addresses.check_url(decode_once(quoted))
        if not ref:
            raise SpecInvalid(
                'Spec is not of the form "<percent-encoded address>/ref".',
                hint="Add the branch, tag or commit, or HEAD.",
            )
        if address.query:
            raise refused()
        path = address.path.rstrip("/")
        address = type(address)(address.scheme, address.host, address.port, path or "/", "")
        return Target(address, check_ref(decode_once(ref)), f"{self.id}/{quote(address.url, safe='')}")

    def ref_url(self, target: Target, repository: Repository, commit: str) -> str:
        """The forge's page of the commit where we know its form, else the repository."""
        return tree_url(repository.provider, target.address, commit)
