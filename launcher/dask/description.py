"""A cluster as people see it: what its row says, and what its scheduler says of itself now."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
from dask_gateway_server.backends.db_base import JobStatus

from launcher.dask import messages

_STATUS_SECONDS = 2.0
_LONGEST_STATUS = 256 * 1024
_LONGEST_IDLE = 2**40


async def describe(cluster: Any, session: aiohttp.ClientSession, prefix: str) -> dict[str, Any]:
    """The JSON of one cluster; the reference of the API tells every field. ``prefix``: of the service, for links.

    ``session`` asks the scheduler, which is the person's own code: what it answers is checked, and not waited for long.
    """
    running = cluster.status == JobStatus.RUNNING and cluster.is_active()
    now = await _status(cluster, session) if running else {}
    claimed = len(now["workers"]) if isinstance(now.get("workers"), list) else 0
    workers = min(claimed, len(cluster.active_workers()))
    status = cluster.model_status.name.lower()
    config, wish = cluster.config, messages.wishes_of(cluster)
    return {
        "name": cluster.name,
        "user": cluster.username,
        "server_name": config.server_name,
        "title": config.title,
        "environment": config.image,
        "status": "starting" if status == "pending" else status,
        "reason": cluster.state.get("reason", ""),
        "workers": workers,
        "workers_wanted": cluster.count,
        "minimum": wish.minimum,
        "maximum": wish.maximum,
        "worker_cores": config.worker_cores,
        "worker_memory": config.worker_memory,
        "cores": workers * config.worker_cores,
        "memory": workers * config.worker_memory,
        "started": _iso(cluster.start_time),
        "stopped": _iso(cluster.stop_time),
        "idle_seconds": _seconds(now.get("idle_seconds")),
        "keep_hours": config.keep_hours,
        "dashboard": f"{prefix}/clusters/{cluster.name}/status" if running else None,
    }


async def _status(cluster: Any, session: aiohttp.ClientSession) -> dict[str, Any]:
    """What the scheduler says; nothing when it does not answer quickly, or not with what it should."""
    # ValueError: not JSON, or no address; RecursionError: brackets without end
    with suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError):
        async with session.get(
            f"{cluster.dashboard_address}/launcher/status",
            headers={"Authorization": f"token {cluster.token}"},
            timeout=aiohttp.ClientTimeout(total=_STATUS_SECONDS),
            allow_redirects=False,
        ) as answer:
            answer.raise_for_status()
            found = json.loads(await _read(answer.content))
            return found if isinstance(found, dict) else {}
    return {}


async def _read(content: aiohttp.StreamReader) -> bytes:
    """The whole body. ValueError when it is longer than a status can be."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _LONGEST_STATUS:
            raise ValueError("too long for a status")
    return bytes(body)


def _seconds(value: Any) -> float | None:
    """A time in seconds as it can be shown, None for anything else: whole numbers of JSON can be endless."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < _LONGEST_IDLE else None


def _iso(milliseconds: int | None) -> str | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else None
