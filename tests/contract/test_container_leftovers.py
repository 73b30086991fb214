"""What a launcher leaves in an engine goes when nobody uses it, and never with anything that is used."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from launcher.builders.container import leftovers
from launcher.builders.container.images import EnvironmentImage, built_before, image_name
from launcher.builders.container.leftovers import collect_layers, remove_ended
from launcher.engine.base import ContainerOrder, ImageConfig
from launcher.engine.labels import STATE, Kind, ours, state_id
from launcher.models import SessionMode
from tests.support.engine import container_engine, engine

__all__ = ["container_engine", "engine"]


@pytest.fixture
async def make(engine, tmp_path) -> AsyncIterator:
    """Makes small images of a launcher with the state directory ``tmp_path``; all of them go in the end."""

    async def _make(kind: Kind, content: str, name: str = "", **more: str) -> str:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo("content")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))

        async def pieces() -> AsyncIterator[bytes]:
            yield buffer.getvalue()

        # What is in it makes its layers, the label makes it another image.
        config = ImageConfig(labels={**ours(tmp_path, kind, **more), "launcher.test": f"{tmp_path} {name}"})
        return await engine.import_image(pieces(), f"localhost/launcher/test:{tmp_path.name}-{name or content}", config)

    yield _make
    mine = {STATE: state_id(tmp_path)}
    for container in await engine.containers(mine):
        await engine.remove(container.id)
    for image in await engine.images(mine):
        await engine.remove_image(image.id, every_name=True)


def order(image: str, state, kind: Kind) -> ContainerOrder:
    return ContainerOrder(image=image, command=("/content",), labels=ours(state, kind))


async def test_an_image_that_a_container_uses_stays_with_the_container(engine, make, tmp_path) -> None:
    image = await make(Kind.ENVIRONMENT, "used")
    await engine.tag(image, f"localhost/launcher/test:{tmp_path.name}-more")
    container = await engine.create(order(image, tmp_path, Kind.SESSION))
    assert not await engine.remove_image(image, every_name=True)
    assert await engine.container(container) is not None
    assert await engine.image(image) is not None
    await engine.remove(container)
    assert await engine.remove_image(image, every_name=True)
    assert await engine.image(image) is None
    assert await engine.remove_image(image, every_name=True)


async def test_layers_of_packages_go_when_no_environment_is_made_of_them(engine, make, tmp_path) -> None:
    base = await engine.image(await make(Kind.BUILD, "base"))
    below = await make(Kind.PACKAGES, "below")
    await make(Kind.ENVIRONMENT, "below", "environment")  # of the same layers
    alone, held = await make(Kind.PACKAGES, "alone"), await make(Kind.PACKAGES, "held")
    await engine.create(order(held, tmp_path, Kind.BUILD))
    later = datetime.now(UTC) + timedelta(minutes=1)
    await collect_layers(engine, tmp_path, base, datetime.now(UTC) - timedelta(days=1))
    assert await engine.image(alone) is not None
    await collect_layers(engine, tmp_path / "another", base, later)
    assert await engine.image(alone) is not None
    await collect_layers(engine, tmp_path, base, later)
    assert await engine.image(alone) is None
    assert None not in [await engine.image(one) for one in (below, held, base.id)]


async def test_sessions_that_ended_long_ago_are_removed_builds_are_not_its_business(
    engine, make, tmp_path, monkeypatch
) -> None:
    image = await make(Kind.ENVIRONMENT, "environment")
    kinds = (Kind.SESSION, Kind.BUILD, Kind.BASE)
    session, build, base = [await engine.create(order(image, tmp_path, kind)) for kind in kinds]
    await remove_ended(engine, tmp_path)
    assert await engine.container(session) is not None
    monkeypatch.setattr(leftovers, "_AFTER", timedelta(seconds=-60))
    await remove_ended(engine, tmp_path / "another")
    assert await engine.container(session) is not None
    await remove_ended(engine, tmp_path)
    assert await engine.container(session) is None
    assert await engine.container(base) is None
    assert await engine.container(build) is not None


async def test_labels_that_an_image_brings_do_not_make_it_an_environment_that_was_built_here(
    engine, make, tmp_path
) -> None:
    known = EnvironmentImage(f"sha256:{0:064}", SessionMode.FULL, "3.11.2", "lock", (), editable=False)
    labels = {name.removeprefix("launcher."): value for name, value in known.labels().items()}
    image = await make(Kind.ENVIRONMENT, "brought", environment="wanted", **labels)
    assert await built_before(engine, tmp_path, "wanted") is None
    await engine.tag(image, image_name(tmp_path, "wanted"))
    found = await built_before(engine, tmp_path, "wanted")
    assert found is not None
    assert found.reference == image
