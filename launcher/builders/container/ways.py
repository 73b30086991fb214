"""The ways in which a container can be built: which of them a recipe takes is decided by its kind, here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from launcher.builders.base import BuildLog
from launcher.errors import RecipeUnsupported
from launcher.models import BuildRequest, BuiltEnvironment, Recipe, RecipeKind


class Way(Protocol):
    """Makes images of some kinds of recipes.

    What it starts carries the labels of the build before it exists, so that `ContainerBuilder` can end and remove it;
    its files are below the directories of the build. Its images are those of `launcher.builders.container.images`.
    """

    kinds: frozenset[RecipeKind]
    """What it can build."""

    fingerprint: str
    """What it makes of a recipe besides the base image: part of every key."""

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe of one of the kinds all the same. Raises RecipeUnsupported, PythonUnavailable."""

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Make the image, or find an equal one. Raises what `Builder.build` promises."""


def choose_way(recipe: Recipe, ways: Sequence[Way]) -> Way:
    """The way for a recipe. Raises RecipeUnsupported."""
    for way in ways:
        if recipe.kind in way.kinds:
            return way
    raise RecipeUnsupported(
        f"{recipe.main or recipe.kind.value} asks for {_WHAT.get(recipe.kind, 'something')}, which this launcher's "
        "container runtime cannot provide.",
        hint="Ask the operator, or list what pip can install in binder/requirements.txt.",
    )


_WHAT = {
    RecipeKind.CONDA: "conda packages",
    RecipeKind.R: "R",
    RecipeKind.JULIA: "Julia",
    RecipeKind.NIX: "Nix",
    RecipeKind.DOCKERFILE: "a container image of its own",
}
