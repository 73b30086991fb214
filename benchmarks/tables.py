"""Samples, their few numbers, and the tables people read. No number here ever passes or fails anything."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_RESAMPLES = 2000


@dataclass
class Measurement:
    """Samples of some contestants for some quantities, in the order they were taken.

    samples: (contestant, quantity) -> values. ``ours`` is compared with every other contestant of the same quantity.
    units: quantity -> unit, seconds when not named. notes: sentences a reader needs beside the table.
    """

    id: str
    title: str
    ours: str = "launcher"
    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, contestant: str, values: dict[str, float]) -> None:
        """Keep one sample of each quantity."""
        for quantity, value in values.items():
            self.samples.setdefault((contestant, quantity), []).append(value)

    def to_json(self) -> dict[str, Any]:
        """Everything raw."""
        rows = [
            {"contestant": who, "quantity": what, "unit": self.units.get(what, "s"), "samples": values}
            for (who, what), values in self.samples.items()
        ]
        return {
            "id": self.id,
            "title": self.title,
            "samples": rows,
            "ratios": self.ratios(),
            "notes": self.notes,
            "machine_busy_before_samples": self.busy,
            "failures": self.failures,
        }

    def ratios(self) -> list[dict[str, Any]]:
        """``ours / peer`` of the medians, with a bootstrap 95 % interval, for every quantity both have."""
        found = []
        for (who, what), values in self.samples.items():
            mine = self.samples.get((self.ours, what))
            if who != self.ours and mine and statistics.median(values) > 0:
                low, high = interval(mine, values)
                ratio = statistics.median(mine) / statistics.median(values)
                found.append({"quantity": what, "peer": who, "ratio": ratio, "low": low, "high": high})
        return found

    def text(self) -> str:
        """The tables."""
        rows: list[tuple[str, ...]] = [("", "quantity", "n", "min", "median", "max", "unit")]
        for (who, what), values in sorted(self.samples.items(), key=lambda item: item[0][1]):
            numbers = (min(values), statistics.median(values), max(values))
            rows.append((who, what, str(len(values)), *map(number, numbers), self.units.get(what, "s")))
        parts = [f"{self.id}  {self.title}", _grid(rows)]
        ratios: list[tuple[str, ...]] = [("ratio of medians", "quantity", "ratio", "95 % interval")]
        for one in self.ratios():
            span = f"{one['low']:.3f} to {one['high']:.3f}"
            ratios.append((f"{self.ours} / {one['peer']}", one["quantity"], f"{one['ratio']:.3f}", span))
        if len(ratios) > 1:
            parts.append(_grid(ratios))
        parts += [f"  {note}" for note in self.notes]
        parts += [f"  FAILED SAMPLE: {failure}" for failure in self.failures]
        if self.busy:
            busy = f"median {statistics.median(self.busy):.0%}, worst {max(self.busy):.0%}"
            parts.append(f"  The machine was busy with other work before samples: {busy} of all cores.")
        return "\n".join(parts) + "\n"


def number(value: float) -> str:
    """Three digits that matter."""
    if value >= 100:  # noqa: PLR2004 - whole numbers read better from here
        return f"{value:.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all values lies; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def interval(mine: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Bootstrap 95 % interval of the ratio of medians; the same samples give the same interval."""
    chance = random.Random(1)
    ratios = sorted(
        statistics.median(chance.choices(mine, k=len(mine)))
        / max(statistics.median(chance.choices(theirs, k=len(theirs))), 1e-12)
        for _ in range(_RESAMPLES)
    )
    return ratios[int(0.025 * _RESAMPLES)], ratios[int(0.975 * _RESAMPLES)]


def _grid(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)  # noqa: PLR2004 - two columns of words
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    lines.insert(1, "  " + "  ".join("-" * width for width in widths))
    return "\n".join(lines)
