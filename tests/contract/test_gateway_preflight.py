"""A gateway that cannot start says why in a sentence; one that cannot write says so and leaves nothing half made."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from launcher.config import SETTINGS_VARIABLE, Settings
from launcher.dask.middleware import speak_in_sentences
from launcher.hub.dask import with_ports
from tests.support.backend import running_backend
from tests.support.clusters import settings_of
from tests.support.running import ROOT


def completed(state: Path) -> Settings:
    settings = settings_of(state, Path(sys.prefix))
    return replace(settings, dask=with_ports(settings.dask, state))


def run_gateway(settings: Settings) -> subprocess.CompletedProcess[str]:
    """What the service says when it ends by itself."""
    environment = {
        "PATH": os.environ["PATH"],
        SETTINGS_VARIABLE: settings.to_json(),
        "JUPYTERHUB_SERVICE_PREFIX": "/services/dask-gateway/",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_API_URL": "http://127.0.0.1:1/hub/api",
        "JUPYTERHUB_API_TOKEN": secrets.token_hex(16),
        "JUPYTERHUB_CLIENT_ID": "service-dask-gateway",
        "JUPYTERHUB_SERVICE_NAME": "dask-gateway",
    }
    command = [sys.executable, "-m", "launcher", "dask-gateway"]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def nonsense(path: Path) -> None:
    path.write_bytes(b"no database at all, whatever it is\n" * 100)


def other_tables(path: Path) -> None:
    with sqlite3.connect(path) as database:
        for table in ("clusters", "workers"):
            database.execute(f"create table {table} (id integer primary key, name text)")
    database.close()


async def other_key(path: Path) -> None:
    async with running_backend(path.parents[1]) as gateway:
        await gateway.backend.start_cluster(gateway.user(), {})
    (path.parents[1] / "secrets" / "dask-database").write_text(secrets.token_hex(32))


@pytest.mark.parametrize("spoil", [nonsense, other_tables, other_key])
async def test_a_database_that_cannot_be_read_is_a_sentence(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path = tmp_path / "dask" / "gateway.sqlite"
    path.parent.mkdir()
    spoiling = spoil(path)
    if asyncio.iscoroutine(spoiling):
        await spoiling
    before = path.read_bytes()
    done = await asyncio.to_thread(run_gateway, completed(tmp_path))
    assert done.returncode == 1
    assert "launcher: The database of Dask-Gateway is damaged, of another version, or its key" in done.stderr
    assert "Traceback" not in done.stderr
    assert str(tmp_path) not in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("trait", ["port", "api_port", "dashboards_port"])
def test_a_port_that_somebody_else_has_is_a_sentence_and_nobody_is_sent_there(tmp_path: Path, trait: str) -> None:
    settings = completed(tmp_path)
    with socket.create_server(("127.0.0.1", getattr(settings.dask, trait))):
        done = run_gateway(settings)
    assert done.returncode == 1
    assert f"Another program listens on port {getattr(settings.dask, trait)}" in done.stderr
    assert f"c.LauncherDask.{trait}" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_full_disk_is_a_sentence_and_leaves_no_cluster(tmp_path: Path) -> None:
    async with running_backend(tmp_path) as gateway:

        async def create(_: web.Request) -> web.Response:
            return web.json_response({"name": await gateway.backend.start_cluster(gateway.user(), {})})

        application = web.Application(middlewares=[speak_in_sentences])
        application.router.add_post("/", create)
        fill_up(gateway.backend.db.db)
        async with TestClient(TestServer(application, host="127.0.0.1")) as client:
            for _ in range(10):
                answer = await client.post("/", json={})
                if answer.status != 200:
                    break
            made = set(gateway.backend.db.name_to_cluster)
            assert answer.status == 503
            assert (await answer.json())["error"].startswith("The disk with the state directory is full.")
            assert (await client.post("/", json={})).status == 503
        assert set(gateway.backend.db.name_to_cluster) == made
        assert set(gateway.backend.db.username_to_clusters["rosa"]) == made
        with sqlite3.connect(tmp_path / "dask" / "gateway.sqlite") as database:
            assert {name for (name,) in database.execute("select name from clusters")} == made
        database.close()


def fill_up(engine: object) -> None:
    """Let the database take no more pages: SQLite then says what it says on a full disk."""

    @event.listens_for(engine, "checkout")
    def no_more_pages(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("pragma max_page_count = 1")


@pytest.mark.parametrize("error", [SQLAlchemyError, ValueError])
async def test_mistakes_of_ours_stay_mistakes(error: type[Exception]) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise error

    application = web.Application(middlewares=[speak_in_sentences])
    application.router.add_post("/", fail)
    async with TestClient(TestServer(application, host="127.0.0.1")) as client:
        assert (await client.post("/", json={})).status == 500


@pytest.mark.parametrize("body", ["[]", '"text"', "1", "{", "[" * 100_000, "\udcff"])
async def test_a_request_that_is_none_is_answered_with_a_sentence(body: str) -> None:
    async def never(_: web.Request) -> web.Response:
        raise AssertionError

    application = web.Application(middlewares=[speak_in_sentences])
    application.router.add_post("/", never)
    async with TestClient(TestServer(application, host="127.0.0.1")) as client:
        answer = await client.post("/", data=body.encode("utf-8", "surrogateescape"))
        assert (answer.status, await answer.json()) == (
            400,
            {"error": "The body of this request must be a JSON object."},
        )
        answer = await client.post("/", headers={"Authorization": "word"})
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "jupyterhub")
