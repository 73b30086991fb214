"""What machines ask about the service itself: health, versions, metrics, providers."""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from launcher.errors import LauncherError, NotAllowed
from launcher.web.base import BaseHandler, log
from launcher.web.metrics import WebMetrics
from launcher.web.settings import HealthCheck

_HEALTH_SECONDS = 15.0
_CHECK_SECONDS = 10.0


class PublicHandler(BaseHandler):
    """An answer for everybody, readable from any page, that looks at no cookie."""

    identifies = False

    def set_default_headers(self) -> None:
        """Any page may read it; there is nothing personal in it."""
        super().set_default_headers()
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")

    async def options(self) -> None:
        """Answer a preflight."""
        self.set_header("Access-Control-Allow-Methods", "GET, OPTIONS")
        self.set_header("Access-Control-Allow-Headers", "*")
        self.set_status(HTTPStatus.NO_CONTENT)

    def write_json(self, body: Any) -> None:
        """Finish with any JSON value, lists too."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body))


class VersionsHandler(PublicHandler):
    """``/versions``: tells tools that a BinderHub API lives here."""

    async def get(self) -> None:
        """Versions of the service and its builder."""
        info = dict(self.web.builder_info)
        body: dict[str, Any] = {"builder_info": info, "binderhub": self.web.version, "launcher": self.web.version}
        if "build_image" in info:
            body["builder"] = info["build_image"]
        self.write_json(body)


class RepoProvidersHandler(PublicHandler):
    """``/api/repoproviders``: how to write a spec for each provider."""

    async def get(self) -> None:
        """``display_config`` of every provider."""
        self.write_json(self.parts.sources.describe())


class LegacyConfigHandler(PublicHandler):
    """``/_config``: labels of the providers in the shape that clients before 2025 read."""

    async def get(self) -> None:
        """Provider id -> labels."""
        self.write_json({str(provider["id"]): _labels(provider) for provider in self.parts.sources.describe()})


def _labels(provider: dict[str, Any]) -> dict[str, object]:
    ref = provider.get("ref", {})
    return {
        "text": provider.get("repo", {}).get("label", ""),
        "tag_text": "Git ref (branch, tag, or commit)",
        "ref_prop_disabled": not ref.get("enabled", True),
        "label_prop_disabled": False,
    }


class HealthHandler(PublicHandler):
    """``/health``: 200 or 503 and what was checked. Answers are kept for 15 seconds."""

    async def head(self) -> None:
        """The status alone."""
        await self._answer(body=False)

    async def get(self) -> None:
        """The status and the checks."""
        await self._answer(body=True)

    async def _answer(self, *, body: bool) -> None:
        health: Health = self.application.settings["health"]
        checks = await health.checks()
        ok = all(check["ok"] or check.get("_ignore_failure") for check in checks)
        self.set_status(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)
        if body:
            self.write_json({"ok": ok, "checks": checks})


class Health:
    """Runs the checks side by side, at most every 15 seconds, each with a deadline."""

    def __init__(self, checks: tuple[HealthCheck, ...]) -> None:
        self._checks = checks
        self._lock = asyncio.Lock()
        self._known: list[dict[str, object]] | None = None
        self._until = 0.0

    async def checks(self) -> list[dict[str, object]]:
        """The entries of ``/health``; a check that raises or hangs is not ok."""
        async with self._lock:
            if self._known is None or time.monotonic() >= self._until:
                self._known = await asyncio.gather(*(self._run(check) for check in self._checks))
                self._until = time.monotonic() + _HEALTH_SECONDS
            return self._known

    @staticmethod
    async def _run(check: HealthCheck) -> dict[str, object]:
        name = getattr(check, "__name__", "check")
        try:
            return await asyncio.wait_for(check(), _CHECK_SECONDS)
        except (LauncherError, OSError, TimeoutError):
            return {"service": name, "ok": False}
        except Exception:  # noqa: BLE001 - a broken check is an unhealthy service, not a broken answer
            log.exception("health_check_failed", check=name)
            return {"service": name, "ok": False}


class MetricsHandler(BaseHandler):
    """``/metrics`` for Prometheus. Labels are enums only: no repository, person or address ever is one."""

    identifies = False

    async def prepare(self) -> None:
        """Ask for a Hub token with ``read:metrics`` when the operator wants that."""
        await super().prepare()
        if self.web.authenticate_metrics:
            visitor = await self._identify()
            if visitor is None or "read:metrics" not in visitor.person.scopes:
                raise NotAllowed("Metrics need a Hub token with the scope read:metrics.")

    async def get(self) -> None:
        """Prometheus text."""
        metrics: WebMetrics = self.application.settings["metrics"]
        metrics.open_streams.set(self.application.settings["stream_slots"].count)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(metrics.registry))
