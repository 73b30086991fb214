"""The description of the JSON API in OpenAPI 3.1, made from the types of `schema` and the handlers' own words.

``python -m launcher.web.openapi`` prints it: the front end's client is generated from that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec

from launcher.sessions.session_choices import FIELDS
from launcher.web import schema, schema_new_session
from launcher.web.routes import routes
from launcher.web.service import PublicHandler

_STREAM, _TEXT, _ARCHIVE = "text/event-stream", "text/plain", "application/gzip"
_PREFIX = "/services/binder/"
_PLACES = {
    r"builds/([A-Za-z0-9_-]{1,64})": ("builds/{build_id}", "build_id"),
    r"sessions/([A-Za-z0-9._~@-]{0,64})": ("sessions/{server_name}", "server_name"),
    r"project-homes/([A-Za-z0-9._~@-]{0,64})": ("project-homes/{server_name}", "server_name"),
    r"environments/([0-9a-f]{64})": ("environments/{key}", "key"),
    r"clusters/([0-9a-f]{32})": ("clusters/{name}", "name"),
    r"logs/([0-9a-z]{1,64})": ("logs/{process}", "process"),
}


@dataclass(frozen=True)
class Operation:
    """What one method of one address takes and gives.

    answer: a type of `schema`, the media type of what is no JSON, or None for an answer without a body.
    """

    answer: Any
    body: Any = None
    query: tuple[str, ...] = ()
    status: HTTPStatus = HTTPStatus.OK


_NOTHING = Operation(None, status=HTTPStatus.NO_CONTENT)
CHOICES = tuple(name for name in FIELDS if name != "trust")
OPERATIONS: dict[str, dict[str, Operation]] = {
    "preview": {"get": Operation(schema.PreviewAnswer, query=("spec", "dask", "size"))},
    "launches": {"post": Operation(schema.LaunchAnswer, body=schema.LaunchWish, status=HTTPStatus.ACCEPTED)},
    "build-token": {"post": Operation(schema.BuildTokenAnswer, body=schema.BuildTokenWish)},
    "builds": {"get": Operation(schema.BuildsAnswer, query=("status", "text", "repository", "own", "before", "limit"))},
    "builds/{build_id}": {"get": Operation(schema.BuildAnswer, query=("key",)), "delete": _NOTHING},
    "builds/{build_id}/log": {"get": Operation(_TEXT, query=("key",))},
    "builds/{build_id}/events": {"get": Operation(_STREAM, query=("key", "last_event_id"))},
    "builds/{build_id}/share": {"get": Operation(schema.ShareAnswer)},
    "links": {"post": Operation(schema.LinksAnswer, body=schema.LinksWish)},
    "new-session": {
        "get": Operation(schema_new_session.NewSessionAnswer),
        "post": Operation(
            schema_new_session.StartedAnswer, body=schema_new_session.NewSessionWish, status=HTTPStatus.ACCEPTED
        ),
    },
    "new-session/events": {"get": Operation(_STREAM, query=(*CHOICES, "last_event_id"))},
    "sessions": {"get": Operation(schema.SessionsAnswer)},
    "sessions/{server_name}": {"delete": _NOTHING},
    "sessions/{server_name}/activity": {"post": _NOTHING},
    "repositories": {"get": Operation(schema.RepositoriesAnswer)},
    "trust": {"delete": Operation(None, query=("repository",), status=HTTPStatus.NO_CONTENT)},
    "project-homes/{server_name}": {"get": Operation(schema.ProjectHomeAnswer), "delete": _NOTHING},
    "project-homes/{server_name}/archive": {"get": Operation(_ARCHIVE)},
    "environments": {"get": Operation(schema.EnvironmentsAnswer, query=("search", "after", "limit"))},
    "environments/{key}": {"delete": _NOTHING},
    "environments/{key}/pin": {"post": _NOTHING, "delete": _NOTHING},
    "environments/{key}/rebuild": {"post": Operation(schema.BuildAnswer, status=HTTPStatus.ACCEPTED)},
    "clusters": {"get": Operation(schema.ClustersAnswer)},
    "clusters/{name}": {"delete": _NOTHING},
    "clusters/{name}/logs": {"get": Operation(schema.LogsAnswer)},
    "clusters/{name}/logs/{process}": {"get": Operation(_TEXT)},
}


def api_routes() -> dict[str, type[Any]]:
    """Every address below ``api/v1/`` as the description writes it, and its handler."""
    base = re.escape(_PREFIX) + "api/v1/"
    found = {}
    for pattern, handler, *_ in routes(_PREFIX):
        if not pattern.startswith(base):
            continue
        path = pattern.removeprefix(base)
        for expression, (spelling, _name) in _PLACES.items():
            path = path.replace(expression, spelling)
        found[path] = handler
    return found


@cache
def document() -> dict[str, Any]:
    """The whole description."""
    types = {one for methods in OPERATIONS.values() for operation in methods.values() for one in _types(operation)}
    ordered = sorted(types | {schema.ProblemAnswer}, key=lambda one: one.__name__)
    shapes, components = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    refs = dict(zip(ordered, shapes, strict=True))
    handlers = api_routes()
    paths = {
        f"/{path}": {
            method: _operation(path, method, operation, handlers[path], refs) for method, operation in methods.items()
        }
        for path, methods in OPERATIONS.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Launcher", "version": "1"},
        "servers": [{"url": f"{_PREFIX}api/v1"}],
        "security": [{"hubToken": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"hubToken": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(operation: Operation) -> set[Any]:
    return {one for one in (operation.answer, operation.body) if isinstance(one, type) or hasattr(one, "__total__")}


def _operation(
    path: str, method: str, operation: Operation, handler: type[Any], refs: dict[Any, Any]
) -> dict[str, Any]:
    in_path = [{"name": name, "in": "path", "required": True} for name in re.findall(r"{(\w+)}", path)]
    in_query = [{"name": name, "in": "query", "required": False} for name in operation.query]
    success: dict[str, Any] = {"description": operation.status.phrase}
    if isinstance(operation.answer, str):
        success["content"] = {operation.answer: {"schema": {"type": "string"}}}
    elif operation.answer is not None:
        success["content"] = {"application/json": {"schema": refs[operation.answer]}}
    problem = {"application/json": {"schema": refs[schema.ProblemAnswer]}}
    found: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method} {path}").strip("_"),
        "summary": (getattr(handler, method).__doc__ or "").split("\n")[0],
        "parameters": [{**parameter, "schema": {"type": "string"}} for parameter in (*in_path, *in_query)],
        "responses": {
            str(operation.status.value): success,
            "default": {"description": "What happened and what to do", "content": problem},
        },
    }
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": refs[operation.body]}}}
    return found


class OpenApiHandler(PublicHandler):
    """``/api/v1/openapi.json``."""

    async def get(self) -> None:
        """The description of the JSON API, in OpenAPI 3.1."""
        self.finish(document())


if __name__ == "__main__":
    print(json.dumps(document(), indent=2, sort_keys=True))  # noqa: T201 - it is made to be redirected
