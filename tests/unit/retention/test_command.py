"""``launcher environments`` on a state directory, beside a running launcher or without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from launcher.cli import main
from launcher.store import StateLock, Store
from tests.support import examples
from tests.support.retention import ANA

OLD = datetime.now(UTC) - timedelta(days=365)


def built(store: Store, number: int) -> str:
    """A row of an environment, and its artefact as the process runtime has it."""
    row, _ = store.create_build(
        f"build-{number}",
        examples.key(number),
        recipe=examples.recipe(),
        fingerprint="f",
        spec=f"gh/org/repo-{number}/main",
        request={},
        asked_by=ANA,
        max_open=100,
    )
    store.set_build_finished(row.id, examples.built(f"{number:064x}"))
    return f"{number:064x}"


@pytest.fixture
def state(tmp_path):
    """A state directory with three environments that nobody used for a year."""
    with Store.open(f"sqlite:///{tmp_path}/launcher.sqlite", clock=lambda: OLD) as store:
        for number in (1, 2, 3):
            path = tmp_path / "environments" / built(store, number << 240)
            path.mkdir(parents=True)
            (path / "file").write_bytes(b"x" * 5000)
    return tmp_path


def run(state, *arguments: str) -> int:
    return main(["environments", "--state", str(state), *arguments])


def keys_on_disk(state) -> set[int]:
    return {int(path.name[:4], 16) for path in (state / "environments").iterdir()}


def test_listing_says_what_each_takes(state, capsys) -> None:
    assert run(state) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("0.0 MiB" in line and "gh/org/repo" in line for line in lines[1:])
    assert run(state, "list", "--json", "--search", "000200000000") == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert only["own_bytes"] > 5000


def test_what_is_pinned_stays_and_the_rest_goes(state, capsys) -> None:
    assert run(state, "pin", "00010000") == 0
    assert run(state, "collect", "--dry-run") == 0
    assert "2 environments and 0 builds of the history would go" in capsys.readouterr().out
    assert keys_on_disk(state) == {1, 2, 3}
    assert run(state, "collect") == 0
    assert keys_on_disk(state) == {1}
    assert run(state, "remove", "00010000") == 1
    assert "pinned" in capsys.readouterr().err
    assert run(state, "unpin", "00010000") == run(state, "remove", "00010000") == 0
    assert keys_on_disk(state) == set()


def test_beside_a_running_launcher_it_leaves_wishes(state, capsys) -> None:
    with StateLock(state):
        assert run(state, "remove", "00010000") == 0
        assert "within a minute" in capsys.readouterr().out
        assert run(state, "collect") == 0
        assert keys_on_disk(state) == {1, 2, 3}
    with Store.open(f"sqlite:///{state}/launcher.sqlite") as store:
        assert len(store.removals_asked()) == 3


@pytest.mark.parametrize("place", ["retention:forgotten", "retention:removed"])
def test_a_pass_that_was_killed_is_finished_by_the_next_one(state, place) -> None:
    command = [sys.executable, "-m", "launcher", "environments", "collect", "--state", str(state)]
    killed = subprocess.run(command, env={**os.environ, "LAUNCHER_CRASH_AT": place}, check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert len(keys_on_disk(state)) == (3 if place.endswith("forgotten") else 2)
    assert run(state, "collect") == 0
    assert keys_on_disk(state) == set()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pin"], "at least one key"),
        (["pin", "00ff0000"], "0 environments"),
        (["remove", "0"], "at least 6 digits"),
        (["list", "--config", "nowhere.py"], "not a file"),
    ],
)
def test_odd_command_lines_are_refused_with_words(state, capsys, arguments, words) -> None:
    assert run(state, *arguments) == 1
    assert words in capsys.readouterr().err


def test_a_state_directory_without_a_launcher_stays_empty(tmp_path, capsys) -> None:
    assert run(tmp_path) == 1
    assert "no launcher's database" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
