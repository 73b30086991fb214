"""What links mean and commits say, remembered for pages, which only show it: a launch asks and reads for itself."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from launcher.models import Recipe, Resolved, Snapshot, Spec, is_commit
from launcher.sessions.parts import detected
from launcher.sources.base import Sources
from launcher.sources.commits import CommitWords, commit_words

Key = TypeVar("Key")
Value = TypeVar("Value")
FRESH_SECONDS = 5.0
"""For how long a branch is taken to be where it was: a click, the page after it, and its reload ask its host once."""
_MOST = 256


@dataclass(frozen=True)
class Reading:
    """What a commit asks of its environment, and what it says of itself."""

    snapshot: Snapshot
    recipe: Recipe
    commit: CommitWords | None


class Readings:
    """What was resolved a moment ago, and the commits that were read last. ``clock``: seconds that only grow.

    Commits never change; whether their files are still there is seen by a launch.
    """

    def __init__(self, sources: Sources, most: int = _MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._most = most
        self._clock = clock
        self._resolved: OrderedDict[Spec, tuple[float, Resolved]] = OrderedDict()
        self._read: OrderedDict[tuple[str, str], Reading] = OrderedDict()

    async def resolve(self, spec: Spec) -> Resolved:
        """What a spec points to now, or did a moment ago. Raises as `Sources.resolve`, whose errors are not kept."""
        now = self._clock()
        since, known = self._resolved.get(spec, (now, None))
        if known is None or now - since > FRESH_SECONDS:
            since, known = now, await self._sources.resolve(spec)
        self._keep(self._resolved, spec, (since, known))
        return known

    async def read(self, resolved: Resolved) -> Reading:
        """Fetch a resolved ref and read it, unless that was done before. Raises SourceError, RecipeError."""
        key = (resolved.repository.id, resolved.ref)
        known = self._read.get(key)
        if known is None:
            snapshot = await self._sources.fetch(resolved)
            recipe, commit = await asyncio.gather(detected(snapshot), commit_words(snapshot))
            known = Reading(snapshot, recipe, commit)
            if not is_commit(resolved.ref):
                return known  # other names than commits may mean other files one day
        self._keep(self._read, key, known)
        return known

    def _keep(self, known: OrderedDict[Key, Value], key: Key, value: Value) -> None:
        known[key] = value
        known.move_to_end(key)
        while len(known) > self._most:
            known.popitem(last=False)
