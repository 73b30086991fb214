"""Recipes and their keys: what a repository asks of its environment, read from git objects.

`detect` reads the recipe of a commit, `environment_key` says which recipes share an environment, and `visible_files`
lists what a build of a recipe may see, which is what its key covers and nothing else. `with_dask` adds to a recipe what
its repository does not say.
"""

from launcher.environments.additions import wants_dask, with_dask
from launcher.environments.keys import environment_key
from launcher.environments.recipe import detect
from launcher.environments.visible import visible_files

__all__ = ["detect", "environment_key", "visible_files", "wants_dask", "with_dask"]
