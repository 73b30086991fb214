"""The store: every row, behind calls that say what they mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Self

from launcher.store.builds import BuildCalls
from launcher.store.database import Database, parse_url
from launcher.store.environments import EnvironmentCalls
from launcher.store.history import HistoryCalls
from launcher.store.migrate import migrate
from launcher.store.retention import RetentionCalls
from launcher.store.sessions import SessionCalls
from launcher.store.tickets import TicketCalls


def utc_now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)


class Store(EnvironmentCalls, BuildCalls, RetentionCalls, HistoryCalls, SessionCalls, TicketCalls):
    """All that survives a restart.

    Calls are short synchronous transactions: made from the event loop, never held across an ``await``; other threads
    may call too. Every call raises StateUnusable when the database cannot do it (full, read-only, gone), and then
    nothing of that call is kept.
    """

    @classmethod
    def open(cls, url: str, *, clock: Callable[[], datetime] = utc_now) -> Self:
        """The store at a database URL, brought to this version's schema.

        url: ``sqlite:////absolute/path`` (made when missing) or ``postgresql://…``.
        Raises ConfigurationInvalid for a URL we cannot use and StateUnusable for a database we cannot.
        """
        parsed = parse_url(url)
        migrate(parsed)
        return cls(Database(parsed), clock)

    def hold_alone(self) -> None:
        """Claim the database for this service until `close`; for SQLite that is `StateLock`'s work.

        Raises StateUnusable when another launcher holds it.
        """
        self._database.hold_alone()

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
