"""An engine or a registry that is silent holds up nobody else."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.engine import registry
from launcher.engine.connection import Connection
from launcher.engine.find import EngineAddress
from launcher.engine.registry import Registry
from launcher.errors import RegistryUnavailable


async def test_a_silent_engine_of_our_own_holds_up_nobody_else(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "engine.sock"))
        silent.listen()
        silent.setblocking(False)
        own: Any = SimpleNamespace(ensure=lambda: None)
        connection = Connection(EngineAddress(f"unix://{tmp_path}/engine.sock", "a test's", own))
        asking = asyncio.ensure_future(connection.awake())
        accepted, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(silent), 5)
        assert not asking.done()  # it waits for an answer while others go on
        accepted.close()
        await asking
        await connection.close()


async def test_a_registry_that_comes_to_no_end_is_as_good_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object) -> None:
        await asyncio.sleep(3600)

    engine: Any = SimpleNamespace(transfers=SimpleNamespace(pull=never))
    monkeypatch.setattr(registry, "_SECONDS", 0.01)
    with pytest.raises(RegistryUnavailable, match="too long"):
        await Registry("registry.example.org/binder", None, tmp_path).pull(engine, f"sha256:{0:064}")
