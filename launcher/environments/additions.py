"""What people add to a recipe on the launch page. It becomes part of the recipe, and so of the environment's key."""

from __future__ import annotations

from dataclasses import replace

from launcher.models import Recipe

_DASK = "dask"
_YES = "yes"


def with_dask(recipe: Recipe) -> Recipe:
    """The recipe of the same repository with Dask's packages added."""
    return replace(recipe, options={**recipe.options, _DASK: _YES})


def wants_dask(recipe: Recipe) -> bool:
    """Whether Dask's packages are to be added, whatever the repository's own files say."""
    return recipe.options.get(_DASK) == _YES
