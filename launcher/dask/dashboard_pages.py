"""What the dashboards' guard says itself: a sentence, as a small page or as JSON, never a traceback."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from markupsafe import Markup
from tornado.web import HTTPError, RequestHandler

from launcher.dask.reverse_proxy import SECURITY_HEADERS
from launcher.errors import LauncherError
from launcher.web.base import log_text, public_error

log = structlog.get_logger("launcher.dask.dashboards")

_PAGE = Markup(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{status} · {message}</title>'
    '<meta name="viewport" content="width=device-width"></head>'
    "<body><main><h1>{message}</h1><p>{hint}</p></main></body></html>\n"
)


class SayingHandler(RequestHandler):
    """Turns every exception into one sentence and one hint."""

    def set_default_headers(self) -> None:
        """Safe headers on every answer."""
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.set_header("Cache-Control", "no-store")
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado's hook: any exception becomes the same shape."""
        error = public_error(status_code, kwargs.get("exc_info", (None, None, None))[1])
        self.say(error)

    def say(self, error: LauncherError) -> None:
        """Finish with the error: a page, or Dask-Gateway's ``{"error": "<sentence>"}`` for those who accept no page."""
        self.set_status(error.http_status)
        if error.retry_after is not None:
            self.set_header("Retry-After", str(error.retry_after))
        accept = self.request.headers.get("Accept", "")
        if "application/json" in accept and "text/html" not in accept:
            self.finish({"error": f"{error.message} {error.hint}".strip()})
            return
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'self'")
        self.finish(_PAGE.format(status=HTTPStatus(error.http_status).value, message=error.message, hint=error.hint))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log trouble of ours; never the URL's query or headers, they may hold secrets."""
        if not isinstance(value, LauncherError | HTTPError):
            log.error("request_failed", path=log_text(self.request.path.split("~")[0]), exc_info=(typ, value, tb))
