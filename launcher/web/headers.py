"""Reading and writing HTTP headers: Accept, Origin, CORS and the headers that keep pages safe."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

ALLOWED_HEADERS = "authorization, cache-control, content-type, last-event-id, x-xsrftoken"

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # same-origin, not no-referrer: without a referrer browsers send `Origin: null` with our own forms
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of every page: our own files, nothing inline, no frame around us."""


def accepts_event_stream(accept: str) -> bool:
    """Whether an Accept header names ``text/event-stream`` itself, with a quality above zero.

    ``*/*`` is not enough: BinderHub refuses it, so that a plain page view never starts anything.
    """
    for part in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if media_type == "text/event-stream":
            return not any(parameter.replace(" ", "") in _ZERO_QUALITY for parameter in parameters)
    return False


_ZERO_QUALITY = {"q=0", "q=0.", "q=0.0", "q=0.00", "q=0.000"}


def host_of_origin(origin: str) -> str:
    """Host and port of an Origin header; "" for ``null`` and nonsense."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def cors_headers(origin: str | None, allowed: Iterable[str]) -> dict[str, str]:
    """Response headers that let pages of the allowed origins read the answer; never with credentials."""
    allowed = tuple(allowed)
    headers = {"Access-Control-Allow-Headers": ALLOWED_HEADERS}
    if "*" in allowed:
        return {**headers, "Access-Control-Allow-Origin": "*"}
    headers["Vary"] = "Origin"
    if origin is not None and origin in allowed:
        headers["Access-Control-Allow-Origin"] = origin
    return headers
