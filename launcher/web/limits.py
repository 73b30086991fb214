"""How much one person, and everybody together, may ask for: launches in a minute, streams at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from launcher.errors import RateLimited
from launcher.models import Username


class LaunchRate:
    """At most ``per_minute`` launches of one person in any 60 seconds; 0 is no limit."""

    def __init__(self, per_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._item = RateLimitItemPerMinute(per_minute) if per_minute > 0 else None

    def take(self, username: Username) -> None:
        """Count one launch. Raises RateLimited with the seconds left to wait."""
        if self._item is None or self._limiter.hit(self._item, username):
            return
        reset = self._limiter.get_window_stats(self._item, username).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        raise RateLimited(
            f"Rate limit exceeded. Try again in {seconds} seconds.",
            hint="A launch that is open in another tab goes on by itself.",
            retry_after=seconds,
        )


class StreamSlots:
    """Open event streams: a cap for each person and one for all. `close` ends them all when the service stops."""

    def __init__(self, per_person: int, total: int) -> None:
        self._per_person = per_person
        self._total = total
        self._open: Counter[Username] = Counter()
        self.closing = asyncio.Event()

    @property
    def count(self) -> int:
        """Streams open now."""
        return self._open.total()

    def close(self) -> None:
        """End every stream; clients resume with ``Last-Event-ID`` at the next start."""
        self.closing.set()

    @contextmanager
    def take(self, username: Username) -> Iterator[None]:
        """Hold one slot. Raises RateLimited when there is none."""
        if self._open[username] >= self._per_person:
            raise RateLimited("You have too many streams open.", hint="Close some tabs.", retry_after=30)
        if self.count >= self._total:
            raise RateLimited("Too many people are watching builds.", hint="Try again in a moment.", retry_after=10)
        self._open[username] += 1
        try:
            yield
        finally:
            self._open[username] -= 1
            if not self._open[username]:
                del self._open[username]
