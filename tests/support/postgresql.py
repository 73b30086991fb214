"""A private PostgreSQL cluster for tests: Debian's binaries, a directory of its own, a unix socket and no port."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

_START_SECONDS = 60
_numbers = itertools.count(1)


def binaries() -> Path | None:
    """The newest PostgreSQL server installed, or None."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda path: float(path.parent.name), default=None)


def _unprivileged() -> dict[str, object]:
    """Arguments for subprocess: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):  # the next name may exist
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL needs an unprivileged user, and there is none")


class PostgreSQL:
    """A running cluster; `fresh_database` makes one database after the other in it."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self._directory = directory
        self.process = process

    def url(self, database: str) -> str:
        """The launcher's URL of a database in this cluster."""
        return f"postgresql://launcher@/{database}?host={self._directory}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A plain connection that commits at once."""
        return psycopg.connect(host=str(self._directory), user="launcher", dbname=database, autocommit=True)

    def fresh_database(self) -> str:
        """The URL of a new empty database."""
        name = f"test_{next(_numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """A cluster for the length of the block; skips the test with a reason when PostgreSQL is not installed."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    who = _unprivileged()
    directory = Path(tempfile.mkdtemp(prefix="launcher-postgresql-"))
    try:
        if who:
            os.chown(directory, who["user"], who["group"])
        data = directory / "data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "launcher", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            **who,
        )
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=directory,
                **who,
            )
        try:
            yield _ready(PostgreSQL(directory, process))
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(directory)


def _ready(cluster: PostgreSQL) -> PostgreSQL:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            cluster.connect().close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline or cluster.process.poll() is not None:
                raise
            time.sleep(0.02)  # between looks at the socket, with a deadline
        else:
            return cluster
