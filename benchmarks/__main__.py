"""The command behind ``benchmarks/run``: measure, print, keep the raw numbers."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.clusters import new_cluster, task_overhead
from benchmarks.cold import unseen_repository
from benchmarks.containers import (
    bytes_per_environment,
    notebook_in_container,
    start_in_container,
    unseen_in_container,
)
from benchmarks.long_log import long_log
from benchmarks.memory import idle_sessions
from benchmarks.pages import waiting_page
from benchmarks.rounds import say
from benchmarks.stage import Stage
from benchmarks.tables import Measurement
from benchmarks.warm import notebook_commit, running_session, stopped_session
from benchmarks.watchers import watchers

_RESULTS = Path(__file__).with_name("results")


def measurements(*, quick: bool, repeats: int | None) -> dict[str, Callable[[Stage], Measurement]]:
    """What to run, in order: id -> a function of the stage."""

    def times(full: int, fast: int) -> int:
        return repeats or (fast if quick else full)

    found: dict[str, Callable[[Stage], Measurement]] = {
        "B2": lambda stage: notebook_commit(stage, times(10, 3)),
        "B3": lambda stage: stopped_session(stage, times(30, 3), times(5, 3), 3 if quick else 20),
        "B4": lambda stage: running_session(stage, times(30, 3)),
        "B5": lambda stage: watchers(stage, (100,) if quick else (100, 1000), times(3, 3)),
        "B7": lambda stage: new_cluster(stage, times(15, 3), times(7, 2)),
        "B8": lambda stage: task_overhead(stage, times(7, 2)),
    }
    if quick:
        return found
    return {
        "B1": lambda stage: unseen_repository(stage, times(5, 1)),
        **found,
        "B6": lambda stage: idle_sessions(stage, times(3, 1)),
        "B9": lambda stage: unseen_in_container(stage, times(5, 1)),
        "B10": lambda stage: notebook_in_container(stage, times(7, 2)),
        "B11": lambda stage: start_in_container(stage, times(15, 2), times(3, 1), 3 if quick else 20),
        "B12": lambda stage: bytes_per_environment(stage, times(5, 2)),
        "B13": lambda stage: waiting_page(stage, times(15, 3)),
        "B14": lambda stage: long_log(stage, times(10, 3)),
    }


def machine() -> dict[str, Any]:
    """What the numbers were taken on."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "load_average": os.getloadavg(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="B2 to B5 with 3 people at once, 100 watchers, 3 samples: five minutes"
    )
    parser.add_argument("--only", default="", metavar="B2,B3", help="run these and no others")
    parser.add_argument("--repeats", type=int, metavar="N", help="samples of each measurement")
    options = parser.parse_args()
    everything = measurements(quick=False, repeats=options.repeats) | measurements(
        quick=options.quick, repeats=options.repeats
    )
    wanted = [name.strip().upper() for name in options.only.split(",") if name.strip()]
    if unknown := set(wanted) - set(everything):
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}; there are {', '.join(everything)}")
    chosen = wanted or list(measurements(quick=options.quick, repeats=None))
    _run({name: everything[name] for name in chosen}, quick=options.quick)


def _run(chosen: dict[str, Callable[[Stage], Measurement]], *, quick: bool) -> None:
    about = machine()
    began = time.monotonic()
    done: list[Measurement] = []
    _RESULTS.mkdir(exist_ok=True)
    target = _RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    with Stage() as stage:
        for name, measure in chosen.items():
            say(f"{name} …")
            done.append(measure(stage))
            print("\n" + done[-1].text(), flush=True)
            target.write_text(
                json.dumps(
                    {"machine": about, "quick": quick, "measurements": [one.to_json() for one in done]}, indent=1
                )
            )
    print(
        f"{about['cores']} cores, {about['memory_bytes'] / 2**30:.0f} GiB, {about['system']}, commit {about['commit']}"
    )
    print(f"{time.monotonic() - began:.0f} s; raw numbers: benchmarks/results/{target.name}")


if __name__ == "__main__":
    main()
