"""Images on their way to a registry and back, by the engine; `Engine.transfers`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping

from launcher.engine.connection import Connection, last_line

_DIGEST = re.compile(r"\bdigest: (sha256:[0-9a-f]{64})\b")


class Transfers:
    """Pushes and pulls. ``login``: ``username`` and ``password`` for the registry, in a header and nowhere else.

    Errors are those of `Engine`, with the words of engine and registry in their hint.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def push(self, repository: str, tag: str, login: Mapping[str, str]) -> str:
        """Send the image of this name to its registry; the digest of its manifest there, "" when nobody says it."""
        path = f"images/{repository}/push"
        async with self._connection.ask(
            path, "POST", params={"tag": tag}, headers=_header(login), patient=True
        ) as answer:
            said = await answer.text()
        last_line(said)
        found = _DIGEST.findall(said)
        return str(found[-1]) if found else ""

    async def pull(self, name: str, login: Mapping[str, str]) -> None:
        """Fetch ``repository:tag`` or ``repository@sha256:…``."""
        async with self._connection.ask(
            "images/create", "POST", params={"fromImage": name}, headers=_header(login), patient=True
        ) as answer:
            last_line(await answer.text())


def _header(login: Mapping[str, str]) -> dict[str, str]:
    """How Docker's API takes a password."""
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(dict(login)).encode()).decode()}
