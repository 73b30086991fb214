"""Logging: an event name and fields, for people in a terminal, JSON elsewhere; no secret, no control character."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_LONGEST = 500
_SECRET_FIELDS = re.compile(r"token|secret|password|authorization|cookie", re.IGNORECASE)
_COLON, _SLASH, _AT = (rf"(?:{sign}|%(?:25)*{code})" for sign, code in ((":", "3A"), ("/", "2F"), ("@", "40")))
# Also percent-encoded, as the address of a repository is inside a link.
_URL_CREDENTIALS = re.compile(rf"({_COLON}{_SLASH}{{2}})(?:(?!{_SLASH})[^\s\"])*{_AT}", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def without_credentials(text: str) -> str:
    """The text with user names and passwords of addresses replaced, as they are or percent-encoded."""
    return _URL_CREDENTIALS.sub(r"\1***@", text)


class _CredentialsFilter(logging.Filter):
    """Takes credentials out of what libraries log: JupyterHub's own handlers write the paths of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_credentials(record.getMessage()), ()
        return True


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Cap, escape and redact what goes into a log line; users choose some of these words."""
    for name, value in event.items():
        if name in {"exc_info", "stack_info"}:
            continue
        if _SECRET_FIELDS.search(name):
            event[name] = "***"
        elif isinstance(value, str):
            clean = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", without_credentials(value))
            event[name] = clean if len(clean) <= _LONGEST or name == "exception" else clean[:_LONGEST] + "…"
    return event


def configure_logging() -> None:
    """Send structlog's and the standard library's records to stderr in one form."""
    terminal = sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(_CredentialsFilter())
