"""What foreign code in a build cannot do, tried by foreign code in real builds."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from launcher.builders.uv.egress import EgressMode
from launcher.builders.uv.limits import MIB, BuildLimits
from launcher.errors import BuildFailed, BuildLimitExceeded
from launcher.models import RecipeKind
from tests.support.builds import Bench, MemoryLog, building, git, request
from tests.support.container_builds import BOTH, bench_of, container_site, runtime
from tests.support.engine import base_image, container_engine
from tests.support.wheels import project, sdist, wheel

__all__ = ["base_image", "bench_of", "container_engine", "container_site", "runtime"]  # fixtures

CANARY = "canary-0b5e4c4d"


Building = Callable[..., AbstractContextManager[Bench]]


@pytest.fixture
def bench(bench_of: Building) -> Iterator[Bench]:
    with bench_of() as bench:
        yield bench


@contextmanager
def listener() -> Iterator[tuple[int, list[object]]]:
    """A loopback port of the host and everybody who connected to it."""
    callers: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                callers.append(address)
                connection.close()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], callers
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def marked(marker: str) -> list[int]:
    """Processes whose command line holds a marker."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(marker in part for part in process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@BOTH
async def test_nothing_of_the_launchers_environment_reaches_a_build(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", CANARY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    _, log = await bench.post_build("tr '\\0' '\\n' < /proc/self/environ; cat /proc/*/environ | tr '\\0' '\\n'; env")
    assert "HOME=/home/jovyan" in log.text
    assert CANARY not in log.text


@BOTH
async def test_a_build_sees_no_files_of_the_machine(bench: Bench) -> None:
    secret = bench.directory / "secret"
    secret.write_text(CANARY)
    _, log = await bench.post_build(
        f"cat {secret} {bench.directory}/state/*/*/meta.json /etc/shadow /root/.ssh/* 2>&1; "
        "ls -A /home /root /srv /etc; "
        "cat /etc/passwd; echo processes: $(ls /proc | grep -c '^[0-9]')"
    )
    assert CANARY not in log.text
    assert "No such file" in log.text
    assert "jovyan:x:1000" in log.text
    assert int(log.text.rpartition("processes: ")[2].split()[0]) < 12


@BOTH
async def test_a_build_cannot_write_outside_its_own_directories(bench: Bench) -> None:
    script = (
        "for place in /usr /etc /srv/snapshot.git /srv/tools /srv/cache /proc/sys/kernel; do "
        "touch $place/x 2>/dev/null && echo wrote $place; done; "
        "mount -t tmpfs x /mnt 2>&1; echo x > /proc/sysrq-trigger; id -u"
    )
    _, log = await bench.post_build(script)
    # What it writes to the directories of the sandbox's own temporary root is gone with the sandbox.
    assert "wrote /usr" not in log.text
    assert "wrote /srv/snapshot.git" not in log.text
    assert "wrote /proc" not in log.text
    assert log.text.splitlines()[-2].strip() == "1000" or "\n1000\n" in log.text


@BOTH
async def test_a_build_reaches_the_index_through_the_proxy_and_nothing_on_loopback(bench: Bench) -> None:
    with listener() as (port, callers):
        code = (
            "import socket, urllib.request, os\n"
            "def attempt(name, call):\n"
            "    try:\n        print(name, 'OPEN', call())\n"
            "    except Exception as error:\n        print(name, 'closed', str(error)[:60])\n"
            "print('interfaces', [name for _, name in socket.if_nameindex()])\n"
            f"attempt('direct', lambda: socket.create_connection(('127.0.0.1', {port}), 2))\n"
            f"attempt('proxied', lambda: urllib.request.urlopen('http://127.0.0.1:{port}/', timeout=5).status)\n"
            f"attempt('named', lambda: urllib.request.urlopen('http://localhost:{port}/', timeout=5).status)\n"
            f"attempt('tunnel', lambda: urllib.request.urlopen('https://127.0.0.1:{port}/', timeout=5).status)\n"
            f"attempt('index', lambda: urllib.request.urlopen('{bench.index.url}alpha/', timeout=5).status)\n"
        )
        _, log = await bench.post_build("python probe.py", **{"probe.py": code})
    for name in ("direct", "proxied", "named", "tunnel"):
        assert f"{name} closed" in log.text, log.text
    assert "index OPEN 200" in log.text
    assert "interfaces ['lo']" in log.text, "there is no way to neighbours"
    assert callers == []


async def test_a_name_that_points_to_a_private_address_is_not_reached(bench_of: Building) -> None:
    with listener() as (port, callers):
        hosts = {"evil.example": ("127.0.0.1",), "mixed.example": ("192.0.2.1", "127.0.0.1")}
        with bench_of(hosts=hosts) as bench:
            _, log = await bench.post_build(
                "for name in evil.example mixed.example; do for port in 80 443 $PORT; do "
                'python -c "import urllib.request, sys; urllib.request.urlopen(sys.argv[1], timeout=5)" '
                "http://$name:$port/ 2>&1 | tail -1; done; done".replace("$PORT", str(port))
            )
    assert log.text.count("403") == 6, log.text
    assert callers == []


async def test_a_host_the_operator_allows_is_reached_whatever_its_address(bench_of: Building) -> None:
    with listener() as (port, callers):
        hosts = {"files.example": ("127.0.0.1",)}
        with bench_of(hosts=hosts, allow_hosts=(f"files.example:{port}",)) as bench:
            await bench.post_build(
                "python -c 'import urllib.request, sys; urllib.request.urlopen(sys.argv[1], timeout=5)' "
                f"http://files.example:{port}/ || true"
            )
    assert len(callers) == 1


@BOTH
async def test_without_a_network_not_even_the_index_is_reached(bench_of: Building) -> None:
    with bench_of(egress=EgressMode.NONE) as bench:
        with pytest.raises(BuildFailed):
            await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
        assert bench.index.requests == []


@BOTH
async def test_foreign_code_cannot_poison_the_wheel_cache_or_other_environments(bench: Bench) -> None:
    first, _ = await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    read = ("/srv/environment/bin/python", "-c", "import alpha; print(open(alpha.__file__).read())")
    before = bench.run(first, *read).stdout
    assert "__version__" in before
    destroy = (
        "for file in $(find / -xdev -name '*.py' -not -path '/usr/*' -path '*alpha*' 2>/dev/null) "
        "$(find /srv -name 'alpha.py' 2>/dev/null); do echo 'raise SystemExit(66)' > $file && echo poisoned $file; done"
    )
    second, log = await bench.build(
        {"requirements.txt": "alpha\n", "postBuild": f"#!/bin/bash\n{destroy}\n"},
        RecipeKind.REQUIREMENTS,
        "requirements.txt",
        post_build="postBuild",
    )
    assert "poisoned /srv/environment" in log.text, "it can hurt itself"
    assert second.reference != first.reference
    assert bench.run(first, *read).stdout == before
    third, _ = await bench.build({"requirements.txt": "alpha\n# again\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    assert third.reference == first.reference
    await bench.builder.remove(first.reference)
    fourth, _ = await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    assert bench.run(fourth, "/srv/environment/bin/python", "-c", "import alpha").returncode == 0


async def test_wheels_are_linked_from_the_cache_when_no_foreign_code_runs(bench: Bench) -> None:
    """In a directory; in an image there is a copy."""
    built, _ = await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    (module,) = bench.environment(built).glob("venv/lib/python*/site-packages/alpha.py")
    assert module.stat().st_nlink > 1


async def test_a_source_distribution_cannot_poison_the_wheel_cache(bench: Bench) -> None:
    first, _ = await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    hook = (
        "import glob, os\n"
        "for path in glob.glob('/srv/**/alpha.py', recursive=True):\n"
        "    open(path, 'w').write('raise SystemExit(66)')\n"
    )
    sdist(bench.index.directory, "wicked", hook=hook)
    await bench.build({"requirements.txt": "alpha\nwicked\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    await bench.builder.remove(first.reference)
    again, _ = await bench.build({"requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    assert bench.run(again, "/srv/environment/bin/python", "-c", "import alpha").returncode == 0


async def test_links_that_a_source_distribution_plants_lead_no_later_step_into_the_wheel_cache(bench: Bench) -> None:
    hook = (
        "import os\nplace = '/srv/environment/share'\nos.path.lexists(place) or os.symlink('/srv/cache/wheels', place)"
    )
    sdist(bench.index.directory, "wicked", hook=hook)
    await bench.build({"requirements.txt": "wicked\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    assert not (bench.config.cache / "wheels" / "jupyter").exists()


@BOTH
async def test_a_wheels_startup_code_runs_only_where_nothing_can_be_written(bench: Bench) -> None:
    code = "import os; open('/srv/environment/touched', 'w')"
    wheel(bench.index.directory, "eager", files={"eager.pth": f"{code}\n"})
    built, _ = await bench.build({"requirements.txt": "eager\n"}, RecipeKind.REQUIREMENTS, "requirements.txt")
    assert bench.run(built, "test", "-e", "/srv/environment/touched").returncode == 1


@BOTH
async def test_set_user_id_files_lose_their_power_outside(bench: Bench) -> None:
    built, _ = await bench.post_build(
        "cp /bin/true $VIRTUAL_ENV/bin/evil; chmod 6755 $VIRTUAL_ENV/bin/evil; "
        "mkdir d; cp /bin/true d/e; chmod 4755 d/e"
    )
    assert bench.powerful(built) == []


@BOTH
async def test_links_planted_by_a_build_are_not_followed(bench: Bench) -> None:
    victim = bench.directory / "victim"
    victim.mkdir()
    (victim / "keep").write_text("kept")
    script = (
        f"rm -rf $VIRTUAL_ENV/share; ln -s {victim} $VIRTUAL_ENV/share; ln -s {victim} out; ln -s /etc/passwd passwd; "
        f"rm -rf ~/sub; ln -s {victim} ~/sub; ln -sfn {victim} /srv/exchange/lock.txt; ln -s made inside; touch made"
    )
    built, _ = await bench.post_build(script)
    assert [path.name for path in victim.iterdir()] == ["keep"]
    assert bench.kept(built) == {"repository/inside", "repository/made"}
    await bench.builder.remove(built.reference)
    assert (victim / "keep").read_text() == "kept"


@BOTH
async def test_what_a_build_closed_to_its_owner_is_removed_all_the_same(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match="postBuild"):
        await bench.post_build("mkdir -p a/b; touch a/b/c; chmod 000 a/b a; mkdir ~/x; chmod 000 ~/x; exit 3")
    assert bench.remains() == []


@BOTH
async def test_a_daemon_does_not_outlive_the_build(bench: Bench) -> None:
    marker = "98765.4321"
    built, _ = await bench.post_build(f"(setsid nohup sleep {marker} >/dev/null 2>&1 &); disown -a; exit 0")
    assert await bench.builder.exists(built.reference)
    assert marked(marker) == []


async def test_links_of_the_repository_are_not_shown_to_a_build(bench: Bench) -> None:
    script = "#!/bin/bash\ncat secret ../secret etc/passwd; ls -A; exit 1\n"
    made = request(bench.directory, {"postBuild": script}, RecipeKind.NONE, post_build="postBuild")
    work = made.snapshot.cache.parent
    (work / "secret").symlink_to("/etc/passwd")
    (work / "etc").symlink_to("/etc")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=links")
    commit = git(work, "rev-parse", "HEAD")
    log = MemoryLog()
    with pytest.raises(BuildFailed):
        await bench.builder.build(
            replace(made, snapshot=replace(made.snapshot, commit=commit), recipe=replace(made.recipe, tree=commit)), log
        )
    assert "jovyan:x" not in log.text
    assert "postBuild" in log.text


THREADS = """
import threading, time
for _ in range(100):
    threading.Thread(target=time.sleep, args=(15,), daemon=True).start()
time.sleep(15)
"""
LIMITS = BuildLimits(
    seconds=20, idle_seconds=None, memory_bytes=256 * MIB, processes=64, disk_bytes=64 * MIB, file_bytes=32 * MIB
)


TOO_MUCH = {
    "seconds": ("sleep 54321.1", BuildLimits(seconds=2.5), "longer than 2.5 seconds"),
    "silence": ("sleep 54321.2", BuildLimits(idle_seconds=1.5), "said nothing for 1.5 seconds"),
    "closed output": ("exec >/dev/null 2>&1; sleep 54321.3", BuildLimits(seconds=2.5), "longer than 2.5 seconds"),
    "processes": ("for i in $(seq 100); do sleep 54321.4 & done; wait", LIMITS, "64 processes"),
    "threads": ("python threads.py", LIMITS, "64 processes and threads"),
    "fork bomb": ("bomb() { bomb & bomb & sleep 54321.5; }; bomb", LIMITS, "64 processes"),
    # Each of these ends at once: whether there are ever 65 at one moment is up to the machine.
    "short lives": (
        "bomb() { bomb | bomb & }; bomb; sleep 54321.6", replace(LIMITS, seconds=8), "64 processes|8 seconds"
    ),
    "memory": ('python -c "import time; x = bytearray(400 << 20); time.sleep(15)"', LIMITS, "256 MiB of memory"),
    "disk": ("for i in 1 2 3; do head -c 30000000 /dev/zero > $i; done; sleep 54321.6", LIMITS, "64 MiB to disk"),
    "disk here and there": (
        "for file in ~/a /tmp/b $VIRTUAL_ENV/c; do head -c 30000000 /dev/zero > $file; done; exit 0",
        LIMITS,
        "64 MiB to disk",
    ),
    "file": ("set -e; head -c 40000000 /dev/zero > big; echo written", LIMITS, "postBuild failed"),
}  # fmt: skip
IN_CONTAINERS = ("seconds", "closed output", "fork bomb", "threads", "memory", "disk here and there", "file")
"""What an engine limits, or hears and sees, in another way than bubblewrap does."""


@pytest.mark.parametrize(
    ("runtime", "much"),
    [*(("process", name) for name in TOO_MUCH), *(("container", name) for name in IN_CONTAINERS)],
)
async def test_a_build_that_wants_too_much_is_ended_and_told_which_limit(bench_of: Building, much: str) -> None:
    script, limits, words = TOO_MUCH[much]
    if bench_of.func is not building:  # the steps before it take longer
        limits = replace(limits, seconds={2.5: 8, 20: 60}[limits.seconds])
        words = words.replace("2.5", "8")
    with bench_of(limits=limits) as bench:
        with pytest.raises((BuildLimitExceeded, BuildFailed), match=words):
            await bench.post_build(script, **{"threads.py": THREADS})
        assert marked("54321.") == []
        assert bench.remains() == []
        assert await bench.builder.references() == frozenset()


@BOTH
async def test_endless_output_ends_where_the_log_says(bench: Bench) -> None:
    class Full(MemoryLog):
        def write(self, text: str) -> None:
            super().write(text)
            if len(self.text) > MIB:
                raise BuildLimitExceeded("The build wrote more than 1 MiB of output.")

    made = request(bench.directory, {"postBuild": "#!/bin/sh\nyes 54322.1\n"}, RecipeKind.NONE, post_build="postBuild")
    log = Full()
    with pytest.raises(BuildLimitExceeded, match="output"):
        await bench.builder.build(made, log)
    assert len(log.text) < 2 * MIB
    assert marked("54322.1") == []
    name = f"launcher-build-{made.build_id}"
    assert not any(os.path.exists(f"/sys/fs/cgroup/{place}{name}") for place in ("", "pids/"))  # noqa: ASYNC240, PTH110


@BOTH
async def test_hostile_output_is_only_text(bench: Bench) -> None:
    script = (
        r"""printf '{"phase":"ready","url":"javascript:alert(1)"}\n42\n\033]0;title\007\377\376 \303'; sleep 0.1;"""
        r"""printf '\251\000\rend\n'"""
    )
    _, log = await bench.post_build(script)
    assert '{"phase":"ready"' in log.text
    assert "\ufffd\ufffd é\0\rend" in log.text
    assert log.stages == ["fetching", "building", "pushing"]


async def test_reaping_ends_a_build_that_another_process_began(tmp_path: Path) -> None:
    """The service is killed with -9 in the middle of a build; the next one cleans up after it."""
    with building(tmp_path) as bench:
        made = request(
            bench.directory, {"postBuild": "#!/bin/sh\nsleep 54323.1\n"}, RecipeKind.NONE, post_build="postBuild"
        )
        code = (
            "import asyncio, sys, json\nfrom pathlib import Path\n"
            "from launcher.builders.process.builder import ProcessBuilder\n"
            "from launcher.builders.process.config import ProcessBuilderConfig\n"
            "from launcher.models import *\n"
            "from tests.support.builds import MemoryLog\n"
            "a = json.loads(sys.argv[1])\n"
            "config = ProcessBuilderConfig.from_environment(\n"
            "    Path(a['state']), {}, index_url=a['index'], allow_hosts=(a['host'],))\n"
            "recipe = Recipe(RecipeKind.NONE, post_build='postBuild', tree='t')\n"
            "request = BuildRequest(a['id'], a['key'], recipe, Snapshot(None, Path(a['cache']), a['commit']))\n"
            "asyncio.run(ProcessBuilder(config).build(request, MemoryLog()))\n"
        )
        arguments = {
            "state": str(bench.directory / "state"), "index": bench.index.url, "host": bench.index.host,
            "id": made.build_id, "key": made.key, "cache": str(made.snapshot.cache), "commit": made.snapshot.commit,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, json.dumps(arguments), cwd=Path(__file__).parents[2], env=dict(os.environ)
        )
        try:
            async with asyncio.timeout(60):
                while not marked("54323.1"):
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
        finally:
            process.kill()
            await process.wait()
        await bench.builder.reap(made.build_id)
        assert marked("54323.1") == []
        assert bench.remains() == []
        assert await bench.builder.references() == frozenset()


async def test_the_projects_own_build_runs_without_secrets_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", CANARY)
    files = project(
        "mine",
        hook=f"import os\nassert {CANARY!r} not in str(os.environ)\nassert not os.path.exists('/srv/cache/staging')",
    )
    built, _ = await bench.build(files, RecipeKind.PYPROJECT, "pyproject.toml", installs_project=True)
    assert bench.run(built, "/srv/environment/bin/python", "-c", "import mine").returncode == 0
