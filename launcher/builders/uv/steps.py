"""The single steps of a build: each is one command in a sandbox, its words in the log, its failure in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from launcher.builders.base import BuildLog
from launcher.builders.uv.config import UvBuilderConfig
from launcher.builders.uv.explain import explain
from launcher.builders.uv.runtime import Outcome, StepRunner, View
from launcher.builders.uv.workspace import Workspace
from launcher.errors import BuildFailed
from launcher.models import Recipe


@dataclass(frozen=True)
class Steps:
    """Runs commands for one build."""

    workspace: Workspace
    runner: StepRunner
    recipe: Recipe
    log: BuildLog
    config: UvBuilderConfig

    async def attempt(self, view: View, command: list[str], *, quiet: bool = False) -> Outcome:
        """Run a command; a failure is in the outcome. ``quiet`` keeps its words from the log."""
        return await self.runner.run(view, command, _ignore if quiet else self.log.write)

    async def run(self, what: str, view: View, command: list[str], *, quiet: bool = False) -> None:
        """Run a command that must succeed. Raises BuildFailed: ``what`` completes "… failed"."""
        outcome = await self.attempt(view, command, quiet=quiet)
        if outcome.status:
            raise self.failure(what, outcome)

    def failure(self, what: str, outcome: Outcome) -> BuildFailed:
        """The error of a step that failed, with the reason when it can be recognised."""
        reason = explain(outcome.tail, self._recipe_text)
        message = f"{what} failed: {reason}" if reason else f"{what} failed."
        return BuildFailed(message, hint="The last lines of the build's log say more.")

    def recipe_file(self, path: str) -> str | None:
        """The text of a file of the recipe, as checked out; None when it cannot be read."""
        try:
            return self.workspace.read(path, below="repository")
        except OSError:
            return None

    def _recipe_text(self, name: str) -> str | None:
        """A recipe file by its base name."""
        path = next((path for path in self.recipe.files if PurePosixPath(path).name == name), None)
        return self.recipe_file(path) if path else None


def _ignore(_text: str) -> None:
    """Where words go that nobody reads."""
