"""Times and sizes as a language writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babel.dates import format_timedelta
from babel.numbers import format_decimal
from babel.units import format_unit

from launcher.web.words import Words

_STEP = 1000
_UNITS = ("kilobyte", "megabyte", "gigabyte", "terabyte")
_WHOLE_FROM = 10  # from here on a digit after the point says nothing
_GIB = 2**30


class Amounts:
    """Writes amounts in the language of some words."""

    def __init__(self, words: Words) -> None:
        self._locale = words.locale

    def ago(self, moment: datetime, now: datetime | None = None) -> str:
        """How long ago, roughly: ``5 minutes ago``."""
        passed = max((now or datetime.now(UTC)) - moment, timedelta(seconds=1))
        return format_timedelta(-passed, threshold=1.2, add_direction=True, locale=self._locale)

    def coming(self, moment: datetime, now: datetime | None = None) -> str:
        """When, roughly: ``in 5 minutes``."""
        left = max(moment - (now or datetime.now(UTC)), timedelta(seconds=1))
        return format_timedelta(left, threshold=1.2, add_direction=True, locale=self._locale)

    def lasted(self, seconds: float) -> str:
        """How long, roughly: ``5 minutes``."""
        return format_timedelta(timedelta(seconds=max(1, seconds)), threshold=1.5, locale=self._locale)

    def exact(self, moment: datetime) -> str:
        """A moment for those who want to know: ``2026-01-31 12:00:00 UTC``."""
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

    def size(self, amount: int) -> str:
        """Bytes with a unit that leaves few digits: ``1.5 MB``."""
        value, unit = amount / _STEP, _UNITS[0]
        for bigger in _UNITS[1:]:
            if value < _STEP:
                break
            value, unit = value / _STEP, bigger
        pattern = "#,##0" if value >= _WHOLE_FROM else "#,##0.#"
        return format_unit(value, f"digital-{unit}", length="short", format=pattern, locale=self._locale)

    def memory(self, amount: int) -> str:
        """Bytes of memory, which machines have in powers of two, without needless digits: ``1.5 GiB``."""
        return f"{format_decimal(float(f'{amount / _GIB:.4g}'), locale=self._locale)} GiB"

    def number(self, amount: float) -> str:
        """A number: ``1,200``."""
        return format_decimal(amount, locale=self._locale)
