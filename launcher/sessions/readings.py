"""What commits say, remembered: a page that is opened again, or by the next person, reads no git objects."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from launcher.models import Recipe, Resolved, Snapshot, is_commit
from launcher.sessions.parts import detected
from launcher.sources.base import Sources
from launcher.sources.commits import CommitWords, commit_words

_MOST = 256


@dataclass(frozen=True)
class Reading:
    """What a commit asks of its environment, and what it says of itself."""

    snapshot: Snapshot
    recipe: Recipe
    commit: CommitWords | None


class Readings:
    """The commits that were read last. They never change; whether their files are still there is seen by a launch."""

    def __init__(self, sources: Sources, most: int = _MOST) -> None:
        self._sources = sources
        self._most = most
        self._known: OrderedDict[tuple[str, str], Reading] = OrderedDict()

    async def read(self, resolved: Resolved) -> Reading:
        """Fetch a resolved ref and read it, unless that was done before. Raises SourceError, RecipeError."""
        key = (resolved.repository.id, resolved.ref)
        known = self._known.get(key)
        if known is None:
            snapshot = await self._sources.fetch(resolved)
            recipe, commit = await asyncio.gather(detected(snapshot), commit_words(snapshot))
            known = Reading(snapshot, recipe, commit)
            if not is_commit(resolved.ref):
                return known  # other names than commits may mean other files one day
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return known
