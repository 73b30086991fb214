"""Bring a database to the schema of this version, or say why not."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import alembic.command
import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from launcher.crashpoints import crash_point
from launcher.errors import StateUnusable
from launcher.store.database import MIGRATION_LOCK, make_engine, prepare_file
from launcher.store.problems import translated, unusable_database, unusable_directory

MIGRATIONS = Path(__file__).parent / "migrations"


def alembic_config(connection: Connection | None = None, migrations: Path = MIGRATIONS) -> Config:
    """Alembic's configuration for a directory of migrations (this package's), on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def migrate(url: sa.URL, migrations: Path = MIGRATIONS) -> None:
    """Check the database and run what migrations are missing, in one transaction: killed half-way, nothing happened.

    A SQLite file that holds something is copied to ``<name>.<revision>.backup`` first.
    Raises StateUnusable: damaged, not a database, made by a newer version, not writable, not reachable.
    """
    sqlite = url.get_backend_name() == "sqlite"
    path = prepare_file(url) if sqlite else None
    engine = make_engine(url, for_migration=True)
    script = ScriptDirectory.from_config(alembic_config(migrations=migrations))
    try:
        with translated():
            if path is not None:
                _quick_check(engine)
            with engine.execution_options(launcher_writes=True).begin() as connection:
                if not sqlite:  # replicas that start together
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                revision = _revision(connection, script)
                if revision == script.get_current_head():
                    return
                if path is not None and revision is not None:
                    _back_up(path, revision)
                alembic.command.upgrade(alembic_config(connection, migrations), "head")
                crash_point("store:migrated")
                if sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise StateUnusable("The database holds rows that belong to nothing.", hint="Put back a backup.")
    finally:
        engine.dispose()


def _revision(connection: Connection, script: ScriptDirectory) -> str | None:
    """Where the database is; None when it is empty."""
    heads = MigrationContext.configure(connection).get_current_heads()
    known = {revision.revision for revision in script.walk_revisions()}
    if any(head not in known for head in heads):
        raise StateUnusable(
            "The database was written by a newer version of the launcher.",
            hint="Upgrade the launcher, or put back the backup from before its upgrade.",
        )
    if not heads and sa.inspect(connection).has_table("environments"):
        raise StateUnusable("The database has tables of something else.", hint="Give the launcher its own database.")
    return heads[0] if heads else None


def _quick_check(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if answer != "ok":
        raise unusable_database(ValueError("malformed"))


def _back_up(path: Path, revision: str) -> None:
    """Copy the database as it is committed now; readers of a write-ahead log do not mind our open transaction."""
    target = path.with_name(f"{path.name}.{revision}.backup")
    unfinished = path.with_name(f"{path.name}.{revision}.backup.part")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(unfinished)) as copy:
            source.backup(copy)
        unfinished.replace(target)
    except OSError as error:
        raise unusable_directory(error) from error
    except sqlite3.Error as error:
        raise unusable_database(error) from error
