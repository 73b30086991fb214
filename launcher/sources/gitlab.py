"""``gl/<percent-encoded group/…/project>/<ref>``: GitLab.

Refs are found with git, not with GitLab's API: it gives full names in one answer, needs no token and has no rate limit.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from launcher.errors import SpecInvalid
from launcher.models import Repository
from launcher.sources.git_based import GitBasedProvider, Target, below
from launcher.sources.github import tree_url
from launcher.sources.providers import decode_once
from launcher.sources.refs import check_ref

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,254}")

_DISPLAY: dict[str, object] = {
    "displayName": "GitLab",
    "id": "gl",
    "spec": {"validateRegex": r"[^/]+/.+"},
    "detect": {"regex": "^(https?://gitlab.com/)?(?<repo>.*[^/])/?"},
    "repo": {
        "label": "GitLab repository name or URL",
        "placeholder": "example: https://gitlab.com/mosaik/examples/mosaik-tutorials-on-binder "
        "or mosaik/examples/mosaik-tutorials-on-binder",
        "urlEncode": True,
    },
    "ref": {"enabled": True, "default": "HEAD"},
}


class GitLabProvider(GitBasedProvider):
    """GitLab.com, or a GitLab of one's own by configuration."""

    id = "gl"
    default_for = frozenset({"main", "master"})
    display_config = _DISPLAY

    def read(self, raw: str) -> Target:
        """Take ``<percent-encoded namespace>/<ref>`` apart."""
        quoted, _, ref = raw.rstrip("/").partition("/")
        segments = decode_once(quoted).strip("/").removesuffix(".git").split("/")
        if not ref or len(segments) < 2 or not all(_SEGMENT.fullmatch(segment) for segment in segments):  # noqa: PLR2004
            raise SpecInvalid(
                f'Spec is not of the form "namespace/ref", provided: "{raw}".',
                hint="The namespace is percent-encoded: group%2Fproject/HEAD.",
            )
        namespace = "/".join(segments)
        address = below(self.tools, self.tools.config.gitlab_url, f"{namespace}.git")
        return Target(address, check_ref(decode_once(ref)), f"{self.id}/{quote(namespace, safe='')}")

    def ref_url(self, target: Target, repository: Repository, commit: str) -> str:
        """GitLab's page of the commit."""
        return tree_url(repository.provider, target.address, commit)
