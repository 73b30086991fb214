"""The tornado application, and what it says about each request."""

from __future__ import annotations

import re
from typing import Any

from jupyterhub.services.auth import HubOAuth
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.web import Application, RequestHandler

from launcher.web.assets import built_assets
from launcher.web.base import BaseHandler, log, log_text
from launcher.web.limits import LaunchRate, StreamSlots
from launcher.web.metrics import WebMetrics
from launcher.web.openapi import OpenApiHandler
from launcher.web.pages import NotFoundHandler
from launcher.web.routes import routes
from launcher.web.service import Health
from launcher.web.settings import WebParts
from launcher.web.share import ShareKeys
from launcher.web.tokens import BuildTokens

_LOGIN_CACHE_SECONDS = 60  # how long a login that the Hub ended may still open pages


class LauncherApplication(Application):
    """Tornado's application, with our limit on bodies whatever server it is put on."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Tornado's hook for each request, before its headers are read."""
        limit: Any = getattr(request_conn, "set_max_body_size", None)
        if limit is not None:
            limit(self.settings["parts"].settings.max_body_bytes)
        return super().start_request(server_conn, request_conn)


def make_application(parts: WebParts) -> LauncherApplication:
    """The launcher's web, for ``tornado.httpserver.HTTPServer``.

    When the service stops, ``settings["stream_slots"].close()`` ends the event streams in order.
    """
    settings = parts.settings
    hub_auth = parts.hub_auth or HubOAuth(allow_token_in_url=False, cache_max_age=_LOGIN_CACHE_SECONDS)
    metrics = WebMetrics()
    return LauncherApplication(
        [*parts.extra_handlers, *routes(settings.service_prefix), _described(settings.service_prefix)],
        default_handler_class=NotFoundHandler,
        log_function=_log_request,
        cookie_secret=settings.cookie_secret,
        xsrf_cookies=False,  # BaseHandler.prepare checks, after it knows whether a token authenticated the request
        parts=parts,
        assets=built_assets(settings.service_prefix),
        hub_auth=hub_auth,
        build_tokens=BuildTokens(
            settings.build_token_secret,
            previous=settings.previous_token_secrets,
            expires_seconds=settings.build_token_expires_seconds,
        ),
        share_keys=ShareKeys(settings.build_token_secret, settings.previous_token_secrets),
        stream_slots=StreamSlots(settings.streams_per_person, settings.streams_total),
        launch_rate=LaunchRate(settings.launches_per_minute),
        health=Health(tuple(parts.health_checks)),
        metrics=metrics,
    )


def _described(prefix: str) -> tuple[str, type[OpenApiHandler]]:
    """The address of the API's description, which is made from all the others."""
    return (re.escape(prefix) + r"api/v1/openapi\.json", OpenApiHandler)


def _log_request(handler: RequestHandler) -> None:
    """One line for each request; the path only, since queries hold tokens and OAuth codes."""
    status = int(handler.get_status())
    metrics: WebMetrics = handler.application.settings["metrics"]
    metrics.requests.labels(status=f"{status // 100}xx").inc()
    log.info(
        "request",
        id=getattr(handler, "request_id", None),
        method=handler.request.method if handler.request.method in handler.SUPPORTED_METHODS else "other",
        path=log_text(handler.request.path),
        status=status,
        milliseconds=round(handler.request.request_time() * 1000),
        user=handler.visitor.person.name if isinstance(handler, BaseHandler) and handler.visitor else None,
    )
