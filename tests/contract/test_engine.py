"""What the container runtime asks of an engine, on a real one."""

import asyncio
import io
import os
import shutil
import signal
import tarfile
from dataclasses import replace

import pytest

from launcher.control_groups import memory_kills
from launcher.engine.base import Bind, ContainerOrder, ImageConfig
from launcher.engine.client import Engine
from launcher.engine.find import EngineAddress
from launcher.engine.labels import KEY, KIND, STATE, Kind, ours
from launcher.engine.service import OwnEngine
from launcher.engine.sockets import UNIX
from launcher.errors import EngineError
from tests.support.engine import base_image, container_engine, engine  # noqa: F401 - fixtures

PYTHON = "/usr/bin/python3"
MEGABYTE = 2**20
FOREVER = ("sleep", "infinity")
PRIVATE = f"""
import os, socket
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), os.getgid(), os.getgroups())
print([status[name].strip() for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")])
print([name for _, name in socket.if_nameindex()])
print(sorted(set(os.environ) - {{"PATH", "LANG", "HOME", "TERM", "container", "HOSTNAME"}}))
for path in ("/new", "/usr/new", "/srv/server/new", "/bound/new"):
    try:
        open(path, "w")
    except OSError as error:
        print(path, error.errno)
try:
    print(len(open("/tmp/big", "wb", 0).write(b"x" * {2 * MEGABYTE})))
except (OSError, TypeError):
    print("/tmp holds", os.path.getsize("/tmp/big"))
"""


@pytest.fixture
def order(base_image, tmp_path):  # noqa: F811 - a fixture
    """A container of the base image that belongs to this test."""

    def _order(*command, **more):
        return ContainerOrder(image=base_image, command=command, labels=ours(tmp_path, Kind.BUILD, build="b1"), **more)

    return _order


@pytest.fixture
async def running(engine, order):  # noqa: F811
    """A container that sleeps, with a layer of its own."""
    async with engine.run(order(*FOREVER, writable_root=True, memory_bytes=256 * MEGABYTE)) as container:
        yield container.id


async def said(output) -> str:
    return b"".join([piece async for piece in output]).decode()


async def ran(engine, order):  # noqa: F811
    """What a container said, and how it ended."""
    async with engine.run(order) as container:
        return await said(container.output), await container.wait()


async def executed(engine, container, *command, **more):  # noqa: F811
    async with engine.execute(container, command, **more) as running:
        return await said(running.output), await running.status()


async def test_it_says_what_it_is(engine):  # noqa: F811
    info = await engine.info()
    assert info.name in {"podman", "docker"}
    assert info.version
    assert info.limits <= {"memory", "cpu", "pids"}


async def test_a_container_may_nothing_that_was_not_said(engine, order, tmp_path):  # noqa: F811
    tmp_path.chmod(0o777)
    binds = (Bind(tmp_path, "/bound"),)
    output, ended = await ran(engine, order(PYTHON, "-c", PRIVATE, binds=binds, tmpfs={"/tmp": MEGABYTE}))
    assert ended.status == 0
    assert output.splitlines() == [
        "1000 1000 [1000]",
        "['0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000', '1']",
        "['lo']",
        "[]",
        "/new 30",
        "/usr/new 30",
        "/srv/server/new 30",
        "/bound/new 30",
        f"/tmp holds {MEGABYTE}",
    ]


async def test_variables_directory_and_status_are_those_of_the_order(engine, order, tmp_path):  # noqa: F811
    tmp_path.chmod(0o777)
    more = {"environment": {"WORD": "a 'b' c"}, "working_directory": "/bound"}
    binds = (Bind(tmp_path, "/bound", read_only=False),)
    output, ended = await ran(
        engine, order("sh", "-c", 'echo "$WORD" "$PWD"; echo x > new; echo no >&2; exit 7', binds=binds, **more)
    )
    assert (output, ended.status, ended.out_of_memory) == ("a 'b' c /bound\nno\n", 7, False)
    assert (tmp_path / "new").read_text() == "x\n"


async def test_a_slow_reader_slows_the_writer_down_and_loses_nothing(engine, order):  # noqa: F811
    async with engine.run(order("head", "-c", str(20 * MEGABYTE), "/dev/zero")) as container:
        read = 0
        async for piece in container.output:
            read += len(piece)
            if read < MEGABYTE:
                await asyncio.sleep(0.005)
    assert read == 20 * MEGABYTE


