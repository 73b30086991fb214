"""The tables, as SQLAlchemy Core. The migrations make them; a test proves that both say the same."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

from launcher.models import BuildStatus, EnvironmentStatus, HomeKind, SessionMode

metadata = sa.MetaData()


class UTCDateTime(sa.TypeDecorator[datetime]):
    """Moments with a time zone in, UTC out, whatever the database keeps."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """UTC for the database; ValueError for a moment without a time zone, because nobody knows when that is."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """A moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(sa.TypeDecorator[str]):
    """Words for people: characters no database can keep are replaced, and there is an end to it."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, limit: int = 4000) -> None:
        super().__init__()
        self.limit = limit

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """The text without NUL and lone surrogates, at most ``limit`` characters."""
        if value is None:
            return None
        clean = value[: self.limit].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return clean.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _choice(kind: type[StrEnum]) -> sa.Enum:
    return sa.Enum(
        kind, native_enum=False, create_constraint=False, length=16, values_callable=lambda e: [m.value for m in e]
    )


environments = sa.Table(
    "environments",
    metadata,
    sa.Column("key", sa.String(128), primary_key=True),
    sa.Column("kind", PlainText(100), nullable=False),
    sa.Column("summary", PlainText(1000), nullable=False),
    sa.Column("fingerprint", sa.String(255), nullable=False),
    sa.Column("status", _choice(EnvironmentStatus), nullable=False),
    sa.Column("lock", sa.String(128)),
    sa.Column("reference", sa.String(512), index=True),
    sa.Column("mode", _choice(SessionMode)),
    sa.Column("python", sa.String(64)),
    sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created", UTCDateTime, nullable=False),
    sa.Column("last_used", UTCDateTime, nullable=False),
    sa.Column("error_code", sa.String(64)),
    sa.Column("error_message", PlainText),
    sa.Column("pinned", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("removal_asked", UTCDateTime),
    sa.Column("own_bytes", sa.BigInteger),
    sa.Column("shared_bytes", sa.BigInteger),
    sa.Index("environments_by_use", "last_used", "key"),
)

builds = sa.Table(
    "builds",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("environment_key", sa.ForeignKey("environments.key"), nullable=False, index=True),
    sa.Column("status", _choice(BuildStatus), nullable=False),
    sa.Column("target", _choice(BuildStatus), nullable=False),
    sa.Column("asked_by", sa.String(255), nullable=False),
    sa.Column("spec", PlainText, nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("interruptions", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created", UTCDateTime, nullable=False),
    sa.Column("started", UTCDateTime),
    sa.Column("finished", UTCDateTime),
    sa.Column("error_code", sa.String(64)),
    sa.Column("error_message", PlainText),
    sa.Column("error_hint", PlainText),
    sa.Column("log_bytes", sa.BigInteger, nullable=False, server_default="0"),
    # Single flight is the database's promise, not ours: no second open build of one environment can exist.
    sa.Index(
        "one_open_build_per_environment",
        "environment_key",
        unique=True,
        sqlite_where=sa.text("status IN ('waiting', 'running')"),
        postgresql_where=sa.text("status IN ('waiting', 'running')"),
    ),
    sa.Index("builds_by_status", "status", "number"),
    sqlite_autoincrement=True,
)

build_people = sa.Table(
    "build_people",
    metadata,
    sa.Column("username", sa.String(255), primary_key=True),
    sa.Column("build_number", sa.ForeignKey("builds.number", ondelete="CASCADE"), primary_key=True, index=True),
)

trust = sa.Table(
    "trust",
    metadata,
    sa.Column("username", sa.String(255), primary_key=True),
    sa.Column("repository_id", sa.String(2048), primary_key=True),
    sa.Column("created", UTCDateTime, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("username", sa.String(255), primary_key=True),
    sa.Column("server_name", sa.String(64), primary_key=True),
    sa.Column("repository_id", sa.String(2048), nullable=False),
    sa.Column("display_name", PlainText(1000), nullable=False),
    sa.Column("spec", PlainText, nullable=False),
    sa.Column("ref", sa.String(1024), nullable=False),
    sa.Column("persistent_spec", PlainText, nullable=False),
    sa.Column("ref_url", PlainText, nullable=False),
    sa.Column("environment_key", sa.String(128), index=True),
    sa.Column("home", _choice(HomeKind), nullable=False),
    sa.Column("created", UTCDateTime, nullable=False),
    sa.Column("last_launched", UTCDateTime, nullable=False),
    sa.Column("size", sa.String(64)),
)

tickets = sa.Table(
    "tickets",
    metadata,
    sa.Column("jti", sa.String(128), primary_key=True),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("username", sa.String(255), nullable=False),
    sa.Column("server_name", sa.String(64), nullable=False),
    sa.Column("expires", UTCDateTime, nullable=False, index=True),
    sa.Column("redeemed_at", UTCDateTime),
)
