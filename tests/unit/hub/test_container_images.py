"""Which image a session may start from, and what of it is kept from the session's server."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from launcher.engine.base import Image, is_allowed_image
from launcher.errors import SessionStartFailed
from launcher.hub.container.images import baked_in, named_image


def image(**environment: str) -> Image:
    return Image("sha256:" + "0" * 64, (), (), {}, 1, datetime.now(UTC), (), environment, "")


class Nothing:
    """An engine that has no image."""

    async def image(self, name: str) -> None:
        return None


@pytest.mark.parametrize(
    "name",
    [
        "quay.io/org/image",
        "quay.io/org/deep/image:2026-11",
        "quay.io:5000/org/image@sha256:" + "a" * 64,
        "quay.io/org/image_with.dots-and--dashes:tag",
    ],
)
def test_what_the_operator_allows_can_be_named(name: str) -> None:
    assert is_allowed_image(name, ["quay.io*/org/*"])


@pytest.mark.parametrize(
    "name",
    [
        "docker.io/org/image",
        "quay.io/org/../other/image",
        "quay.io/org/%2e%2e/other",
        "quay.io/org/./image",
        "quay.io/org//image",
        "quay.io/org/image?x",
        "quay.io/org/image#x",
        "quay.io/org/image\nquay.io/other",
        "quay.io/org/image json",
        "quay.io/org/",
        "../quay.io/org/image",
        "quay.io/org/İmage",
        "",
    ],
)
def test_other_images_and_names_with_two_meanings_cannot(name: str) -> None:
    assert not is_allowed_image(name, ["quay.io/org/*"])


def test_without_patterns_no_image_can_be_named() -> None:
    assert not is_allowed_image("quay.io/org/image", [])


async def test_an_image_that_is_not_there_is_said_to_be_missing() -> None:
    nothing: Any = Nothing()
    with pytest.raises(SessionStartFailed, match="not on the hub's machine"):
        await named_image(nothing, "quay.io/org/image")


@pytest.mark.parametrize(
    ("kind", "may"), [("environment", False), ("layer", False), ("base", True), ("session", True), (None, True)]
)
async def test_what_was_built_for_a_repository_is_never_started_as_an_image(kind: str | None, may: bool) -> None:
    found = replace(image(), labels={"launcher.kind": kind} if kind else {})

    class Engine:
        async def image(self, name: str) -> Image:
            return found

    name = found.id  # which the pattern * matches
    if may:
        assert await named_image(Engine(), name) is found  # type: ignore[arg-type]
        return
    with pytest.raises(SessionStartFailed) as refused:
        await named_image(Engine(), name)  # type: ignore[arg-type]
    assert "repository" in refused.value.hint


def test_variables_of_a_login_are_forgotten_unless_they_are_the_hub_s() -> None:
    found = image(
        JUPYTERHUB_API_TOKEN="baked", JUPYTERHUB_SERVICE_PREFIX="/x", JPY_COOKIE_SECRET="baked", JUPYTER_TOKEN="baked",
        jupyter_password="baked", CONFIGPROXY_AUTH_TOKEN="baked", PATH="/bin", JUPYTER_PORT="8888",
    )  # fmt: skip
    assert baked_in(found, {"JUPYTERHUB_API_TOKEN": "of the hub"}) == [
        "CONFIGPROXY_AUTH_TOKEN", "JPY_COOKIE_SECRET", "JUPYTERHUB_SERVICE_PREFIX", "JUPYTER_TOKEN", "jupyter_password",
    ]  # fmt: skip
