"""Where a repository keeps its environment files."""

from __future__ import annotations

from launcher.environments.repository_files import RepositoryFiles
from launcher.errors import RecipeInvalid

BINDER_DIRECTORIES = (".binder", "binder")


def environment_directory(files: RepositoryFiles) -> str:
    """``".binder"`` or ``"binder"`` when the repository has that directory, else ``""`` for its root.

    With such a directory environment files are looked up only there, even when it holds none of them. A file, symlink
    or submodule of that name is not a directory; git knows no empty ones.

    Raises RecipeInvalid when both are there: nobody can say which was meant.
    """
    present = [name for name in BINDER_DIRECTORIES if name in files.directories]
    if len(present) > 1:
        raise RecipeInvalid(
            "The repository has both a binder and a .binder directory.",
            hint="Keep the environment files in one of them and remove the other.",
        )
    return present[0] if present else ""
