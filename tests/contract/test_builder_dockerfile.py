"""Repositories with a Dockerfile: built step by step in containers, whatever the steps try."""

import asyncio

import pytest

from launcher.builders.container.builder import ContainerBuilder
from launcher.builders.container.dockerfile.way import DockerfileWay
from launcher.builders.uv.limits import MIB, BuildLimits
from launcher.engine.base import ContainerOrder
from launcher.engine.client import Engine
from launcher.engine.labels import BUILD, Kind, ours
from launcher.errors import BuildFailed, BuildLimitExceeded, RecipeInvalid, RecipeUnsupported
from launcher.models import RecipeKind, SessionMode
from tests.support.builds import MemoryLog, request
from tests.support.container_builds import container_building, container_site
from tests.support.engine import base_image, container_engine
from tests.support.web_server import WebServer, response

__all__ = ["base_image", "container_engine", "container_site"]

LIMITS = BuildLimits(seconds=100, processes=200, memory_bytes=300 * MIB, disk_bytes=100 * MIB, file_bytes=80 * MIB)
# Holds what it got: a bomb of shells, which end when they cannot fork, may be over before anybody counts.
WAIT = "time.sleep(20)"
FORKS = rf'exec("import os, time\nfor _ in range(999):\n try: os.fork() or {WAIT}\n except OSError: {WAIT}")'
FALSE_MKDIR = "printf '#!/usr/bin/python3\\nexit(7)\\n' > /x && chmod 755 /x && mv /x /bin/mkdir"
BASE = "FROM localhost/launcher/base\nENV PATH=/srv/server/bin:$PATH\nUSER root\n"


@pytest.fixture(scope="module")
def bench(container_site, tmp_path_factory):
    with container_building(tmp_path_factory.mktemp("dockerfiles"), container_site, limits=LIMITS) as bench:
        bench.builder = ContainerBuilder(bench.config, container_site, [DockerfileWay(container_site, bench.config)])
        yield bench


@pytest.fixture
def build(bench):
    """Build a repository with this Dockerfile and files; nothing of a build remains, however it ends."""

    async def _build(dockerfile, files=None, log=None):
        log = log or MemoryLog()
        wanted = request(
            bench.directory,
            {"Dockerfile": dockerfile, **(files or {})},
            RecipeKind.DOCKERFILE,
            "Dockerfile",
            tree="0" * 40,
        )
        try:
            return await bench.builder.build(wanted, log), log
        finally:
            assert not bench.remains()

    return _build


async def test_stages_files_users_and_arguments_make_an_environment_in_full_mode(bench, build):
    dockerfile = (
        "ARG WORD=outside\nFROM localhost/launcher/base AS first\nUSER root\nRUN echo made > /made.txt\n"
        f'{BASE}ARG WORD\nARG OTHER=inner\nENV GREETING="hello $WORD"\nWORKDIR /opt/app\n'
        "COPY --from=first /made.txt ./\nCOPY --chown=jovyan:1000 sub *.cfg ./\n"
        "RUN echo $OTHER $(pwd) $(stat -c %U a.txt) > said.txt && cp /bin/true power && chmod u+s power\n"
        'USER jovyan\nRUN ["sh", "-c", "whoami > /tmp/me && cp /tmp/me /home/jovyan/me"]\n'
    )
    files = {"sub/a.txt": "a\n", "one.cfg": "1\n", ".dockerignore": "secret\n", "secret": "s\n"}
    built, log = await build(dockerfile, files)
    assert built.mode is SessionMode.FULL
    look = bench.run(
        built, "sh", "-c", "cat /opt/app/made.txt /opt/app/said.txt /home/jovyan/me; ls /opt/app; id -u; env"
    ).stdout
    lines = look.splitlines()
    assert lines[:3] == ["made", "inner /opt/app jovyan", "jovyan"]
    assert lines[3:9] == ["a.txt", "made.txt", "one.cfg", "power", "said.txt", "1000"]
    assert "GREETING=hello outside" in lines
    assert "proxy" not in look.lower()
    assert "OTHER" not in look
    assert bench.run(built, "sh", "-c", "find / -xdev -perm /6000 -type f 2>/dev/null").stdout == ""
    python = "import sys, jupyterhub.singleuser; print(sys.prefix)"
    assert bench.run(built, "/srv/environment/bin/python", "-I", "-c", python).stdout == "/srv/environment\n"
    again, log = await build(dockerfile, {**files, "sub/a.txt": "changed\n"})
    assert "line 4: done before" in log.text
    assert bench.run(again, "cat", "/opt/app/a.txt").stdout == "changed\n"


DEBIAN = r"""FROM localhost/launcher/base
USER root
RUN place=$(python3 -c 'import site; print(site.getsitepackages()[0])') && mkdir -p $place \
 && echo "import site; site.addsitedir('$(echo /srv/server/lib/*/site-packages)')" > $place/server.pth \
 && printf '#!/usr/bin/python3\n' > /usr/local/bin/jupyterhub-singleuser && chmod 755 /usr/local/bin/*
"""


