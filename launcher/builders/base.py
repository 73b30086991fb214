"""What a builder is: the part of a runtime that makes environments. Every builder passes the same contract tests."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Protocol

from launcher.models import BuildId, BuildRequest, BuiltEnvironment, Recipe, Storage


class BuildLog(Protocol):
    """Where a build's words go. Text is data: whatever it looks like, it never becomes an event."""

    def write(self, text: str) -> None:
        """Append output of the build; any text, lines are cut apart by the receiver.

        Raises BuildLimitExceeded when the build has said more than it may.
        """

    def stage(self, name: str) -> None:
        """Say what happens next: ``fetching``, ``building`` or ``pushing`` (BinderHub's phases)."""


class Builder(Protocol):
    """Makes environments from recipes, and knows which of them exist."""

    fingerprint: str
    """Base and builder version: part of every key, so that an upgrade makes new environments."""

    def check(self, recipe: Recipe) -> None:
        """Refuse, before anything is built, what this builder cannot do.

        Raises RecipeUnsupported naming the file and what can do it, PythonUnavailable.
        """

    async def build(self, request: BuildRequest, log: BuildLog) -> BuiltEnvironment:
        """Make the environment, or leave nothing behind.

        Calling again with the same ``build_id`` after a crash first removes what that build left, then starts over.
        Cancelling the task ends every process of the build before CancelledError leaves this call.
        Raises BuildFailed, BuildLimitExceeded, RecipeError.
        """

    async def reap(self, build_id: BuildId) -> None:
        """End and remove whatever a build left: processes, directories, containers. Nothing there is fine."""

    async def exists(self, reference: str) -> bool:
        """Whether a `BuiltEnvironment.reference` can start sessions now."""

    async def remove(self, reference: str) -> None:
        """Delete an environment that nothing uses. Nothing there is fine; what an engine knows to be in use stays."""

    async def references(self) -> frozenset[str]:
        """Every environment present, known to a row or not: the sweep compares."""

    async def storage(self, references: frozenset[str] | None = None) -> Storage:
        """What these environments take on disk, or all that are present. Those that are gone are left out."""

    async def reap_others(self, builds: frozenset[BuildId]) -> None:
        """Like `reap`, for whatever of this launcher's builds is there and belongs to none of these."""

    async def collect_caches(self, unused_since: datetime) -> int:
        """Delete what only makes builds quicker and was not used since; bytes that are free now, about.

        Called while no build runs.
        """

    async def places(self) -> tuple[Path, ...]:
        """Directories of this machine whose disks builds and environments fill; they need not be there yet."""