async def test_memory_is_limited_and_its_end_told_from_others(engine, order):  # noqa: F811
    hungry = order(PYTHON, "-c", "x = bytearray(10**9)", memory_bytes=64 * MEGABYTE)
    _, ended = await ran(engine, hungry)
    assert (ended.status, ended.out_of_memory) == (137, True)
    async with engine.run(order(*FOREVER, memory_bytes=64 * MEGABYTE)) as container:
        await engine.kill(container.id)
        ended = await container.wait()
    assert (ended.status, ended.out_of_memory) == (137, False)


async def test_a_child_that_was_killed_for_memory_is_counted(engine, order):  # noqa: F811
    program = f"import subprocess; subprocess.run(['{PYTHON}', '-c', 'x = bytearray(10**9)']); print('on', flush=True)"
    survives = order(PYTHON, "-c", f"{program}; import time; time.sleep(600)", memory_bytes=64 * MEGABYTE)
    async with engine.run(survives) as container:
        async for _ in container.output:
            break
        found = await engine.container(container.id)
        assert memory_kills(found.pid) == 1


async def test_processes_are_limited(engine, order):  # noqa: F811
    bomb = "import os, time; [os.fork() or time.sleep(60) for _ in range(100)]"
    output, ended = await ran(engine, order(PYTHON, "-c", bomb, processes=30))
    assert "BlockingIOError" in output
    assert ended.status == 1


async def test_nothing_is_left_of_a_container_whose_work_is_done(engine, order, tmp_path):  # noqa: F811
    daemon = "setsid sleep 3600 >/dev/null 2>&1 & echo started; sleep 3600"
    async with engine.run(order("sh", "-c", daemon)) as container:
        async for _ in container.output:
            break
        assert (await engine.container(container.id)).running
    assert await engine.container(container.id) is None
    assert await engine.containers({STATE: ours(tmp_path, Kind.BUILD)[STATE]}) == []
    assert (await engine.wait(container.id)).status == 137


async def test_a_container_is_found_by_its_labels_by_anybody_who_comes_later(engine, order, running, container_engine):  # noqa: F811
    async with Engine(container_engine) as other:
        labels = (await other.container(running)).labels
        assert (labels[KIND], labels["launcher.build"]) == ("build", "b1")
        assert [one.id for one in await other.containers({STATE: labels[STATE], "launcher.build": ""})] == [running]
        assert await other.containers({STATE: labels[STATE], "launcher.build": "b2"}) == []


async def test_commands_run_in_a_container_that_runs(engine, running):  # noqa: F811
    output, status = await executed(
        engine, running, "sh", "-c", 'echo "$A$(id -u)"; echo e >&2; exit 4', environment={"A": "a"}, user="0:0"
    )
    assert (sorted(output.split()), status) == (["a0", "e"], 4)


async def test_files_go_in_and_out_as_archives(engine, running):  # noqa: F811
    await engine.put_archive(running, "/home", _archive("jovyan/deep/note.txt", b"hello"))
    output, _ = await executed(engine, running, "stat", "-c", "%u:%g %a", "/home/jovyan/deep/note.txt")
    assert output == "1000:1000 640\n"
    async with engine.archive(running, "/home/jovyan/deep") as pieces:
        whole = b"".join([piece async for piece in pieces])
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        assert archive.extractfile("deep/note.txt").read() == b"hello"
    with pytest.raises(EngineError):
        async with engine.archive(running, "/not/there"):
            pass


