"""Asking a scheduler, once, whether it has a dashboard: it loads bokeh when it is asked first."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from http import HTTPStatus

import aiohttp

from launcher.dask.reverse_proxy import Dashboard, ReverseProxy
from launcher.errors import DaskUnavailable

_PATH = "launcher/dashboard"
_SECONDS = 60  # loading bokeh on a busy machine
_MOST_BYTES = 64 * 2**10
_REMEMBERED = 4096
NO_ANSWER = "The dashboard of this cluster does not answer."
NO_ANSWER_HINT = "The cluster may have just ended. Try again in a moment."


class DashboardQuestion:
    """``ready(upstream)`` for every request; the scheduler is asked until it has said yes."""

    def __init__(self, proxy: ReverseProxy) -> None:
        self._proxy = proxy
        self._open: dict[Dashboard, asyncio.Task[None]] = {}
        self._ready: OrderedDict[Dashboard, None] = OrderedDict()

    async def ready(self, upstream: Dashboard) -> None:
        """Return when there is a dashboard. Raises DaskUnavailable, with the scheduler's own sentence if it has one.

        Those who ask while a question is open wait for its answer.
        """
        if upstream in self._ready:
            return
        task = self._open.get(upstream)
        if task is None:
            task = self._open[upstream] = asyncio.create_task(self._ask(upstream))
            task.add_done_callback(lambda done: self._settle(upstream, done))
        await asyncio.shield(task)  # one who leaves does not take the question from the others

    async def close(self) -> None:
        """Give up open questions."""
        for task in list(self._open.values()):
            task.cancel()
        await asyncio.gather(*self._open.values(), return_exceptions=True)

    def _settle(self, upstream: Dashboard, task: asyncio.Task[None]) -> None:
        del self._open[upstream]
        if not task.cancelled() and task.exception() is None:
            self._ready[upstream] = None
            if len(self._ready) > _REMEMBERED:
                self._ready.popitem(last=False)

    async def _ask(self, upstream: Dashboard) -> None:
        try:
            async with asyncio.timeout(_SECONDS), self._proxy.request("GET", upstream, _PATH, {}) as answer:
                good = answer.status == HTTPStatus.OK
                body = json.loads(await answer.content.read(_MOST_BYTES)) if good else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
            raise DaskUnavailable(NO_ANSWER, hint=NO_ANSWER_HINT) from error
        if isinstance(body, dict) and body.get("ready") is True:
            return
        sentence = body.get("error") if isinstance(body, dict) else None
        if isinstance(sentence, str) and sentence.strip():
            words = "".join(character if character.isprintable() else " " for character in sentence[:500])
            raise DaskUnavailable(words)
        raise DaskUnavailable(NO_ANSWER, hint=NO_ANSWER_HINT)
