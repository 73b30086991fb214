"""What environments take, who wants them kept or gone, and their order by last use."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to the environments."""
    op.add_column("environments", sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("environments", sa.Column("removal_asked", sa.DateTime(timezone=True)))
    op.add_column("environments", sa.Column("own_bytes", sa.BigInteger))
    op.add_column("environments", sa.Column("shared_bytes", sa.BigInteger))
    op.create_index("environments_by_use", "environments", ["last_used", "key"])
