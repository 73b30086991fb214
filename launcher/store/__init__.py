"""Everything that is remembered. The only SQL of the launcher is in here."""

from __future__ import annotations

from launcher.store.lock import StateLock
from launcher.store.rows import BuildRow, EnvironmentRow, SessionRow, TrustRow
from launcher.store.store import Store

__all__ = ["BuildRow", "EnvironmentRow", "SessionRow", "StateLock", "Store", "TrustRow"]
