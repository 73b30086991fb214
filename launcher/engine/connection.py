"""Requests to an engine over its unix socket, with errors in sentences."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from aiodocker import Docker, DockerError

from launcher.engine.find import EngineAddress
from launcher.engine.sockets import why_silent
from launcher.errors import EngineError, EngineUnavailable

NOT_FOUND, CONFLICT = 404, 409
_REFUSED = 400
# An answer that takes longer will not come; what may take long (waiting, pulling, committing) has no limit of its own.
_ANSWER = aiohttp.ClientTimeout(total=120, sock_connect=10)
_PATIENT = aiohttp.ClientTimeout(total=None, sock_connect=10)
_HOST = "http://engine"  # never looked up: the connector knows one socket only

Body = bytes | AsyncIterator[bytes]
"""What is sent with a request, whole or in pieces."""
Parameters = Mapping[str, str | Sequence[str]]
"""The query of a request; a sequence says one parameter several times."""


class Connection:
    """One client of one engine. ``docker`` is the same for streams that go both ways."""

    def __init__(self, address: EngineAddress) -> None:
        self.address = address
        connector = aiohttp.UnixConnector(str(address.socket), limit=0)  # each listener holds a connection
        self._session = aiohttp.ClientSession(connector=connector)
        self.docker = Docker(url=_HOST, session=self._session, connector=connector)

    async def close(self) -> None:
        """Let go of the engine."""
        await self.docker.close()
        await self._session.close()

    async def awake(self) -> None:
        """Start the engine again when it is our own and has ended. Raises EngineUnavailable."""
        own = self.address.own
        if own is None:
            return
        problem = await asyncio.to_thread(why_silent, self.address.socket)
        if problem:
            await asyncio.to_thread(own.ensure)

    @asynccontextmanager
    async def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        params: Parameters | None = None,
        body: Body | None = None,
        content: str = "application/json",
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer that is not an error. ``patient``: it may take as long as it likes.

        Raises EngineUnavailable, or EngineError with the engine's words.
        """
        await self.awake()
        with in_sentences():
            async with self._session.request(
                method,
                f"{_HOST}/{path}",
                params=dict(params or {}),
                data=io.BytesIO(body) if isinstance(body, bytes) else body,
                headers={**({"Content-Type": content} if body is not None else {}), **(headers or {})},
                timeout=_PATIENT if patient else _ANSWER,
            ) as answer:
                if answer.status >= _REFUSED:
                    raise DockerError(answer.status, _words(await answer.text()))
                yield answer

    async def json(
        self,
        path: str,
        method: str = "GET",
        *,
        params: Parameters | None = None,
        body: Mapping[str, Any] | None = None,
        patient: bool = False,
    ) -> Any:
        """The JSON of an answer, None when it has none: a few answers are plain words."""
        data = json.dumps(body).encode() if body is not None else None
        async with self.ask(path, method, params=params, body=data, patient=patient) as answer:
            text = await answer.text()
        return json.loads(text) if text.startswith(("{", "[")) else None

    async def json_if_there(self, path: str, method: str = "GET", **more: Any) -> Any:
        """The same, and None when what it is about does not exist."""
        try:
            return await self.json(path, method, **more)
        except EngineError as error:
            if error.status != NOT_FOUND:
                raise
            return None


@contextmanager
def in_sentences() -> Iterator[None]:
    """Turn what the client library raises into errors of ours."""
    try:
        yield
    except DockerError as error:
        raise _refused(str(error.message), error.status) from error
    except TimeoutError as error:
        raise EngineUnavailable(
            "The container engine takes too long to answer.", hint="See what keeps this machine busy, then try again."
        ) from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineUnavailable(
            "The container engine does not answer.", hint="Start it again; `launcher check` says which one is used."
        ) from error


def last_line(text: str) -> dict[str, Any]:
    """The last JSON line of a long answer. Raises EngineError when one of the lines reports an error."""
    lines = [json.loads(line) for line in text.splitlines() if line.strip()]
    for said in lines:
        if said.get("error"):
            raise _refused(str(said["error"]))
    return dict(lines[-1]) if lines else {}


def _refused(said: str, status: int = 0) -> EngineError:
    problem = EngineError("The container engine refused.", hint=f"It says: {said}")
    problem.status, problem.said = status, said
    return problem


def _words(text: str) -> str:
    """What an engine says in the body of an error."""
    try:
        said = json.loads(text)
        return str(said.get("cause") or said["message"])
    except (ValueError, LookupError, AttributeError):
        return text.strip()[:500]
