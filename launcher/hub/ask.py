"""Asks the launcher's service on behalf of one person's server; see `launcher.sealed`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from launcher.errors import HubUnavailable
from launcher.models import Person
from launcher.sealed import ASK_PATH, SealedTalk, silent_launcher

_OK, _FORBIDDEN = 200, 403
_MOST_AT_ONCE = 1000
_LONGEST_ANSWER = 4 * 2**20
_PAUSE_SECONDS = 0.5


class Refused(Exception):
    """What the service answers instead: the error's ``told`` as JSON values, with ``status`` and maybe a ``link``."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(told["message"])
        self.told = told


class Asker:
    """Asks for one person and server. ``service_url``: the service as the Hub's process reaches it, with its prefix."""

    def __init__(self, service_url: str, talk: SealedTalk, person: Person, server_name: str) -> None:
        self._address = service_url + ASK_PATH
        self._talk = talk
        self._person = person
        self._server_name = server_name

    async def ask(
        self, purpose: str, body: Mapping[str, Any], *, seconds: float, patience: float = 0
    ) -> dict[str, Any]:
        """The answer, which may take ``seconds``. A service that starts again is asked again for ``patience`` seconds.

        Raises Refused with the service's words, HubUnavailable when it does not answer or somebody else does.
        """
        until = time.monotonic() + patience
        while True:
            try:
                return await self._once(purpose, body, seconds)
            except HubUnavailable:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _once(self, purpose: str, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        question, token = self._talk.ask(purpose, self._person, self._server_name, body)
        status, answer = await self._send(purpose, token, seconds)
        if status == _FORBIDDEN:  # it began after the question was made: it may not know whether that was answered
            question, token = self._talk.ask(purpose, self._person, self._server_name, body)
            status, answer = await self._send(purpose, token, seconds)
        if status != _OK:
            raise silent_launcher()
        found = self._talk.read_answer(question, answer)
        if "error" in found:
            raise Refused(found["error"])
        return found

    async def _send(self, purpose: str, token: bytes, seconds: float) -> tuple[int, bytes]:
        request = HTTPRequest(
            self._address + purpose,
            method="POST",
            headers={"Content-Type": "application/octet-stream"},
            body=token,
            connect_timeout=seconds,
            request_timeout=seconds,
            follow_redirects=False,  # whoever has taken the port does not choose whom the Hub speaks to
        )
        try:
            response = await _client().fetch(request, raise_error=False)
        except (HTTPClientError, OSError) as error:
            raise silent_launcher() from error
        return response.code, response.body or b""


@cache
def _client() -> AsyncHTTPClient:
    """A client of our own: some questions wait for builds, and the Hub's client has few connections for everybody."""
    most = {"max_body_size": _LONGEST_ANSWER, "max_buffer_size": _LONGEST_ANSWER}
    return AsyncHTTPClient(force_instance=True, max_clients=_MOST_AT_ONCE, **most)
