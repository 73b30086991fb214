"""One service per state directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import StateUnusable
from launcher.store import StateLock

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from pathlib import Path
from launcher.store import StateLock
with StateLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_service_is_refused_and_told_who_holds_the_directory(tmp_path) -> None:
    with StateLock(tmp_path / "state"):
        with pytest.raises(StateUnusable) as refused:
            StateLock(tmp_path / "state").acquire()
        assert refused.value.message == f"Another launcher (process {os.getpid()}) is using this state directory."
    with StateLock(tmp_path / "state"):
        pass


def test_the_kernel_gives_the_lock_back_when_the_holder_is_killed(tmp_path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StateUnusable, match=f"process {holder.pid}"):
            StateLock(tmp_path).acquire()
        holder.kill()
    with StateLock(tmp_path):
        pass


def test_programs_we_start_do_not_keep_the_lock(tmp_path) -> None:
    lock = StateLock(tmp_path)
    lock.acquire()
    lock.acquire()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        lock.release()
        with StateLock(tmp_path):
            assert child.poll() is None


@pytest.mark.parametrize("leftover", [b"", b"\xff\x00garbage", b"12345 /secret/path\n" * 9])
def test_whatever_the_file_says_the_refusal_shows_a_process_number_or_nothing(tmp_path, leftover) -> None:
    with StateLock(tmp_path):
        (tmp_path / "service.lock").write_bytes(leftover)
        with pytest.raises(StateUnusable) as refused:
            StateLock(tmp_path).acquire()
    assert refused.value.message == "Another launcher is using this state directory."


def test_a_state_directory_that_is_a_file_is_refused(tmp_path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateUnusable):
        StateLock(tmp_path / "state").acquire()
