"""What people may ask of a session's container, and by which way."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dockerspawner import DockerSpawner
from traitlets.config import Config

from launcher.config_files import read_settings
from launcher.errors import EngineError, SessionStartFailed
from launcher.hub import isolated
from launcher.hub.container.spawner import ContainerSpawnerMixin
from tests.support.running import eventually


class Spawner(ContainerSpawnerMixin, DockerSpawner):
    """The runtime's own, without a hub."""


def test_images_that_people_may_name_have_the_launchers_form() -> None:
    def shows_form(**settings: Any) -> bool:
        read = read_settings(Config({"Launcher": {"runtime": "container"}, "LauncherContainers": settings}))
        return ContainerSpawnerMixin.shows_form(read)

    assert shows_form(allowed_images=["quay.io/org/*"])
    assert not shows_form()
    assert Spawner().options_form == "", "dockerspawner's own form offers what nobody here starts"


async def test_what_an_engine_says_of_this_machine_is_for_the_log_and_not_for_people() -> None:
    class Refusing:
        async def remove(self, _: str) -> None:
            raise EngineError("The container engine refused.", hint="It says: /var/lib/containers/storage is full")

    spawner: Any = Spawner()
    spawner._on_engine = SimpleNamespace(engine=Refusing())
    spawner.object_name = "launcher-someone"
    with pytest.raises(SessionStartFailed) as refused:
        await spawner._run(None)
    assert "/var" not in refused.value.message + refused.value.hint


def test_the_hub_does_not_wait_for_the_end_of_what_a_session_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    gone = []
    monkeypatch.setattr(isolated.shutil, "rmtree", lambda path, *_: goes_on.wait(10) and gone.append(path))
    monkeypatch.setattr(isolated.SessionRecords, "remove", lambda *_: None)
    spawner: Any = Spawner(user=SimpleNamespace(name="someone", settings={}))
    spawner.launch_settings = SimpleNamespace(state=tmp_path)
    spawner.run_directory = str(tmp_path)
    spawner.clear_state()
    assert not gone
    goes_on.set()
    eventually(lambda: gone == [str(tmp_path)], what="the end of the run directory")
