"""``kill -9`` at any moment, start and ask again: every environment is there, built once, with nothing left over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from launcher.builds import BuildLogs
from launcher.models import BuildStatus
from launcher.store import BuildRow, Store

ROOT = Path(__file__).parents[3]
KEYS = 3
POINTS = (
    "store:migrated",
    "build:before_create",
    "build:after_create",
    "build:running",
    "build:built",
    "build:finished",
)


def service(state: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.build_service", state, str(KEYS)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def converge(state: Path) -> list[BuildRow]:
    """Start the service again without a crash; the builds there are then."""
    process = service(state)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1]) == {"references": [f"env-{number:08x}" for number in range(KEYS)]}
    with Store.open(f"sqlite:///{state}/launcher.sqlite") as store:
        rows = list(store.builds_of(None))
    assert [row.status for row in rows] == [BuildStatus.SUCCEEDED] * KEYS
    assert sorted(row.environment_key[-1] for row in rows) == [str(number) for number in range(KEYS)]
    assert list((state / "work").iterdir()) == []
    assert len(list((state / "environments").iterdir())) == KEYS
    return rows


def journal(state: Path) -> list[tuple[str, str]]:
    path = state / "journal"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize("point", POINTS)
async def test_a_service_killed_at_a_named_point_loses_and_doubles_nothing(tmp_path, point) -> None:
    process = service(tmp_path, LAUNCHER_CRASH_AT=point)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    rows = converge(tmp_path)
    did = Counter(journal(tmp_path))
    for row in rows:
        # Only a build that was running may start over, once, and then it was reaped exactly once before.
        assert did["reap", row.id] == row.interruptions <= 1
        assert 1 <= did["start", row.id] <= 1 + row.interruptions
        texts = [record.text async for record in BuildLogs(tmp_path / "logs").watch(row.id)]
        assert texts[-20:] == [f"step {number}" for number in range(20)]
        assert texts.count("The service was restarted; the build starts again.") == row.interruptions
    if point != "build:finished":  # there another build may have been running
        assert any(row.interruptions for row in rows) is (point in {"build:running", "build:built"})


def test_a_service_killed_again_and_again_in_the_middle_of_builds_still_gets_there(tmp_path) -> None:
    for lines in (1, 3, 5):
        process = service(tmp_path)
        deadline = time.monotonic() + 30
        while len(journal(tmp_path)) < lines and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.kill()
        process.communicate(timeout=30)
    rows = converge(tmp_path)
    did = Counter(journal(tmp_path))
    assert all(did["start", row.id] <= 1 + row.interruptions for row in rows)


def test_a_killed_service_leaves_no_lock_behind_and_a_running_one_keeps_others_out(tmp_path) -> None:
    first = service(tmp_path, LAUNCHER_CRASH_AT="build:after_create")
    first.communicate(timeout=60)
    assert (tmp_path / "service.lock").read_text().strip() == str(first.pid)
    converge(tmp_path)
