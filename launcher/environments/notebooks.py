"""Keeping notebooks out of builds of a repository's own project, where that is safe.

A recipe with ``-e .`` or a project in its root can reach every file, so every commit would build again, also one that
only changes a notebook. Guessing that a file does not matter is how stale environments come about; so nothing is
guessed: the files left out of the key are also kept from the build (`visible_files`). What remains is the question
when a build would miss them, and the answer is the narrow case below; everywhere else the whole tree is the key.

- the only reach is the project in the root; no postBuild, no symlinks or submodules in the tree;
- its packaging takes the files of packages and those it names, nothing else (`declarative`);
- the notebook is in the root, or in a top-level directory without code; no packaging file mentions that directory,
  nor any notebook.
"""

from __future__ import annotations

import hashlib
import re

from launcher.environments.declarative import packaging_text, takes_only_packages
from launcher.environments.repository_files import RepositoryFiles

_NOTEBOOK = ".ipynb"
_DOCUMENTS = frozenset({
    ".ipynb", ".md", ".rst", ".txt", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".csv", ".tsv",
    ".json", ".geojson", ".html", ".css", ".bib", ".parquet", ".npy", ".npz", ".h5", ".nc", ".xlsx", ".dat", ".gz",
})  # fmt: skip
"""What may lie beside notebooks in a directory that holds no code."""


def notebooks_can_be_apart(files: RepositoryFiles) -> bool:
    """Whether some notebooks can be kept from a build of the root project without it missing them."""
    return not files.links and takes_only_packages(files)


def notebooks_apart(files: RepositoryFiles) -> frozenset[str]:
    """The notebooks that are kept from a build; decided by the names of files and the packaging files alone."""
    mentioned = packaging_text(files, "pyproject.toml", "setup.py", "setup.cfg", "MANIFEST.in")
    if "ipynb" in mentioned.lower():
        return frozenset()
    with_code = {path.split("/", 1)[0] for path in files.blobs if "/" in path and not _is_document(path)}
    return frozenset(
        path
        for path in files.blobs
        if path.endswith(_NOTEBOOK) and not _belongs_to_code(path, with_code=with_code, mentioned=mentioned)
    )


def tree_without_notebooks(files: RepositoryFiles) -> str:
    """An id of all that a build sees when the notebooks are kept apart: names, modes and contents."""
    apart = notebooks_apart(files)
    modes = files.tree.modes()
    digest = hashlib.sha256()
    entries = [(path, modes[path], blob) for path, blob in files.blobs.items() if path not in apart]
    for entry in sorted(entries):
        for text in entry:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(f"{len(data)}:".encode() + data)
    return digest.hexdigest()


def _is_document(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith(".") or any(name.lower().endswith(suffix) for suffix in _DOCUMENTS)


def _belongs_to_code(path: str, *, with_code: set[str], mentioned: str) -> bool:
    """Whether a notebook lies where code lies, or where a packaging file points to."""
    if "/" not in path:
        return False
    top = path.split("/", 1)[0]
    return (
        top in with_code
        or not top.isascii()
        or re.search(rf"(?<![\w-]){re.escape(top)}(?![\w-])", mentioned) is not None
    )
