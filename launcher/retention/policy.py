"""Which environments may go, and in which order. Pure: rows and clocks in, decisions out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from launcher.config import Settings
from launcher.store import ArtefactUse


class Reason(StrEnum):
    """Why an environment goes."""

    AGE = "not used for long"
    COUNT = "more environments than allowed"
    SIZE = "more bytes than allowed"
    DISK = "the disk is nearly full"
    UNKNOWN = "nobody knows it"


@dataclass(frozen=True)
class RetentionPolicy:
    """The operator's limits; None is no limit.

    max_age: since an environment was used last. max_count, max_bytes: of all environments, everything counted once.
    log_max_age: since a build ended. cache_max_age: of wheels that no environment links to.
    free_bytes: builds wait while less than this is free on the disk.
    grace: what was used that recently is never removed by a limit: a session may be about to start with it.
    """

    max_age: timedelta | None = None
    max_count: int | None = None
    max_bytes: int | None = None
    log_max_age: timedelta | None = None
    cache_max_age: timedelta | None = None
    free_bytes: int = 0
    grace: timedelta = timedelta(minutes=15)

    @classmethod
    def of(cls, settings: Settings) -> RetentionPolicy:
        """The policy in the settings, where 0 is no limit."""
        return cls(
            max_age=_days(settings.environment_max_age_days),
            max_count=settings.environments_max_count or None,
            max_bytes=settings.environments_max_bytes or None,
            log_max_age=_days(settings.build_log_max_age_days),
            cache_max_age=_days(settings.cache_max_age_days),
            free_bytes=settings.disk_min_free_bytes,
        )

    def removable(self, uses: Sequence[ArtefactUse], in_use: Collection[str], now: datetime) -> list[ArtefactUse]:
        """Those that may go at all, the one unused for longest first."""
        free = (use for use in uses if not (use.pinned or use.building or use.reference in in_use))
        return sorted((use for use in free if now - use.last_used > self.grace), key=lambda use: use.last_used)

    def too_old(self, removable: Sequence[ArtefactUse], now: datetime) -> list[ArtefactUse]:
        """Those that must go by their age."""
        return [use for use in removable if self.max_age is not None and now - use.last_used > self.max_age]

    def too_many(self, removable: Sequence[ArtefactUse], present: int) -> list[ArtefactUse]:
        """Those that must go because there are ``present``, oldest use first."""
        excess = present - self.max_count if self.max_count is not None else 0
        return list(removable[: max(excess, 0)])


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None
