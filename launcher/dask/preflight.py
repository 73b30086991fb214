"""What is looked at before the gateway starts: upstream would end with a traceback, again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from cryptography.fernet import InvalidToken
from dask_gateway_server.backends.db_base import DataManager
from sqlalchemy.exc import SQLAlchemyError

from launcher.errors import ConfigurationInvalid, StateUnusable
from launcher.ports import is_free
from launcher.store.problems import translated

_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.05


def require_ports(ports: Iterable[tuple[str, int]]) -> None:
    """``ports`` are (name of the trait, number). Raises ConfigurationInvalid when somebody else listens on one.

    Whoever it is would be sent what is meant for us, tokens too.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS  # for a gateway that was killed a moment ago
    for trait, number in ports:
        while not is_free(number):
            if time.monotonic() > deadline:
                raise ConfigurationInvalid(
                    f"Another program listens on port {number} of this machine, which is Dask-Gateway's.",
                    hint=f"End that program, or set c.LauncherDask.{trait} to a free port and restart the hub.",
                )
            time.sleep(_PAUSE_SECONDS)


def require_database(path: Path, key: str) -> None:
    """Read all of the gateway's database once. Raises StateUnusable when it cannot be read, or holds something else."""
    asyncio.run(_read(path, key))


async def _read(path: Path, key: str) -> None:
    damaged = StateUnusable(
        "The database of Dask-Gateway is damaged, of another version, or its key has changed.",
        hint="Put dask/gateway.sqlite and the secrets in the state directory back from a backup, or move that file "
        "away: clusters that still run are ended then.",
    )
    try:
        with translated():
            DataManager(url=f"sqlite:///{path}", encrypt_keys=[key]).db.dispose()
    except StateUnusable as error:
        # "no such column" is no trouble with the disk
        raise (damaged if _is_another_version(error) else error) from error
    except (SQLAlchemyError, InvalidToken, LookupError, TypeError, ValueError) as error:
        raise damaged from error


def _is_another_version(error: StateUnusable) -> bool:
    words = str(error.__cause__).lower()
    return any(word in words for word in ("no such column", "no such table", "has no column", "not a database"))
