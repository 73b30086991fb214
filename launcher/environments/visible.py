"""What a build may see of a repository."""

from __future__ import annotations

from launcher.models import Recipe
from launcher.sources.base import Tree


def visible_files(recipe: Recipe, tree: Tree) -> dict[str, str]:
    """Path -> blob id of every regular file a build of ``recipe`` may see, of the tree the recipe was read from.

    Exactly the files `environment_key` covers: with them alone, a build that reads something unforeseen fails instead
    of making an environment that another commit would not get.
    """
    return {path: blob for path, blob in tree.files().items() if recipe.sees(path)}
