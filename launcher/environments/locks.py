"""uv.lock and pylock.toml: what a lock says about Python and about places in the repository."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from launcher.environments.python_version import specifier
from launcher.environments.reach import Reach
from launcher.environments.repository_files import LOCK_LIMIT_BYTES, shown
from launcher.errors import RecipeInvalid

_PYLOCK_MAJOR = "1."


def follow_uv_lock(path: str, reach: Reach) -> str | None:
    """Add what a uv.lock installs from the repository; returns its ``requires-python``.

    A root that is only *virtual* is not installed itself, so its other files cannot matter.

    Raises RecipeInvalid when the file is not a uv.lock, or names a place that is missing or outside the repository.
    """
    body = reach.repository.toml(path, limit=LOCK_LIMIT_BYTES)
    if not isinstance(body.get("version"), int):
        raise _not_a_lock(path, "uv.lock")
    reach.add_file(path)
    base = posixpath.dirname(path)
    for package in _packages(body, "package", path):
        source = package.get("source")
        if not isinstance(source, Mapping):
            continue
        for kind, value in source.items():
            if kind == "virtual" and value == ".":
                continue
            if kind in {"editable", "directory", "path", "virtual"} and isinstance(value, str):
                reach.add_path(value, named_in=shown(path), base=base)
            elif kind == "registry" and not _is_url(value):
                reach.anything = True
    return specifier(body.get("requires-python"), path)


def follow_pylock(path: str, reach: Reach) -> str | None:
    """Add what a pylock.toml (PEP 751) installs from the repository; returns its ``requires-python``.

    Raises RecipeInvalid when the file is not a pylock.toml, or names a place that is missing or outside.
    """
    body = reach.repository.toml(path, limit=LOCK_LIMIT_BYTES)
    if not str(body.get("lock-version", "")).startswith(_PYLOCK_MAJOR):
        raise _not_a_lock(path, "pylock.toml")
    reach.add_file(path)
    base = posixpath.dirname(path)
    for package in _packages(body, "packages", path):
        places = [package.get(key) for key in ("directory", "archive", "sdist", "vcs")]
        wheels = package.get("wheels", [])
        for place in [*places, *(wheels if isinstance(wheels, list) else [])]:
            if isinstance(place, Mapping) and isinstance(place.get("path"), str) and "url" not in place:
                reach.add_path(place["path"], named_in=shown(path), base=base)
    return specifier(body.get("requires-python"), path)


def _packages(body: Mapping[str, Any], key: str, path: str) -> list[Mapping[str, Any]]:
    packages = body.get(key, [])
    if not isinstance(packages, list) or not all(isinstance(package, Mapping) for package in packages):
        raise _not_a_lock(path, posixpath.basename(path))
    return packages


def _is_url(value: object) -> bool:
    return isinstance(value, str) and "://" in value and not value.lower().startswith("file:")


def _not_a_lock(path: str, name: str) -> RecipeInvalid:
    return RecipeInvalid(f"{shown(path)} is not a {name} that can be read.", hint="Make it again with its tool.")
