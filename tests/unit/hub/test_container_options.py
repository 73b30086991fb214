"""What people may ask of a session's container, and by which way."""

from __future__ import annotations

from dockerspawner import DockerSpawner

from launcher.hub.container.spawner import ContainerSpawnerMixin


class Spawner(ContainerSpawnerMixin, DockerSpawner):
    """The runtime's own, without a hub."""


def test_a_form_chooses_an_image_and_a_link_does_not() -> None:
    asked = {"image": ["quay.io/org/image"]}
    assert Spawner().options_from_form(asked) == {"image": "quay.io/org/image"}
    assert Spawner().options_from_query(asked) == {}
