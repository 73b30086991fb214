"""Times and sizes in the words of the page's language."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babel.dates import format_timedelta
from babel.numbers import format_decimal

from launcher.web.words import words_of

_STEP = 1000
_UNITS = ("kB", "MB", "GB", "TB")
_WHOLE_FROM = 10  # from here on a digit after the point says nothing


def ago(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, roughly: ``5 minutes ago``."""
    passed = max((now or datetime.now(UTC)) - moment, timedelta(seconds=1))
    return format_timedelta(-passed, threshold=1.2, add_direction=True, locale=words_of().locale)


def lasted(seconds: float) -> str:
    """How long, roughly: ``5 minutes``."""
    return format_timedelta(timedelta(seconds=max(1, seconds)), threshold=1.5, locale=words_of().locale)


def exact(moment: datetime) -> str:
    """A moment for those who want to know: ``2026-01-31 12:00:00 UTC``."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(amount: int) -> str:
    """Bytes with a unit that leaves few digits: ``1.5 MB``."""
    value, unit = amount / _STEP, _UNITS[0]
    for bigger in _UNITS[1:]:
        if value < _STEP:
            break
        value, unit = value / _STEP, bigger
    pattern = "#,##0" if value >= _WHOLE_FROM else "#,##0.#"
    return f"{format_decimal(value, format=pattern, locale=words_of().locale)} {unit}"
