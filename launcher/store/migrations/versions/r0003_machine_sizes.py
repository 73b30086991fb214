"""Which machine size a session was last started with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to the sessions."""
    op.add_column("sessions", sa.Column("size", sa.String(64)))
