"""Environments in a private registry: pushed, pulled back exactly, whatever others write there; passwords stay out."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from launcher.builders.container.shared import SharedBuilder
from launcher.builders.fake import FakeBuilder
from launcher.engine.base import ImageConfig
from launcher.engine.client import Engine
from launcher.engine.config import LauncherContainers
from launcher.engine.find import EngineAddress
from launcher.engine.registry import Registry, registry_finding
from launcher.engine.service import OwnEngine
from launcher.errors import ConfigurationInvalid, RegistryUnavailable
from launcher.models import BuildRequest, BuiltEnvironment, RecipeKind, SessionMode
from tests.support.builds import MemoryLog, request
from tests.support.registry import PASSWORD, RunningRegistry, running_registry


@pytest.fixture(scope="module")
def registry_server(tmp_path_factory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def address(registry_server, tmp_path_factory) -> Iterator[EngineAddress]:
    """A podman with an empty storage of its own that trusts the registry's authority."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    own = OwnEngine(tmp_path_factory.mktemp("engine"))
    # In a process of its own: the engine is meant to outlive whoever starts it.
    program = "import sys; from pathlib import Path; from launcher.engine.service import OwnEngine; "
    program += "OwnEngine(Path(sys.argv[1])).ensure()"
    variables = {**os.environ, "SSL_CERT_FILE": str(registry_server.certificate)}
    subprocess.run([sys.executable, "-c", program, own.directory], env=variables, check=True)
    yield EngineAddress(f"unix://{own.socket}", "a test", own)
    own.stop()
    subprocess.run(["podman", "system", "reset", "--force"], env=own.variables(), check=False, capture_output=True)
    shutil.rmtree(own.run, ignore_errors=True)


@pytest.fixture
async def engine(address) -> AsyncIterator[Engine]:
    async with Engine(address) as connected:
        yield connected


