"""What a start says while it goes on: kept, so that every page that looks hears all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

_STEP, _MOST = 10, 90


class StartProgress:
    """The progress of one start, for JupyterHub's ``Spawner.progress``."""

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._done = _STEP

    def say(self, text: str) -> None:
        """A step forward."""
        self._done = min(self._done + _STEP, _MOST)
        self._add({"progress": self._done, "message": text})

    def tell(self, text: str, html: str = "") -> None:
        """Words about the step that goes on; ``html`` is what pages show instead."""
        self._add({"message": text, **({"html_message": html} if html else {})})

    def _add(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Everything that was said and will be said; never ends by itself."""
        position = 0
        while True:
            news = self._news
            while position < len(self._events):
                position += 1
                yield dict(self._events[position - 1])
            if news is self._news:
                await news.wait()
