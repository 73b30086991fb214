"""Everything that is remembered. The only SQL of the launcher is in here."""

from __future__ import annotations

from launcher.store.history import BuildFilter
from launcher.store.lock import StateLock
from launcher.store.rows import ArtefactUse, BuildRow, EnvironmentRow, ListedEnvironment, SessionRow, TrustRow
from launcher.store.store import Store

__all__ = [
    "ArtefactUse",
    "BuildFilter",
    "BuildRow",
    "EnvironmentRow",
    "ListedEnvironment",
    "SessionRow",
    "StateLock",
    "Store",
    "TrustRow",
]