async def test_a_container_becomes_an_image_that_says_what_it_is_told_to(engine, order, running, base_image):  # noqa: F811
    await executed(engine, running, "sh", "-c", "echo made > /home/jovyan/file", environment={"SECRET": "s"})
    name = "localhost/launcher/test-commit:1"
    config = ImageConfig(
        labels={KEY: "k1", KIND: "environment"},
        environment={"WORD": "two words"},
        user="1000:1000",
        working_directory="/home/jovyan",
        command=("sh", "-c", "cat file; echo $WORD $PWD"),
    )
    made = await engine.commit(running, name, config)
    try:
        image = await engine.image(name)
        base = await engine.image(base_image)
        assert (image.id, image.names) == (made, (name,))
        assert image.labels | {KEY: "k1", KIND: "environment"} == image.labels
        assert (image.environment["WORD"], image.user) == ("two words", "1000:1000")
        assert "SECRET" not in image.environment
        assert image.layers[:-1] == base.layers  # one layer more
        assert 0 <= image.size - base.size < MEGABYTE
        assert made in [one.id for one in await engine.images({KEY: "k1"})]
        output, _ = await ran(engine, replace(order("cat", "/home/jovyan/file"), image=made))
        assert output == "made\n"
        assert await engine.image("localhost/launcher/test-commit:2") is None
    finally:
        assert await engine.remove_image(name)
    assert await engine.image(made) is None


async def test_an_image_in_use_is_not_removed(engine, order, running):  # noqa: F811
    used = await engine.commit(running, "localhost/launcher/test-used:1", ImageConfig())
    try:
        async with engine.run(replace(order("sleep", "600"), image=used)):
            assert not await engine.remove_image(used)
            assert await engine.image(used) is not None
    finally:
        assert await engine.remove_image(used)


async def test_a_name_that_moved_changes_no_image(engine, base_image):  # noqa: F811
    name = "localhost/launcher/test-name:1"
    imported = await engine.import_image(_archive("file", b"1"), name, ImageConfig(labels={KIND: "base"}))
    try:
        await engine.tag(base_image, name)
        assert (await engine.image(name)).id == base_image
        assert (await engine.image(imported)).labels == {KIND: "base"}
    finally:
        await engine.remove_image(name)
        await engine.remove_image(imported)
    assert await engine.remove_image(name)  # nothing there is fine


async def test_limits_change_while_it_runs(engine, running):  # noqa: F811
    if "memory" not in (await engine.info()).limits:
        pytest.skip("this engine cannot limit memory here")
    await engine.limit(running, memory_bytes=100 * MEGABYTE, cpus=0.5, processes=40)
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    output, _ = await executed(engine, running, "sh", "-c", f"cat {files} 2>/dev/null")
    assert int(output) == 100 * MEGABYTE


async def test_what_the_engine_refuses_is_a_sentence_with_its_words(engine, order, tmp_path):  # noqa: F811
    missing = ContainerOrder("sha256:" + "0" * 64, FOREVER, ours(tmp_path, Kind.BUILD))
    with pytest.raises(EngineError) as raised:
        await engine.create(missing)
    assert (raised.value.message, raised.value.status) == ("The container engine refused.", 404)
    assert "image" in raised.value.hint
    with pytest.raises(EngineError):
        await ran(engine, order("/no/such/program"))
    assert await engine.containers({STATE: missing.labels[STATE]}) == []


async def test_ending_what_has_ended_or_never_was_is_fine(engine, running):  # noqa: F811
    await engine.kill(running)
    await engine.wait(running)
    for _ in range(2):
        await engine.kill(running)
        await engine.stop(running)
        await engine.remove(running)


def test_a_container_without_labels_is_not_even_ordered():
    with pytest.raises(ValueError, match="launcher"):
        ContainerOrder("sha256:1", FOREVER, {KIND: "build"})


async def test_an_engine_of_our_own_is_started_again_when_it_was_killed(tmp_path, container_engine):  # noqa: F811
    own = OwnEngine(tmp_path / "engine")
    try:
        own.ensure()
        async with Engine(EngineAddress(f"{UNIX}{own.socket}", "a test's own", own)) as engine:
            imported = await engine.import_image(_archive("file", b"1"), "localhost/launcher/tiny:1", ImageConfig())
            first = int((tmp_path / "engine" / "pid").read_text())
            os.kill(first, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, first, 0)
            assert [image.id for image in await engine.images()] == [imported]
            assert await engine.remove_image(imported)
        assert own.runs()
    finally:
        own.stop()
        assert not own.runs()
        shutil.rmtree(own.run)
    shutil.rmtree(own.directory)  # nothing is mounted there any more


def _archive(path: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(path)
        member.size, member.mode, member.uid, member.gid = len(content), 0o640, 1000, 1000
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
