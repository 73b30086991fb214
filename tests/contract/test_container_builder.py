"""What only containers promise: Debian packages, images of one layer, and nothing left whatever is killed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from structlog.testing import capture_logs

from launcher.builders.container.apt import read_packages
from launcher.builders.container.builder import ContainerBuilder
from launcher.builders.container.site import Site
from launcher.engine.find import EngineAddress
from launcher.engine.labels import KEY
from launcher.engine.service import OwnEngine
from launcher.engine.sockets import why_silent
from launcher.errors import BuildFailed, EngineError, EngineUnavailable, RecipeInvalid
from launcher.models import RecipeKind
from tests.support.builds import MemoryLog, request
from tests.support.container_builds import ContainerBench, container_building, container_site
from tests.support.engine import base_image, container_engine

__all__ = ["base_image", "container_engine", "container_site"]  # fixtures

REQUIREMENTS = (RecipeKind.REQUIREMENTS, "requirements.txt")
WAITS = {"postBuild": "#!/bin/sh\necho waiting\nexec sleep 60\n"}


@pytest.fixture
def bench(tmp_path: Path, container_site: Site) -> Iterator[ContainerBench]:
    with container_building(tmp_path, container_site) as bench:
        yield bench


async def test_an_environment_is_one_layer_on_the_base_image_and_holds_nothing_else(bench: ContainerBench) -> None:
    files = {"requirements.txt": "alpha\n", "notebook.ipynb": "{}"}
    made = request(bench.directory, files, *REQUIREMENTS)
    built = await bench.builder.build(made, MemoryLog())
    async with bench.site.engine() as engine:
        image = await engine.image(built.reference)
    assert image is not None
    base = bench.site.base
    assert image.layers[:-1] == base.layers
    assert image.labels[KEY] == made.key
    assert 0 < built.size_bytes < 5_000_000
    of_the_engine = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
    newer = "find / -xdev -type f -newer /srv/environment/pyvenv.cfg 2>/dev/null"
    added = bench.run(built, "/bin/sh", "-c", newer).stdout.splitlines()
    assert [path for path in added if not path.startswith("/srv/environment/") and path not in of_the_engine] == []
    assert bench.run(built, "find", "/srv/environment", "-writable").stdout == ""


async def test_another_base_image_makes_other_keys(bench: ContainerBench) -> None:
    other = replace(bench.site, base=replace(bench.site.base, id=f"sha256:{'0' * 64}"))
    assert ContainerBuilder(bench.config, other).fingerprint != bench.builder.fingerprint


async def test_the_engine_s_own_words_are_for_the_service_s_log_and_not_for_people(bench: ContainerBench) -> None:
    gone = f"sha256:{'0' * 64}"
    builder = ContainerBuilder(bench.config, replace(bench.site, base=replace(bench.site.base, id=gone)))
    log = MemoryLog()
    made = request(bench.directory, {"requirements.txt": "alpha\n"}, *REQUIREMENTS)
    with capture_logs() as logged, pytest.raises(EngineError) as raised:
        await builder.build(made, log)
    assert raised.value.message == "The container engine refused a part of this build."
    assert made.build_id in raised.value.hint
    (said,) = (str(entry["reason"]) for entry in logged if entry["event"] == "engine_refused")
    assert "image" in said.lower()
    assert said not in f"{raised.value.message} {raised.value.hint} {log.text}"


async def test_a_name_taken_by_another_image_is_not_the_environment(bench: ContainerBench) -> None:
    built, _ = await bench.build({"requirements.txt": "alpha\n"}, *REQUIREMENTS)
    async with bench.site.engine() as engine:
        image = await engine.image(built.reference)
        assert image is not None
        await engine.tag(bench.site.base.id, image.names[0])
    again, _ = await bench.build({"requirements.txt": "alpha\n#\n"}, *REQUIREMENTS)
    assert again.reference not in {bench.site.base.id, built.reference}  # built once more
    assert await bench.builder.exists(built.reference)


async def test_what_a_kernel_loads_is_compiled(bench: ContainerBench) -> None:
    built, _ = await bench.build({"requirements.txt": "alpha\n"}, *REQUIREMENTS)
    compiled = bench.run(built, "find", "/srv/environment/lib", "-name", "ipykernel_launcher.*.pyc").stdout
    assert len(compiled.splitlines()) == 1


async def test_a_killed_launchers_build_is_reaped_by_its_labels(bench: ContainerBench) -> None:
    made = request(bench.directory, WAITS, RecipeKind.NONE, None, post_build="postBuild")
    program = (
        "import asyncio, json, sys\nfrom pathlib import Path\n"
        "from launcher.builders.container.builder import ContainerBuilder\n"
        "from launcher.builders.container.config import ContainerBuilderConfig\n"
        "from launcher.builders.container.site import look_at\n"
        "from launcher.engine.find import EngineAddress\nfrom launcher.engine.labels import Kind, ours\n"
        "from launcher.models import *\nfrom tests.support.builds import MemoryLog\n"
        "a = json.loads(sys.argv[1])\nstate = Path(a['state'])\n"
        "recipe = Recipe(RecipeKind.NONE, post_build='postBuild', tree='t')\n"
        "made = BuildRequest(a['id'], a['key'], recipe, Snapshot(None, Path(a['cache']), a['commit']))\n"
        "config = ContainerBuilderConfig.from_environment(\n"
        "    state, {}, index_url=a['index'], allow_hosts=(a['host'],))\n"
        "async def main():\n"
        "    site = await look_at(EngineAddress(a['engine'], 'test'), a['base'], ours(state, Kind.BUILD))\n"
        "    await ContainerBuilder(config, site).build(made, MemoryLog(said=print))\n"
        "asyncio.run(main())\n"
    )
    arguments = {
        "state": str(bench.config.state_directory), "index": bench.index.url, "host": bench.index.host,
        "id": made.build_id, "key": made.key, "cache": str(made.snapshot.cache), "commit": made.snapshot.commit,
        "engine": bench.site.address.url, "base": bench.site.base.id,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", program, json.dumps(arguments),
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2], env=dict(os.environ),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(90):
            while b"waiting" not in (line := await process.stdout.readline()):
                assert line, "it ended"
    finally:
        process.kill()
        await process.communicate()
    assert bench.remains() != []
    await bench.builder.reap_others(frozenset({made.build_id}))
    assert bench.remains() != []
    await bench.builder.reap(made.build_id)
    assert bench.remains() == []
    assert await bench.builder.references() == frozenset()


@contextmanager
def service(own: OwnEngine, socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One more service over the tests' storage, which nobody else speaks to."""
    command = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
    with subprocess.Popen(command, env=own.variables(), cwd="/", stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while why_silent(socket) and time.monotonic() < deadline:
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


async def test_a_build_whose_engine_goes_away_says_so_and_is_reaped_when_it_is_back(bench: ContainerBench) -> None:
    own = bench.site.address.own
    assert own is not None
    with TemporaryDirectory(prefix="engine-") as place:  # a socket's path must be short
        socket = Path(place) / "podman.sock"
        address = EngineAddress(f"unix://{socket}", "the test's own service")
        builder = ContainerBuilder(bench.config, replace(bench.site, address=address))
        heard = asyncio.Event()
        log = MemoryLog(said=lambda text: heard.set() if "waiting" in text else None)
        made = request(bench.directory, WAITS, RecipeKind.NONE, None, post_build="postBuild")
        with service(own, socket) as process:
            build = asyncio.create_task(builder.build(made, log))
            async with asyncio.timeout(90):
                await heard.wait()
            process.kill()
            with pytest.raises(EngineUnavailable) as failure:
                await build
        assert failure.value.hint
        assert bench.remains() != []
        socket.unlink()
        with service(own, socket):
            await builder.reap(made.build_id)
    assert bench.remains() == []
    assert await bench.builder.references() == frozenset()


class TestAptTxt:
    def test_names_are_read_sorted_without_comments(self) -> None:
        text = "# what we need\ngraphviz curl  # two\n\nlibgl1:amd64\ntree=2.1.0-1\ncurl\n"
        assert read_packages("apt.txt", text) == ("curl", "graphviz", "libgl1:amd64", "tree=2.1.0-1")

    @pytest.mark.parametrize(
        "word",
        ["-o=Dir::Etc=/x", "--force-yes", "./local.deb", "/etc/passwd", "a;id", "$(id)", "Curl", "tree/sid", "tree-"],
    )
    def test_what_is_no_name_is_refused_with_its_line(self, word: str) -> None:
        with pytest.raises(RecipeInvalid, match=r"binder/apt\.txt line 2"):
            read_packages("binder/apt.txt", f"curl\n{word}\n")

    async def test_packages_are_a_layer_of_their_own_that_others_with_the_same_list_use(
        self, bench: ContainerBench
    ) -> None:
        files = {"apt.txt": "tree\n", "requirements.txt": "alpha\n"}
        first, log = await bench.build(files, *REQUIREMENTS, apt="apt.txt")
        assert "Installing tree" in log.text
        assert bench.run(first, "tree", "--version").stdout.startswith("tree v")
        assert bench.powerful(first) == []
        second, log = await bench.build({"apt.txt": "tree # again\n"}, apt="apt.txt")
        assert "are there already" in log.text
        async with bench.site.engine() as engine:
            images = [await engine.image(one.reference) for one in (first, second)]
        assert images[0].layers[:-1] == images[1].layers[:-1]
        assert len(images[0].layers) == len(bench.site.base.layers) + 2
        plain, _ = await bench.build({"requirements.txt": "alpha\n"}, *REQUIREMENTS)
        assert plain.reference != first.reference
        sizes = await bench.builder.storage()
        assert sizes.environments[first.reference].shared_bytes == sizes.environments[second.reference].shared_bytes > 0

    async def test_a_package_that_does_not_exist_is_named(self, bench: ContainerBench) -> None:
        with pytest.raises(BuildFailed, match="no-such-package-here"):
            await bench.build({"apt.txt": "no-such-package-here\n"}, apt="apt.txt")
        assert bench.remains() == []
