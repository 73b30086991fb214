"""The files of a repository that are for reading: its README, and the notebook that a link wants to open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from launcher.errors import SourceTooLarge
from launcher.models import Spec
from launcher.policy.trust import TrustPolicy
from launcher.sources.base import Sources
from launcher.sources.tree import GitTree

_MOST_BYTES = 3_000_000
_README = re.compile(r"readme(?:\.(?:md|markdown|rst|txt))?", re.IGNORECASE)


@dataclass(frozen=True)
class Document:
    """A file of a repository. path: in the repository. content: None when it is too large to be shown."""

    path: str
    content: bytes | None


class Documents:
    """Reads what is for reading, without building or starting anything."""

    def __init__(self, sources: Sources, policy: TrustPolicy) -> None:
        self._sources = sources
        self._policy = policy

    async def of(self, spec: Spec, open_path: str = "") -> Sequence[Document]:
        """The notebook that ``open_path`` names, or else the first one at the top, and the README, where there are any.

        Raises LauncherError when the repository is refused or not found.
        """
        self._policy.check(self._sources.repository(spec))
        snapshot = await self._sources.fetch(await self._sources.resolve(spec))
        tree = await GitTree.load(snapshot.cache, snapshot.commit)
        files = tree.files()
        readme = sorted((path for path in files if _README.fullmatch(path)), key=lambda path: not path.endswith(".md"))
        return [_read(tree, path) for path in (*_notebook(list(files), open_path), *readme[:1])]


def _notebook(files: Sequence[str], open_path: str) -> list[str]:
    notebooks = [path for path in files if path.endswith(".ipynb") and path.isprintable()]
    opened = unquote(open_path.partition("?")[0])
    wanted = [path for path in notebooks if opened == path or opened.endswith("/" + path)]
    return (wanted or sorted(path for path in notebooks if "/" not in path))[:1]


def _read(tree: GitTree, path: str) -> Document:
    try:
        return Document(path, tree.read(path, limit=_MOST_BYTES))
    except SourceTooLarge:
        return Document(path, None)
