"""What a cluster's scheduler does beyond Dask's own; a ``--preload`` after the gateway's.

``/launcher/status`` says how it is, ``/launcher/dashboard`` loads the dashboard when somebody wants to look. And as a
last resort the scheduler ends itself, and with it the cluster: when its session has gone and nobody can be asked.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
import time
from typing import Any, Callable

from tornado import web
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

logger = logging.getLogger("distributed.scheduler")
_LOOKS = 8  # at the lock, in the time for which it may be free
_LONGEST_PAUSE = 30.0
_ANSWER_SECONDS = 10.0
_CLUSTER: dict[str, Any] = {}


def configure(cluster: dict[str, Any], is_held: Callable[[str], bool]) -> None:
    """Take ``session_lock``, ``patience_seconds``, ``gateway_patience_seconds`` of the cluster file; `lock.is_held`."""
    _CLUSTER.update(cluster, is_held=is_held)


async def dask_setup(scheduler: Any) -> None:
    """Called by Dask when the scheduler listens. What fails here ends the cluster: Dask would only log it."""
    try:
        _setup(scheduler)
    except Exception:
        logger.exception("The scheduler could not be set up")
        sys.stderr.flush()
        os._exit(1)


def _setup(scheduler: Any) -> None:
    services = {"dask_server": scheduler}
    routes = [("/launcher/status", _Status, services), ("/launcher/dashboard", _Dashboard, services)]
    scheduler.http_application.add_handlers(".*$", routes)
    scheduler.services.setdefault("dashboard", scheduler.http_server)  # whose address the gateway is told
    scheduler.launcher_tasks = [
        asyncio.ensure_future(_first_heartbeat(scheduler.services["gateway"])),
        asyncio.ensure_future(_last_resort(scheduler)),
    ]


async def _first_heartbeat(gateway_service: Any) -> None:
    """Make the gateway's service say at once that the scheduler is there; it would wait for a quarter of a second."""
    waiter = gateway_service.waiter
    for _ in range(10):
        if getattr(waiter, "task", None) is not None:
            await waiter.interrupt()
            return
        await asyncio.sleep(0)


def idle_seconds(scheduler: Any) -> float:
    """For how long nothing has been computed and nothing waited."""
    if scheduler.unrunnable or any(worker.processing for worker in scheduler.workers.values()):
        return 0.0
    log = scheduler.transition_log
    since = log[-1][-1] if log else scheduler.time_started
    return max(time.time() - float(since), 0.0)


class _Status(web.RequestHandler):
    """How the cluster is."""

    def initialize(self, dask_server: Any) -> None:
        self.scheduler = dask_server

    def get(self) -> None:
        workers = [
            {
                "name": str(worker.name),
                "threads": worker.nthreads,
                "memory_limit": worker.memory_limit,
                "memory": int((worker.metrics or {}).get("memory", 0)),
            }
            for worker in self.scheduler.workers.values()
        ]
        self.write(
            {"idle_seconds": idle_seconds(self.scheduler), "workers": workers, "tasks": len(self.scheduler.tasks)}
        )


class _Dashboard(web.RequestHandler):
    """Loads the dashboard, once; it costs a second and tens of megabytes, and most clusters are never looked at."""

    loading: asyncio.Future[str] | None = None

    def initialize(self, dask_server: Any) -> None:
        self.scheduler = dask_server

    async def get(self) -> None:
        if _Dashboard.loading is None:
            _Dashboard.loading = asyncio.ensure_future(_load_dashboard(self.scheduler))
        problem = await asyncio.shield(_Dashboard.loading)
        self.write({"ready": not problem, "error": problem})


async def _load_dashboard(scheduler: Any) -> str:
    """Add the dashboard's pages to the scheduler's server; "" or why that cannot be."""
    name = "distributed.dashboard.scheduler"
    try:
        dashboard = await asyncio.get_event_loop().run_in_executor(None, importlib.import_module, name)
        dashboard.connect(scheduler.http_application, scheduler.http_server, scheduler, prefix="")
    except ImportError:
        logger.info("No dashboard", exc_info=True)
        return "The environment of this session has no bokeh package that Dask can use, so there is no dashboard."
    except Exception:
        logger.exception("The dashboard failed")
        return "The dashboard could not be loaded; the scheduler's log says why."
    return ""


async def _last_resort(scheduler: Any) -> None:
    """End the cluster when session and gateway have both been gone for longer than they may."""
    patience, gateway_patience = _CLUSTER["patience_seconds"], _CLUSTER["gateway_patience_seconds"]
    pause = min(max(min(patience, gateway_patience) / _LOOKS, 0.1), _LONGEST_PAUSE)
    free_since = deaf_since = time.monotonic()
    while True:
        await asyncio.sleep(pause)
        now = time.monotonic()
        if _CLUSTER["is_held"](_CLUSTER["session_lock"]):
            free_since = deaf_since = now
        elif now - free_since > patience:
            if await _gateway_answers():
                deaf_since = time.monotonic()
            elif now - deaf_since > gateway_patience:
                logger.warning("The session of this cluster has ended and the gateway is gone: the cluster ends too.")
                await scheduler.close()
                return
        else:
            deaf_since = now


async def _gateway_answers() -> bool:
    """Whether there is a gateway that could end this cluster."""
    url = os.environ["DASK_GATEWAY_API_URL"]
    try:
        await AsyncHTTPClient().fetch(f"{url}/health", request_timeout=_ANSWER_SECONDS)
    except HTTPClientError as error:
        return error.code != 599  # noqa: PLR2004 - tornado's number for no answer at all
    except OSError:
        return False
    return True