async def test_the_server_may_be_in_the_python_of_the_system_which_has_no_python_without_a_number(bench, build):
    built, _ = await build(DEBIAN)
    python = "import sys, jupyterhub.singleuser; print(sys.executable)"
    assert bench.run(built, "/srv/environment/bin/python", "-I", "-c", python).stdout == "/srv/environment/bin/python\n"


@pytest.mark.parametrize(
    ("steps", "error", "said"),
    [
        ("RUN echo so && exit 3", BuildFailed, "Dockerfile line 4 failed with status 3"),
        ("ENV PATH=/usr/bin:/bin", BuildFailed, "has no jupyterhub-singleuser"),
        ("COPY nothing /x", RecipeInvalid, "there is no such file"),
        ("COPY --chown=nobody-here Dockerfile /x", RecipeInvalid, "no user and group"),
        ("ADD https://example.org/x /x", RecipeUnsupported, "ADD of an address"),
        # a fork bomb, more memory and more disk than there is, and nothing but words
        (f"RUN python3 -c '{FORKS}'", BuildLimitExceeded, "processes"),
        ("RUN python3 -c 'x = bytearray(10**9)'", (BuildLimitExceeded, BuildFailed), ""),
        ("RUN for n in $(seq 99); do head -c 40000000 /dev/zero > /big$n; done", BuildLimitExceeded, "to disk"),
        # each layer within the limit, and a shell that is no shell when the image is made ready
        ("RUN head -c 60000000 /dev/zero > /a\nRUN head -c 60000000 /dev/zero > /b", BuildLimitExceeded, "to disk"),
        (f"RUN {FALSE_MKDIR}", BuildFailed, "sessions failed with status 7"),
    ],
)  # fmt: skip
async def test_a_build_that_cannot_be_ends_in_words(build, steps, error, said):
    with pytest.raises(error) as ended:
        await build(BASE + steps + "\n")
    assert said in ended.value.message


async def test_the_end_of_a_build_ends_no_session_in_what_it_made(bench, container_engine):
    # as an image has it whose container was the build's
    labels = {**ours(bench.config.state_directory, Kind.SESSION), BUILD: "one"}
    async with Engine(container_engine) as engine:
        session = await engine.create(ContainerOrder(image=bench.site.base.id, command=("true",), labels=labels))
        try:
            await bench.builder.reap("one")
            assert await engine.container(session) is not None
        finally:
            await engine.remove(session)


async def test_endless_output_ends_the_build(build):
    class Full(MemoryLog):
        def write(self, text):
            super().write(text)
            if len(self.text) > 100_000:
                raise BuildLimitExceeded("The build said too much.")

    with pytest.raises(BuildLimitExceeded, match="too much"):
        await build(f"{BASE}RUN yes\n", log=Full())


async def test_what_a_step_leaves_running_ends_with_it_and_a_cancelled_build_leaves_nothing(build):
    steps = "RUN (sleep 1000 &) ; echo left\nRUN pgrep sleep && exit 9; echo none; sleep 1000\n"
    waiting = asyncio.Event()
    log = MemoryLog(said=lambda text: waiting.set() if "none\n" in text else None)
    task = asyncio.ensure_future(build(f"{BASE}{steps}", log=log))
    await asyncio.wait({task, asyncio.ensure_future(waiting.wait())}, return_when=asyncio.FIRST_COMPLETED)
    assert waiting.is_set(), log.text
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_steps_reach_what_the_proxy_allows_and_nothing_else(container_site, tmp_path):
    async with WebServer() as allowed, WebServer() as other:
        allowed.anything = other.anything = response(200)
        fetch = "python3 -c \"import urllib.request as u; print(u.urlopen('{}', timeout=5).status)\""
        direct = "python3 -c \"import socket; socket.create_connection(('127.0.0.1', {}), 5)\""
        port = other.host.rpartition(":")[2]
        dockerfile = (
            f"{BASE}RUN {fetch.format(allowed.url())}\nRUN {fetch.format(other.url())} && exit 9 || echo refused\n"
            f"RUN {direct.format(port)} && exit 9 || echo no way\nRUN --network=none {fetch.format(allowed.url())}\n"
        )
        with container_building(
            tmp_path / "bench", container_site, limits=LIMITS, allow_hosts=(allowed.host,)
        ) as bench:
            builder = ContainerBuilder(bench.config, container_site, [DockerfileWay(container_site, bench.config)])
            log = MemoryLog()
            wanted = request(tmp_path, {"Dockerfile": dockerfile}, RecipeKind.DOCKERFILE, "Dockerfile", tree="0" * 40)
            with pytest.raises(BuildFailed, match="line 7"):
                await builder.build(wanted, log)
        assert "200\n" in log.text
        assert "refused\n" in log.text
        assert "no way\n" in log.text
