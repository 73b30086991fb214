"""Build requests as JSON values and back, so that a restarted service can run them again.

The fields are read from the dataclasses themselves: one that is added there cannot be forgotten here.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from launcher.models import BuildId, BuildRequest, EnvironmentKey, Recipe, Snapshot

_VERSION = 1


class UnreadableRequest(ValueError):
    """The JSON values are not a build request of this version."""


@dataclass(frozen=True)
class _Stored:
    recipe: Recipe
    snapshot: Snapshot
    anew: bool = False


def request_to_json(recipe: Recipe, snapshot: Snapshot, *, anew: bool = False) -> dict[str, Any]:
    """What a build needs, as JSON values; the build's id and key are columns of its row."""
    return {"version": _VERSION, **_encode(_Stored(recipe, snapshot, anew))}


def request_from_json(build_id: BuildId, key: EnvironmentKey, body: Mapping[str, Any]) -> BuildRequest:
    """The inverse of `request_to_json`, exactly. Raises UnreadableRequest for what another version wrote."""
    if body.get("version") != _VERSION:
        raise UnreadableRequest("a build request of another version")
    stored = _decode(_Stored, {name: value for name, value in body.items() if name != "version"})
    return BuildRequest(build_id, key, stored.recipe, stored.snapshot, stored.anew)


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _encode(item) for name, item in value.items()}
    if isinstance(value, (tuple, list, frozenset)):
        return [_encode(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"no JSON for {type(value).__name__}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, value: Any) -> Any:
    kind = getattr(kind, "__supertype__", kind)  # a NewType is its base at run time
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        if value is None and type(None) in get_args(kind):
            return None
        (inner,) = [option for option in get_args(kind) if option is not type(None)]
        return _decode(inner, value)
    if origin is not None:
        return _decode_collection(origin, get_args(kind), value)
    if is_dataclass(kind) and isinstance(kind, type):
        return _decode_dataclass(kind, value)
    if isinstance(kind, type) and issubclass(kind, (StrEnum, Path)):
        return _decode_word(kind, value)
    if not isinstance(value, kind):
        raise UnreadableRequest(f"not a {kind.__name__}")
    return value


def _decode_word(kind: type[StrEnum | Path], value: Any) -> StrEnum | Path:
    if not isinstance(value, str):
        raise UnreadableRequest(f"not a {kind.__name__}")
    try:
        return kind(value)
    except ValueError as error:
        raise UnreadableRequest(f"not a {kind.__name__}") from error


def _decode_collection(origin: Any, arguments: tuple[Any, ...], value: Any) -> Any:
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise UnreadableRequest("not a mapping")
        return {_decode(arguments[0], name): _decode(arguments[1], item) for name, item in value.items()}
    if not isinstance(value, list):
        raise UnreadableRequest("not a list")
    return origin(_decode(arguments[0], item) for item in value)


def _decode_dataclass(kind: type, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise UnreadableRequest(f"not a {kind.__name__}")
    known = {field.name: field for field in fields(kind)}
    if unknown := value.keys() - known.keys():
        raise UnreadableRequest(f"{kind.__name__} with unknown fields: {', '.join(sorted(unknown))}")
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise UnreadableRequest(f"{kind.__name__} without {name}")
    return kind(**{name: _decode(_hints(kind)[name], item) for name, item in value.items()})
