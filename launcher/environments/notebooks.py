"""Keeping notebooks out of builds of a repository's own project, where that is safe.

A recipe with ``-e .`` or a project in its root can reach every file, so every commit would build again, also one that
only changes a notebook. Guessing that a file does not matter is how stale environments come about; so nothing is
guessed: the files left out of the key are also kept from the build (`Recipe.sees`). What remains is the question
when a build would miss them, and the answer is the narrow case below; everywhere else the whole tree is the key.

- the only reach is the project in the root; no postBuild, no symlinks or submodules in the tree;
- its packaging takes the files of packages and those it names, nothing else (`declarative`);
- the notebook is in the root, or in a top-level directory without code; no packaging file mentions that directory,
  nor any notebook.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from launcher.environments.declarative import packaging_text, takes_only_packages
from launcher.environments.repository_files import RepositoryFiles

_NOTEBOOK = ".ipynb"
_DOCUMENTS = frozenset({
    ".ipynb", ".md", ".rst", ".txt", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".csv", ".tsv",
    ".json", ".geojson", ".html", ".css", ".bib", ".parquet", ".npy", ".npz", ".h5", ".nc", ".xlsx", ".dat", ".gz",
})  # fmt: skip
"""What may lie beside notebooks in a directory that holds no code."""


def directories_keeping_notebooks(files: RepositoryFiles) -> list[str] | None:
    """The top-level directories whose notebooks a build of the root project may want; it sees no others.

    None when it may want any of them.
    """
    if files.links or not takes_only_packages(files):
        return None
    mentioned = packaging_text(files, "pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
    if "ipynb" in mentioned.lower():
        return None
    with_notebooks = {path.split("/", 1)[0] for path in files.blobs if "/" in path and path.endswith(_NOTEBOOK)}
    with_code = {path.split("/", 1)[0] for path in files.blobs if "/" in path and not _is_document(path)}
    keeping = {top for top in with_notebooks if top in with_code or _is_mentioned(top, mentioned)}
    return None if any("\n" in top for top in with_notebooks) else sorted(keeping)


def seen_tree(files: RepositoryFiles, sees: Callable[[str], bool]) -> str:
    """An id of the files a build sees: names, modes and contents."""
    modes = files.tree.modes()
    digest = hashlib.sha256()
    for path, blob in sorted(files.blobs.items()):
        if sees(path):
            for text in (path, modes[path], blob):
                data = text.encode("utf-8", "surrogatepass")
                digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def _is_document(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith(".") or any(name.lower().endswith(suffix) for suffix in _DOCUMENTS)


def _is_mentioned(top: str, text: str) -> bool:
    """Whether a packaging file may point to that directory; a name not in ASCII can be spelt in many ways."""
    return not top.isascii() or re.search(rf"(?<![\w-]){re.escape(top)}(?![\w-])", text) is not None
