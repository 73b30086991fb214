"""Rounds: every contestant once, in shuffled order, again and again, so that a slow minute hits all of them."""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections.abc import Callable, Mapping

import psutil

from benchmarks.tables import Measurement

Contestant = Callable[[int], dict[str, float]]
"""Takes the number of the round, gives a value for each quantity."""

_LOOK_SECONDS = 0.3


def interleave(
    measurement: Measurement,
    contestants: Mapping[str, Contestant],
    repeats: int,
    *,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Run ``repeats`` rounds into the measurement. ``after`` tidies up behind every sample and is not measured.

    A sample that fails is told in the table, never dropped in silence and never an error of the whole run.
    """
    chance = random.Random(20)
    for turn in range(repeats):
        names = list(contestants)
        chance.shuffle(names)
        for name in names:
            measurement.busy.append(psutil.cpu_percent(_LOOK_SECONDS) / 100)
            began = time.monotonic()
            try:
                values = contestants[name](turn)
            except Exception as error:  # noqa: BLE001 - told in the table
                measurement.failures.append(f"{name}, round {turn}: {type(error).__name__}: {str(error)[:300]}")
                traceback.print_exc(limit=6)
                values = {}
            measurement.add(name, values)
            say(f"  {measurement.id} round {turn + 1}/{repeats} {name}: {_words(values)} ({_since(began)} s)")
            after()


def say(text: str) -> None:
    """Progress, beside the tables."""
    print(text, file=sys.stderr, flush=True)


def _words(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items()) or "failed"


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f}"
