"""Writes that must not be given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from launcher.errors import StateUnusable

logger = structlog.get_logger(__name__)
_Row = TypeVar("_Row")


async def persist(write: Callable[[], _Row], retry_seconds: float) -> _Row:
    """Do a write until it works: a build that ended must not be forgotten because the disk is full just now."""
    while True:
        try:
            return write()
        except StateUnusable as error:
            logger.error("build_state_not_saved", reason=error.message)  # noqa: TRY400 - no traceback needed
            await asyncio.sleep(retry_seconds)
