"""Run by Alembic: migrates on the connection that `launcher.store.migrate` opened, inside its transaction."""

from __future__ import annotations

from alembic import context

from launcher.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,  # SQLite can, Alembic does not believe it by default
)
context.run_migrations()
