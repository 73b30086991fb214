"""The first schema.

Written out, not derived from `launcher.store.schema`: that one moves on, this one never changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_moment = sa.DateTime(timezone=True)
_choice = sa.String(16)
_open = sa.text("status IN ('waiting', 'running')")


def upgrade() -> None:
    """Make every table."""
    _environments_and_builds()
    _people()
    op.create_table(
        "tickets",
        sa.Column("jti", sa.String(128), primary_key=True),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("server_name", sa.String(64), nullable=False),
        sa.Column("expires", _moment, nullable=False),
        sa.Column("redeemed_at", _moment),
    )
    op.create_index("ix_tickets_expires", "tickets", ["expires"])


def _environments_and_builds() -> None:
    op.create_table(
        "environments",
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.String(255), nullable=False),
        sa.Column("status", _choice, nullable=False),
        sa.Column("lock", sa.String(128)),
        sa.Column("reference", sa.String(512)),
        sa.Column("mode", _choice),
        sa.Column("python", sa.String(64)),
        sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created", _moment, nullable=False),
        sa.Column("last_used", _moment, nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text),
    )
    op.create_index("ix_environments_reference", "environments", ["reference"])
    op.create_table(
        "builds",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("environment_key", sa.String(128), sa.ForeignKey("environments.key"), nullable=False),
        sa.Column("status", _choice, nullable=False),
        sa.Column("target", _choice, nullable=False),
        sa.Column("asked_by", sa.String(255), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("interruptions", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created", _moment, nullable=False),
        sa.Column("started", _moment),
        sa.Column("finished", _moment),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text),
        sa.Column("error_hint", sa.Text),
        sa.Column("log_bytes", sa.BigInteger, nullable=False, server_default="0"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_builds_environment_key", "builds", ["environment_key"])
    op.create_index("builds_by_status", "builds", ["status", "number"])
    op.create_index(
        "one_open_build_per_environment",
        "builds",
        ["environment_key"],
        unique=True,
        sqlite_where=_open,
        postgresql_where=_open,
    )
    op.create_table(
        "build_people",
        sa.Column("username", sa.String(255), primary_key=True),
        sa.Column("build_number", sa.Integer, sa.ForeignKey("builds.number", ondelete="CASCADE"), primary_key=True),
    )
    op.create_index("ix_build_people_build_number", "build_people", ["build_number"])


def _people() -> None:
    op.create_table(
        "trust",
        sa.Column("username", sa.String(255), primary_key=True),
        sa.Column("repository_id", sa.String(2048), primary_key=True),
        sa.Column("created", _moment, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("username", sa.String(255), primary_key=True),
        sa.Column("server_name", sa.String(64), primary_key=True),
        sa.Column("repository_id", sa.String(2048), nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("ref", sa.String(1024), nullable=False),
        sa.Column("persistent_spec", sa.Text, nullable=False),
        sa.Column("ref_url", sa.Text, nullable=False),
        sa.Column("environment_key", sa.String(128)),
        sa.Column("home", _choice, nullable=False),
        sa.Column("created", _moment, nullable=False),
        sa.Column("last_launched", _moment, nullable=False),
    )
    op.create_index("ix_sessions_environment_key", "sessions", ["environment_key"])
