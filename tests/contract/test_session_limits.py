"""The limits of a session in the process runtime: held by this machine's kernel, and out of the session's reach."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.control_groups import (
    ControlGroup,
    Limits,
    enforceable,
    killed_for_memory,
    make_group,
    remove_empty_groups,
    remove_group,
)
from launcher.hub.session import session_sandbox
from tests.contract.test_session_sandbox import ProcessSession
from tests.support.clusters import settings_of
from tests.support.running import SERVER_ENVIRONMENTS, eventually

MEMORY = 100 * 2**20
CPUS = 0.2
TAKE_TOO_MUCH = f"python3 -c 'x = bytearray({MEMORY * 3})' || echo refused $?"
# With namespaces of its own a program sees its own group as the root of all, and may write what its user may write.
LIFT = """
cat > /tmp/lift <<'END'
mkdir -p /tmp/seen
mount -t cgroup2 none /tmp/seen || mount -t cgroup -o memory none /tmp/seen && echo mounted
mount -t cgroup -o memory none /tmp/seen && echo mounted
cd /tmp/seen
for value in max -1; do
    for file in memory.swap.max memory.max memory.memsw.limit_in_bytes memory.limit_in_bytes; do
        for where in . .. ../..; do [ -e $where/$file ] && echo $value > $where/$file; done
    done
done
for where in .. ../.. /sys/fs/cgroup /proc/1/root/sys/fs/cgroup/memory; do echo 0 > $where/cgroup.procs; done
mkdir out && echo 0 > out/cgroup.procs
END
unshare --user --map-root-user --mount --cgroup sh -c "sh /tmp/lift; $TAKE" 2> /dev/null
"""


class LimitedSession(ProcessSession):
    """A session's sandbox, in a control group as its spawner makes it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.name = f"launcher-test-{uuid.uuid4().hex[:12]}"
        self.group: ControlGroup = make_group(self.name, Limits(memory_bytes=MEMORY, cpus=CPUS))

    def start(self, script: str) -> subprocess.Popen[str]:
        settings = settings_of(self.directory / "state", SERVER_ENVIRONMENTS["hub6"])
        sandbox = session_sandbox(settings, None, home=self.directory / "home", run=self.run)
        return subprocess.Popen(
            sandbox.argv(["/bin/sh", "-c", script]),
            env={"PATH": "/usr/bin:/bin", "TAKE": TAKE_TOO_MUCH},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=self.group.enter,  # noqa: PLW1509 - as the spawner does it
        )

    def hears(self, script: str) -> str:
        return self.start(script).communicate(timeout=60)[0]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[LimitedSession]:
    if not {"memory", "cpu"} <= enforceable():
        pytest.skip("this machine lets us make no control groups")
    made = LimitedSession(tmp_path)
    yield made
    assert remove_group(made.name, patience_seconds=10)


def test_who_takes_more_memory_is_ended_and_the_session_goes_on(session: LimitedSession) -> None:
    assert "refused 137\nand on" in session.hears(f"{TAKE_TOO_MUCH}; echo and on")
    assert killed_for_memory(session.name) == 1


def test_the_limit_is_for_all_of_a_session_together(session: LimitedSession) -> None:
    most = f"python3 -c 'x = bytearray({MEMORY * 2 // 3}); print(1, flush=True); input()'"
    first = session.start(most)
    assert first.stdout.readline() == "1\n"
    second = session.start(most)
    second.stdout.readline()
    assert killed_for_memory(session.name) == 1
    for process in (first, second):
        process.communicate("\n", timeout=30)


def test_a_session_can_neither_lift_its_limit_nor_leave(session: LimitedSession) -> None:
    heard = session.hears(LIFT)
    assert "mounted" in heard, "the attack has come as far as it can"
    assert "refused 137" in heard


def test_processors_are_shared_out(session: LimitedSession) -> None:
    spin = "import time; end = time.time() + 1\nwhile time.time() < end: pass\nprint(time.process_time())"
    used = float(session.hears(f"python3 -c '{spin}'"))
    assert used < 0.8, f"of one second, where {CPUS} is the share"


def test_what_a_killed_hub_left_goes_when_nothing_runs_in_it(session: LimitedSession) -> None:
    process = session.start("echo in; read _")
    assert process.stdout.readline() == "in\n"
    doors = session.group.doors
    remove_empty_groups(session.name)
    assert all(door.exists() for door in doors), "somebody's work goes on in it"
    process.communicate("\n", timeout=30)

    def gone() -> bool:
        remove_empty_groups(session.name)
        return not any(door.exists() for door in doors)

    eventually(gone, what="the end of the group")
