"""The JSON API below ``/api/v1/``: real status codes, one error shape, no event stream needed.

Cookies work here only with the Hub's XSRF token, and a launch with a cookie needs the page's build token too.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from launcher.errors import BadRequest, LoginRequired
from launcher.models import MachineSize
from launcher.sessions.base import LaunchEvent, LaunchRequest, Preview
from launcher.sources.base import spec_at
from launcher.web.base import BaseHandler, Visitor, is_yes
from launcher.web.headers import cors_headers
from launcher.web.open_path import parse_open_path
from launcher.web.told import first_event, listen

FIRST_EVENT_SECONDS = 10.0


class ApiHandler(BaseHandler):
    """A handler of the JSON API: everything needs a person."""

    def set_default_headers(self) -> None:
        """Pages of the allowed origins may call it with a token."""
        super().set_default_headers()
        origins = self.application.settings["parts"].settings.cors_origins
        for name, value in cors_headers(self.request.headers.get("Origin"), origins).items():
            self.set_header(name, value)

    async def options(self, *_: str) -> None:
        """Answer a preflight."""
        self.set_header("Access-Control-Allow-Methods", ", ".join(self.known_methods()))
        self.set_status(HTTPStatus.NO_CONTENT)

    def read_json(self) -> dict[str, Any]:
        """The body as a JSON object. Raises BadRequest for anything else, duplicate keys and NaN too."""
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise BadRequest("The body must be JSON.", hint="Send `Content-Type: application/json`.")
        try:
            body = json.loads(self.request.body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise BadRequest("The body is not valid JSON.") from error
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.")
        return body

    def refuse(self, event: LaunchEvent) -> None:
        """Answer with the error of a start that failed at once."""
        error = {name: event.data.get(name, "") for name in ("code", "hint")}
        error |= {name: event.data[name] for name in ("field", "retry_after") if name in event.data}
        self.set_status(int(event.data.get("status_code", HTTPStatus.UNPROCESSABLE_ENTITY)))
        self.finish({"error": {**error, "message": event.message.strip(), "id": self.request_id}})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise ValueError("duplicate key")
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _field(body: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    """A field of the right type. Raises BadRequest."""
    value = body.get(name, default)
    if not isinstance(value, kind):
        raise BadRequest(f"`{name}` has the wrong type.")
    return value


class PreviewHandler(ApiHandler):
    """``GET /api/v1/preview?spec=gh/org/repo/ref``."""

    async def get(self) -> None:
        """What a launch would do, without doing it."""
        visitor = self.require_visitor()
        spec = spec_at(self.parts.sources, (self.first_argument("spec") or "").rstrip("/"))
        with_dask = is_yes(self.first_argument("dask"))
        preview = await self.parts.launches.preview(
            visitor.person, visitor.hub_token, spec, with_dask=with_dask, size=self.first_argument("size") or ""
        )
        self.finish({"preview": preview_json(preview)})


def preview_json(preview: Preview) -> dict[str, Any]:
    """A preview as JSON values."""
    resolved, commit = preview.resolved, preview.commit
    dask = {"dask": "yes" if preview.dask else "no", "dask_reason": preview.dask_reason}
    return {
        "spec": resolved.spec.path,
        "persistent_spec": resolved.persistent_spec,
        "ref": resolved.ref,
        "ref_name": resolved.ref_name,
        "ref_url": resolved.ref_url,
        "repository": {"name": resolved.repository.display_name, "url": resolved.repository.url},
        "commit": {"subject": commit.subject, "date": commit.date.isoformat()} if commit else None,
        "trust": preview.trust.value,
        "home": preview.home.value,
        "recipe": preview.recipe.summary if preview.recipe is not None else None,
        "environment": preview.key,
        "environment_status": preview.environment.value if preview.environment is not None else None,
        "environment_bytes": preview.environment_bytes,
        "typical_seconds": preview.typical_seconds,
        "server_name": preview.server_name,
        "running": preview.running,
        "problem": preview.problem,
        "size": preview.size.name if preview.size is not None else None,
        "sizes": [size_json(size) for size in preview.sizes],
        **(dask if preview.dask is not None else {}),
    }


def size_json(size: MachineSize) -> dict[str, Any]:
    """A machine size as JSON values; for whom it is, is not said."""
    names = ("name", "title", "description", "memory_bytes", "cpus")
    return {name: getattr(size, name) for name in names}


class LaunchesHandler(ApiHandler):
    """``POST /api/v1/launches``."""

    async def post(self) -> None:
        """Start or join a launch and answer as soon as it is under way: 202, or the error of a refused one."""
        visitor = self.require_visitor()
        request = self._request(visitor, self.read_json())
        self.application.settings["launch_rate"].take(visitor.person.name)
        launching = self.parts.launches.launch(request)
        told = await listen(launching, seconds=FIRST_EVENT_SECONDS, enough=first_event)
        if told.failed is not None:
            return self.refuse(told.failed)
        self.set_status(HTTPStatus.ACCEPTED)
        chosen = {"dask": "1"} if request.with_dask else {}  # who asks there joins this launch, not another one
        chosen |= {"size": request.size} if request.size else {}
        query = f"?{urlencode(chosen)}" if chosen else ""
        launch = {
            "spec": request.spec.path,
            "phase": told.phase,
            "build_id": told.build_id,
            "events_url": f"{self.public_origin}{self.web.service_prefix}build/{request.spec.path}{query}",
        }
        self.finish({"launch": launch})
        return None

    def _request(self, visitor: Visitor, body: dict[str, Any]) -> LaunchRequest:
        path = _field(body, "spec", str, "")
        confirmed = visitor.by_header or self.tokens.verify(
            _field(body, "build_token", str, ""), self.token_subject(path, visitor.person)
        )
        return LaunchRequest(
            person=visitor.person,
            hub_token=visitor.hub_token,
            spec=spec_at(self.parts.sources, path.rstrip("/")),
            open_path=parse_open_path(lambda name: _field(body, name, str, "") if name in body else None),
            confirmed=confirmed,
            trust=visitor.by_header and _field(body, "trust", bool, default=False),
            build_only=_field(body, "build_only", bool, default=False),
            with_dask=_field(body, "dask", bool, default=False),
            size=_field(body, "size", str, ""),
            launch_host=self.public_origin + self.web.service_prefix,
            client_ip=self.request.remote_ip or "",
        )


class BuildTokenHandler(ApiHandler):
    """``POST /api/v1/build-token``: a page that is open for long renews its token, to reconnect its stream."""

    async def post(self) -> None:
        """A fresh token for a token of this person and page."""
        visitor = self.require_visitor()
        body = self.read_json()
        subject = self.token_subject(_field(body, "spec", str, ""), visitor.person)
        self.finish({"build_token": self.tokens.renew(_field(body, "build_token", str, ""), subject)})


class TokenHandler(ApiHandler):
    """A handler for clients with a token of their own.

    Code of a session runs in browsers on our own origin: what reads or changes all that is a person's takes no cookie.
    """

    def require_token(self) -> Visitor:
        """The visitor. Raises LoginRequired for nobody and for a browser's login."""
        visitor = self.require_visitor()
        if not visitor.by_header:
            raise LoginRequired(
                "This address wants a token, not a browser's login.", hint="Send `Authorization: token`."
            )
        return visitor
