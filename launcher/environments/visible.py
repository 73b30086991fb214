"""What a build may see of a repository."""

from __future__ import annotations

from launcher.environments.notebooks import notebooks_apart
from launcher.environments.repository_files import RepositoryFiles
from launcher.models import Recipe
from launcher.sources.base import Tree


def visible_files(recipe: Recipe, tree: Tree) -> dict[str, str]:
    """Path -> blob id of every file a builder puts before a build of ``recipe``, read from ``tree``.

    Exactly the files `environment_key` covers: with them alone, a build that reads something unforeseen fails instead
    of making an environment that another commit would not get. ``tree`` is the one the recipe was read from.
    """
    if recipe.tree is None:
        return dict(recipe.files)
    files = RepositoryFiles(tree)
    apart = notebooks_apart(files) if recipe.options.get("notebooks") == "apart" else frozenset[str]()
    return {path: blob for path, blob in files.blobs.items() if path not in apart}
