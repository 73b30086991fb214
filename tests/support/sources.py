"""Short words for tests of sources."""

from __future__ import annotations

from urllib.parse import quote

from launcher.errors import LauncherError
from launcher.models import Resolved
from launcher.sources import RepositorySources


def git_spec(url: str, ref: str) -> str:
    """The spec of a git repository, after ``git/``."""
    return f"{quote(url, safe='')}/{ref}"


async def resolve(sources: RepositorySources, url: str, ref: str) -> Resolved:
    return await sources.resolve(sources.parse("git", git_spec(url, ref)))


def assert_for_people(error: LauncherError) -> None:
    """No path, credential, command or git's own words in what is shown."""
    shown = f"{error.message} {error.hint}"
    for word in ("/tmp", "fatal", "remote:", "git-upload-pack", "curl", "Traceback", "s3cret"):
        assert word not in shown