async def an_image(engine: Engine, content: str) -> str:
    """A small image; its id."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("content")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content.encode()))

    async def pieces() -> AsyncIterator[bytes]:
        yield buffer.getvalue()

    return await engine.import_image(pieces(), f"localhost/launcher/test:{content}", ImageConfig())


@pytest.fixture
def shelf(registry_server, tmp_path, request) -> Registry:
    """A repository of its own for each test."""
    name = request.node.name.replace("_", "-")[:40].strip("-")
    return Registry(f"{registry_server.host}/binder/{name}", registry_server.login("good.json"), tmp_path / "memory")


async def gone(engine: Engine, image: str) -> None:
    await engine.remove_image(image, every_name=True)
    assert await engine.image(image) is None


async def test_an_image_that_is_gone_comes_back_as_the_same_image(engine, shelf) -> None:
    image = await an_image(engine, "first")
    await shelf.push(engine, image)
    await gone(engine, image)
    assert await shelf.pull(engine, image)
    assert (await engine.image(image)).id == image


async def test_a_tag_that_somebody_overwrote_changes_nothing(engine, shelf, registry_server, tmp_path) -> None:
    image, evil = await an_image(engine, "good"), await an_image(engine, "evil")
    await shelf.push(engine, image)
    await shelf.push(engine, evil)
    path = shelf.repository.partition("/")[2]
    tag, other = image.removeprefix("sha256:"), evil.removeprefix("sha256:")
    status, manifest = registry_server.ask(f"{path}/manifests/{other}")
    assert status == 200
    kind = json.loads(manifest).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
    assert registry_server.ask(f"{path}/manifests/{tag}", "PUT", manifest, kind)[0] == 201
    for one in (image, evil):
        await gone(engine, one)
    stranger = Registry(shelf.repository, registry_server.login("good.json"), tmp_path / "nothing-known")
    assert not await stranger.pull(engine, image)  # it knows the tag only, and that is another image now
    assert await engine.image(evil) is None
    assert await shelf.pull(engine, image)  # it knows the digest
    assert (await engine.image(image)).id == image


async def test_another_machine_finds_an_environment_by_its_name(engine, shelf, registry_server, tmp_path) -> None:
    image = await an_image(engine, "elsewhere")
    await shelf.push(engine, image)
    await gone(engine, image)
    other = Registry(shelf.repository, registry_server.login("good.json"), tmp_path / "other-machine")
    assert await other.pull(engine, image)
    assert not await other.pull(engine, f"sha256:{'0' * 64}")
    assert not await other.pull(engine, "latest")


async def test_a_wrong_password_and_a_registry_that_is_away_are_told_apart(
    engine, shelf, registry_server, tmp_path
) -> None:
    image = await an_image(engine, "refused")
    wrong = Registry(shelf.repository, registry_server.login("wrong.json", "guessed"), tmp_path)
    away = Registry("127.0.0.1:9/binder/environments", None, tmp_path)
    for registry, words in ((wrong, "refused the launcher's password"), (away, "does not answer")):
        for deed in (registry.push, registry.pull):
            with pytest.raises(RegistryUnavailable, match=words) as refused:
                await deed(engine, image if deed == registry.push else f"sha256:{'1' * 64}")
            said = f"{refused.value.message} {refused.value.hint}"
            assert "guessed" not in said
            assert "127.0.0.1" not in said
    assert (await engine.image(image)).names == ("localhost/launcher/test:refused",)


def test_odd_settings_are_refused_with_words(registry_server, tmp_path) -> None:
    for name in ("registry", "https://registry/x", "Registry.example/x", "host/../x", "host/x:tag", "host/x y"):
        with pytest.raises(ConfigurationInvalid, match="HOST/PATH"):
            Registry(name, None, tmp_path)
    (tmp_path / "odd.json").write_text("{not json")
    good = registry_server.login("good.json")
    for repository, file, words in (
        (f"{registry_server.host}/x", tmp_path / "nowhere", "cannot be read"),
        (f"{registry_server.host}/x", tmp_path / "odd.json", "cannot be read"),
        ("registry.example.org/x", good, "has no password for registry.example.org"),
    ):
        with pytest.raises(ConfigurationInvalid, match=words):
            Registry(repository, file, tmp_path).login()


def test_the_check_says_whether_the_registry_can_be_used(address, registry_server, tmp_path) -> None:
    good, wrong = registry_server.login("good.json"), registry_server.login("wrong.json", "guessed")
    found = []
    for file in (good, wrong, tmp_path / "nowhere"):
        traits = LauncherContainers(engine=address.url, registry=f"{registry_server.host}/x")
        traits.registry_credentials = str(file)
        found.append(registry_finding(traits.settings(), tmp_path))
    assert [finding.good for finding in found] == [True, False, False]
    assert found[0].what == f"registry {registry_server.host}/x"
    assert "password" in found[1].what
    assert "cannot be read" in found[2].what


class OneImage(FakeBuilder):
    """Builds one small image in the engine; what it says goes to the log."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    async def build(self, request: BuildRequest, log: MemoryLog) -> BuiltEnvironment:
        image = await an_image(self._engine, request.build_id)
        return BuiltEnvironment(image, "f" * 64, SessionMode.KERNEL, "3.11", 1)

    async def exists(self, reference: str) -> bool:
        return await self._engine.image(reference) is not None

    async def remove(self, reference: str) -> None:
        await self._engine.remove_image(reference, every_name=True)


@pytest.fixture
def shared(engine, shelf) -> SharedBuilder:
    @asynccontextmanager
    async def connected() -> AsyncIterator[Engine]:
        yield engine

    return SharedBuilder(OneImage(engine), shelf, connected)


def wanted(directory: Path) -> BuildRequest:
    return request(directory, {"requirements.txt": ""}, RecipeKind.REQUIREMENTS, "requirements.txt")


async def test_what_was_built_is_pushed_and_exists_when_it_is_gone_here(shared, engine, tmp_path) -> None:
    log = MemoryLog()
    built = await shared.build(wanted(tmp_path), log)
    assert "kept in the registry" in log.text
    await gone(engine, built.reference)
    assert await shared.exists(built.reference)
    assert (await engine.image(built.reference)).id == built.reference
    await shared.remove(built.reference)
    assert await engine.image(built.reference) is None


async def test_a_registry_that_refuses_ends_no_build_and_no_password_is_said(
    shared, shelf, registry_server, tmp_path, capfd
) -> None:
    good = shelf._credentials
    shelf._credentials = registry_server.login("wrong.json", "guessed wrongly")
    log = MemoryLog()
    built = await shared.build(wanted(tmp_path), log)
    assert "on this machine only. The registry refused the launcher's password." in log.text
    assert await shared.exists(built.reference)
    assert not await shared.exists(f"sha256:{'2' * 64}")
    shelf._credentials = good
    await shared.build(wanted(tmp_path), log)
    said = capfd.readouterr()
    for text in (log.text, said.out, said.err, (registry_server.directory / "log").read_text()):
        assert "guessed wrongly" not in text
        assert PASSWORD not in text
