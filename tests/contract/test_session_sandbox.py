"""What a session can do to its run directory, in each runtime: its clusters get parts of it by their paths."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.builders.process.sandbox import check_sandbox
from launcher.engine.client import Engine
from launcher.engine.find import EngineAddress
from launcher.engine.identity import identify
from launcher.engine.labels import Kind, ours
from launcher.errors import SandboxUnavailable
from launcher.hub.container.order import furnish_ways, isolated_order, session_binds
from launcher.hub.container.relays import CONTAINER_NAME, DOORS_NAME
from launcher.hub.homes import give_tree
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME
from launcher.hub.session import INSIDE_NAME, RUN, session_sandbox
from tests.support.clusters import settings_of
from tests.support.engine import base_image, container_engine
from tests.support.running import SERVER_ENVIRONMENTS

__all__ = ["base_image", "container_engine"]

REPLACE_EVERYTHING = """
cd /run
for path in launcher session launcher/* session/* session/variables/* doors doors/*; do
    mv "$path" "$path.old" 2>/dev/null || rm -rf "$path" 2>/dev/null
    ln -s / "$path" 2>/dev/null
done
mkdir -p launcher/variables 2>/dev/null
echo "$(ls -d /run/launcher*/.. | wc -l)"
"""


class ProcessSession:
    own = frozenset({INSIDE_NAME, "tmp", VARIABLES_NAME, ALIVE_NAME})

    def __init__(self, directory: Path) -> None:
        self.directory, self.run = directory, directory / "run"
        for name in (INSIDE_NAME, "tmp", VARIABLES_NAME):
            (self.run / name).mkdir(parents=True)
        (self.run / ALIVE_NAME).touch()
        (directory / "home").mkdir()

    async def says(self, script: str) -> str:
        settings = settings_of(self.directory / "state", SERVER_ENVIRONMENTS["hub6"])
        sandbox = session_sandbox(settings, None, home=self.directory / "home", run=self.run)
        done = subprocess.run(  # noqa: ASYNC221 - nothing else happens meanwhile
            sandbox.argv(["/bin/sh", "-c", script]),
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


class ContainerSession(ProcessSession):
    own = ProcessSession.own | {DOORS_NAME}

    def __init__(self, directory: Path, engine: Engine, image: str) -> None:
        super().__init__(directory)
        self._engine, self._image = engine, image
        furnish_ways(self.run, [], forget=[], owner=None)

    async def says(self, script: str) -> str:
        identity = identify(await self._engine.info(), os.getuid(), os.getgid())
        if identity.owner is not None:
            for name in ("run", "home"):
                give_tree(self.directory / name, (identity.owner, identity.owner))
        order = isolated_order(
            self._image,
            "/srv/server/bin/python",
            ["/bin/sh", "-c", script],
            file=f"{RUN}/{CONTAINER_NAME}",
            labels=ours(self.directory / "state", Kind.SESSION),
        )
        binds = (*order.binds, *session_binds(self.run, self.directory / "home", None))
        order = replace(order, binds=binds, user=identity.user, user_namespace=identity.user_namespace)
        async with self._engine.run(order) as running:
            said = b"".join([piece async for piece in running.output])
            assert (await running.wait()).status == 0, said
        return said.decode()


@pytest.fixture(params=["process", "container"])
def site(request: pytest.FixtureRequest) -> tuple[EngineAddress, str] | None:
    """The engine and the image of the container runtime."""
    if request.param == "container":
        return request.getfixturevalue("container_engine"), request.getfixturevalue("base_image")
    try:
        check_sandbox()
    except SandboxUnavailable as error:
        pytest.skip(error.message)
    return None


@pytest.fixture
async def session(site: tuple[EngineAddress, str] | None, tmp_path: Path) -> AsyncIterator[ProcessSession]:
    if site is None:
        yield ProcessSession(tmp_path)
        return
    address, image = site
    async with Engine(address) as engine:
        yield ContainerSession(tmp_path, engine, image)


async def test_a_session_cannot_put_links_where_its_clusters_look(session: ProcessSession) -> None:
    run = session.run
    assert await session.says(REPLACE_EVERYTHING)
    assert not (run / VARIABLES_NAME).is_symlink()
    assert (run / VARIABLES_NAME).is_dir()
    assert not (run / ALIVE_NAME).is_symlink()
    assert (run / ALIVE_NAME).is_file()
    assert {path.name for path in run.iterdir()} == session.own


async def test_a_session_leaves_its_variables_and_sees_nothing_else_of_its_run_directory(
    session: ProcessSession,
) -> None:
    (session.run / INSIDE_NAME / "session.json").write_text("{}")
    script = "echo text > /run/session/variables/environment.json; ls /run/launcher /run/session"
    said = (await session.says(script)).split()
    assert [word for word in said if word != CONTAINER_NAME] == [
        "/run/launcher:",
        "session.json",
        "/run/session:",
        "alive",
        "variables",
    ]
    assert (session.run / VARIABLES_NAME / "environment.json").read_text() == "text\n"
