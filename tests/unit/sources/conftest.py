"""What the tests of sources share: nothing here ever connects to, or looks up, anything but loopback."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.sources import RepositorySources, SourcesConfig
from tests.support.git_server import GitServer

_guard = {"on": False}


def _refuse_the_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if not _guard["on"]:
        return
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        _check(arguments[1][0])
    if event == "socket.getaddrinfo" and arguments[0] is not None:
        _check(arguments[0])


def _check(host: object) -> None:
    text = host.decode() if isinstance(host, bytes) else str(host)
    assert ipaddress.ip_address(text).is_loopback, f"a test wanted to speak to {text}"


sys.addaudithook(_refuse_the_outside)


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[None]:
    """Any connection or lookup of this process beyond loopback fails the test."""
    _guard["on"] = True
    yield
    _guard["on"] = False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    directory = tmp_path / "served"
    directory.mkdir()
    with GitServer(directory) as running:
        yield running


@pytest.fixture
def make_sources(tmp_path: Path, server: GitServer) -> Callable[..., RepositorySources]:
    """Sources that may speak to the git server; keyword arguments as of SourcesConfig, and ``resolver``."""

    def make(**changes: Any) -> RepositorySources:
        resolver = changes.pop("resolver", None)
        changes.setdefault("allow_hosts", frozenset({server.host}))
        changes.setdefault("cache_directory", tmp_path / "cache")
        config = SourcesConfig(**changes)
        return RepositorySources(config, resolver=resolver) if resolver else RepositorySources(config)

    return make


@pytest.fixture
def sources(make_sources: Callable[..., RepositorySources]) -> RepositorySources:
    return make_sources()
