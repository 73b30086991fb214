"""Which files a session wants, as the session file describes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Content:
    """What to put in place.

    repository: a bare repository on this machine that has ``commit``; only read. branch: the branch the commit came
    from, or None (a tag, a commit, an archive). identity: one spelling for one repository,
    ``gh:github.com/org/repo``. url: the public address, for ``origin``. name: the wanted directory name.
    """

    repository: Path
    commit: str
    branch: str | None
    identity: str
    url: str
    name: str

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Content:
        """Check and convert; Problem (``content_failed``) when a value cannot be right."""
        branch = body.get("branch") or None
        if branch is not None and str(branch).startswith("refs/heads/"):
            branch = str(branch)[len("refs/heads/") :]
        elif branch is not None and str(branch).startswith("refs/"):
            branch = None  # a tag is not something to be on
        content = cls(
            repository=Path(str(body["repository"])),
            commit=str(body["commit"]),
            branch=branch,
            identity=str(body["identity"]),
            url=str(body["url"]),
            name=str(body["name"]),
        )
        texts = [content.identity, content.url, content.branch or "-"]
        if not (
            _COMMIT.fullmatch(content.commit)
            and _NAME.fullmatch(content.name)
            and not content.name.endswith(".git")
            and all(_PRINTABLE.fullmatch(text) for text in texts)
        ):
            raise Problem("content_failed", "The repository's files were described in a way that cannot be right.")
        return content
