"""A real podman for tests: the launcher's own kind of engine, with storage and settings below ``.cache/containers``.

A conftest or test file imports the fixtures it wants: ``from tests.support.engine import container_engine``.
Runs of tests at the same time share the engine; the last one ends its service, the first one removes what killed ones
left.
"""

import contextlib
import fcntl
import shutil

import pytest

from launcher.engine.base_image import base_image_name
from launcher.engine.client import Engine
from launcher.engine.config import LauncherContainers
from launcher.engine.find import EngineAddress
from launcher.engine.labels import KIND, STATE, Kind
from launcher.engine.service import OwnEngine
from launcher.engine.sockets import UNIX
from launcher.errors import EngineUnavailable
from tests.support.running import ROOT

STATE_DIRECTORY = ROOT / ".cache" / "containers"
SETTINGS = LauncherContainers().settings()


def own_engine() -> EngineAddress:
    """The engine of the tests, running. Skips, saying what is missing."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed: run scripts/setup-tests as root on Debian or Ubuntu")
    own = OwnEngine(STATE_DIRECTORY / "engine")
    try:
        own.ensure()
    except EngineUnavailable as error:
        pytest.skip(f"podman does not run here: {error.hint}")
    return EngineAddress(f"{UNIX}{own.socket}", "the tests' own podman", own)


@pytest.fixture(scope="session")
def container_engine():
    """Address of a real engine: `EngineAddress`; ``url`` is what ``DOCKER_HOST`` and our settings take."""
    STATE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (STATE_DIRECTORY / "users.lock").open("w") as lock:
        alone = _take(lock, fcntl.LOCK_EX)
        address = own_engine()
        if alone:
            _tidy(address)
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield address
        if _take(lock, fcntl.LOCK_EX) and address.own is not None:
            address.own.stop()


@pytest.fixture(scope="session")
def base_image(container_engine):
    """Id of the base image that scripts/setup-tests made."""
    image = _ask(container_engine, lambda engine: engine.image(base_image_name(SETTINGS)))
    if image is None:
        pytest.skip("the base image is missing: run scripts/setup-tests")
    return image.id


@pytest.fixture
async def engine(container_engine):
    """A client of the engine, for one test."""
    async with Engine(container_engine) as client:
        yield client


def _take(lock, kind):
    """Whether the lock could be had at once."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
        return True
    return False


def _ask(address, question):
    """Put one question to the engine, outside of any test's event loop."""
    import asyncio

    async def ask():
        async with Engine(address) as engine:
            return await question(engine)

    return asyncio.run(ask())


async def _remove_all(engine):
    for container in await engine.containers({STATE: ""}):
        await engine.remove(container.id)
    for image in await engine.images():
        if image.labels.get(KIND) != Kind.BASE:
            await engine.remove_image(image.id, every_name=True)


def _tidy(address):
    """Remove what a killed run left; only the base image stays."""
    _ask(address, _remove_all)
