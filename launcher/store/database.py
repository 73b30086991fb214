"""The connection to SQLite or PostgreSQL: how it is opened, how transactions begin, how the schema is brought up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from launcher.errors import ConfigurationInvalid, StateUnusable
from launcher.store.problems import refuse_network_file_system, translated, unusable_directory

_BUSY_MILLISECONDS = 5_000  # other writers are short; this blocks the event loop
_SERVICE_LOCK = 0x6C61756E63686572  # "launcher"; one number per database for pg_advisory_lock
_TAKE_OVER_SECONDS = 2
_LOCK_NOT_AVAILABLE = "55P03"
_QUEUE_LOCK = _SERVICE_LOCK + 1
MIGRATION_LOCK = _SERVICE_LOCK + 2


def parse_url(text: str) -> sa.URL:
    """A database URL we can use: ``sqlite:////absolute/path`` or ``postgresql://…``.

    Raises ConfigurationInvalid, without repeating the URL: it may hold a password.
    """
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        raise ConfigurationInvalid(
            "The database URL cannot be read.", hint="Use sqlite:////absolute/path or postgresql://user@host/name."
        ) from error
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    backend = url.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise ConfigurationInvalid(
            "The database URL names a database the launcher does not know.", hint="Use SQLite or PostgreSQL."
        )
    if backend == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ConfigurationInvalid(
            "The database URL keeps everything in memory, so a restart would forget it all.",
            hint="Name a file: sqlite:////absolute/path.",
        )
    return url


class Database:
    """Short transactions on one database. Every complaint of it becomes StateUnusable."""

    def __init__(self, url: sa.URL) -> None:
        self.url = url
        self._engine = make_engine(url)
        self._writer = self._engine.execution_options(launcher_writes=True)
        self._alone: Connection | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one moment and changes nothing."""
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may write: all of it is kept, and on disk, or nothing is."""
        with translated(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def write_queue(self) -> Iterator[Connection]:
        """Like `write`, and nobody else is in here: what was counted is still true when it is acted upon."""
        with self.write() as connection:
            if not self.is_sqlite:  # SQLite has one writer at a time anyway
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_QUEUE_LOCK)))
            yield connection

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """An INSERT of this database's dialect, with ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def hold_alone(self) -> None:
        """Claim a PostgreSQL database for this service until `close` or its death; nothing to do for SQLite.

        Raises StateUnusable when another launcher holds it.
        """
        if self.is_sqlite or self._alone is not None:
            return
        with translated():
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                # The server may need a moment to notice that a killed service is gone.
                connection.exec_driver_sql(f"SET lock_timeout = '{_TAKE_OVER_SECONDS}s'")
                connection.execute(sa.select(sa.func.pg_advisory_lock(_SERVICE_LOCK)))
            except BaseException as error:
                connection.invalidate()
                connection.close()
                if getattr(getattr(error, "orig", None), "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                raise StateUnusable(
                    "Another launcher is using this database.", hint="Stop it first, or give this one its own database."
                ) from error
        self._alone = connection

    def close(self) -> None:
        """Close every connection."""
        if self._alone is not None:
            with suppress(sa.exc.DBAPIError):  # a server that is gone holds no lock
                self._alone.execute(sa.select(sa.func.pg_advisory_unlock(_SERVICE_LOCK)))
            self._alone.invalidate()
            self._alone.close()
            self._alone = None
        self._engine.dispose()


def make_engine(url: sa.URL, *, for_migration: bool = False) -> Engine:
    """An engine whose transactions begin as we want them. Raises ConfigurationInvalid when the driver is missing."""
    if url.get_backend_name() == "sqlite":
        pool: dict[str, Any] = {"poolclass": NullPool} if for_migration else {"pool_timeout": 60}
        engine = sa.create_engine(url, connect_args={"timeout": _BUSY_MILLISECONDS / 1000}, **pool)
        # Rebuilding a table in a migration must not trip over rows that point to it; they are checked afterwards.
        _prepare_sqlite(engine, foreign_keys=not for_migration)
        return engine
    try:
        return sa.create_engine(
            url,
            pool_pre_ping=True,
            connect_args={"connect_timeout": 10, "application_name": "launcher"},
            **({"poolclass": NullPool} if for_migration else {}),
        )
    except ModuleNotFoundError as error:
        raise ConfigurationInvalid(
            "The PostgreSQL driver is not installed.", hint="Install it with the extra [postgresql]."
        ) from error


def _prepare_sqlite(engine: Engine, *, foreign_keys: bool) -> None:
    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # Python's own idea of transactions breaks BEGIN IMMEDIATE and DDL
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")

    @sa.event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A deferred transaction that turns into a writing one fails at once when another writer was there first.
        writes = connection.get_execution_options().get("launcher_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def prepare_file(url: sa.URL) -> Path:
    """Make sure the file of a SQLite URL can be there, for our eyes only.

    Raises StateUnusable.
    """
    path = Path(str(url.database))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its side files the modes of the main one, so it is made before SQLite does.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise unusable_directory(error) from error
    refuse_network_file_system(path.parent)
    return path
