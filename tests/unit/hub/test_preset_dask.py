"""What Dask adds to an operator's configuration, beside what is there, once, and out again."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import pytest
from traitlets.config import Config

import launcher

SCOPE = "access:services!service=dask-gateway"
SPAWNER = SimpleNamespace(user=SimpleNamespace(db=None))


def enabled(c: Config, state: Path, **settings) -> Config:
    launcher.enable(c, state_directory=str(state), **{"dask": True, **settings})
    return c


def names(c: Config) -> list[str]:
    return [service["name"] for service in c.JupyterHub.services]


def scopes_of(c: Config, role: str) -> list[list[str]]:
    return [one["scopes"] for one in c.JupyterHub.load_roles if one["name"] == role]


async def token_scopes(section: Config) -> list[str]:
    found = section.server_token_scopes(SPAWNER)
    return await found if inspect.isawaitable(found) else found


async def later(_spawner) -> list[str]:
    return ["read:users!user"]


@pytest.mark.parametrize("own", [["read:users!user"], lambda _: ["read:users!user"], later])
@pytest.mark.parametrize("section", ["Spawner", "LocalProcessSpawner", "SimpleLocalProcessSpawner"])
async def test_an_operators_own_scopes_of_tokens_stay_wherever_they_are_said(tmp_path, own, section):
    c = Config()
    c.JupyterHub.spawner_class = "simple"
    c[section].server_token_scopes = own
    for _ in range(2):
        enabled(c, tmp_path)
        assert await token_scopes(c[section]) == ["read:users!user", SCOPE]


async def test_scopes_that_were_appended_stay(tmp_path):
    c = Config()
    c.Spawner.server_token_scopes.append("read:users!user")
    assert await token_scopes(enabled(c, tmp_path).Spawner) == ["read:users!user", SCOPE]


def test_enabling_twice_adds_everything_once(tmp_path):
    c = Config()
    c.JupyterHub.load_roles = [{"name": "user", "scopes": ["self", "shares!user"]}, {"name": "other", "scopes": []}]
    c.JupyterHub.services = [{"name": "cull"}]
    for _ in range(2):
        enabled(c, tmp_path)
        assert names(c) == ["cull", "binder", "dask-gateway"]
        assert scopes_of(c, "user") == [["self", "shares!user", "access:services!service=binder", SCOPE]]
        assert scopes_of(c, "other") == [[]]


def test_the_second_call_decides_for_whom_it_is(tmp_path):
    c = enabled(Config(), tmp_path)
    c.LauncherDask.groups = ["course"]
    enabled(c, tmp_path)
    assert scopes_of(c, "user") == [["self", "access:services!service=binder"]]
    assert scopes_of(c, "launcher-dask") == [[SCOPE]]
    c.LauncherDask.groups = []
    enabled(c, tmp_path)
    assert scopes_of(c, "user") == [["self", "access:services!service=binder", SCOPE]]
    assert scopes_of(c, "launcher-dask") == []


def test_switched_off_by_a_later_call_it_leaves_no_trace(tmp_path):
    c = Config()
    c.SimpleLocalProcessSpawner.server_token_scopes = ["read:users!user"]
    c.JupyterHub.spawner_class = "simple"
    c.LauncherDask.groups = ["course"]
    c.LauncherDask.service_name = "dask"
    enabled(enabled(c, tmp_path), tmp_path, dask=False)
    assert names(c) == ["binder"]
    assert c.JupyterHub.load_roles == [
        {
            "name": "user",
            "description": "Standard user privileges",
            "scopes": ["self", "access:services!service=binder"],
        }
    ]
    assert c.SimpleLocalProcessSpawner.server_token_scopes == ["read:users!user"]
