"""Speaking with schedulers, which run a person's own code: nobody waits for one for long, or for another's."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Any

import aiohttp
from dask_gateway_server.backends.base import PublicException

_CONNECTIONS_PER_CLUSTER = 4
_ANSWER_SECONDS = 20.0
_TRIES = 3
_PAUSE_SECONDS = 0.1
_WORDS_AT_ONCE = 20
_WORDS_PER_SECOND = 5


class SchedulerGone(Exception):
    """A scheduler that cannot be reached any more."""


def scheduler_session() -> aiohttp.ClientSession:
    """For requests to schedulers: each has connections of its own, so that one that never answers stops nobody else."""
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=_CONNECTIONS_PER_CLUSTER)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def tell(session: aiohttp.ClientSession, cluster: Any, message: dict[str, Any]) -> None:
    """Send a scheduler an order.

    Raises PublicException with a sentence for one that is too busy to answer, SchedulerGone for one that is not there.
    """
    for last in range(1, _TRIES + 1):
        try:
            async with session.post(
                f"{cluster.api_address}/api/comm",
                json=message,
                headers={"Authorization": f"token {cluster.token}"},
                timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
                allow_redirects=False,
            ) as answer:
                if answer.status == HTTPStatus.OK:
                    return
        except TimeoutError as error:
            raise PublicException("The scheduler of this cluster is busy and did not answer. Try again.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if last == _TRIES:
                raise SchedulerGone from error
        await asyncio.sleep(_PAUSE_SECONDS * last)
    raise SchedulerGone


class Pace:
    """How often one scheduler is listened to: `_WORDS_AT_ONCE`, then `_WORDS_PER_SECOND`, and one word at a time."""

    def __init__(self) -> None:
        self._left = float(_WORDS_AT_ONCE)
        self._since = time.monotonic()
        self._waits = False

    async def keep(self) -> None:
        """Return when it may speak. Raises PublicException when another word of it waits already."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._since) * _WORDS_PER_SECOND, _WORDS_AT_ONCE)
        self._since = now
        if self._waits:
            raise PublicException("One heartbeat after the other.")
        if self._left < 1:
            self._waits = True
            try:
                await asyncio.sleep((1 - self._left) / _WORDS_PER_SECOND)
            finally:
                self._waits = False
        self._left -= 1
