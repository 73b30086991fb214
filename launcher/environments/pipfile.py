"""Pipfile and Pipfile.lock, as pipenv reads them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from launcher.environments.reach import Reach
from launcher.environments.repository_files import RepositoryFiles, shown
from launcher.errors import RecipeInvalid

_VERSION = re.compile(r"[0-9]{1,3}(\.[0-9]{1,4})*")
_META = "_meta"


def follow_pipfile(path: str, reach: Reach) -> None:
    """Add what the packages of a Pipfile or Pipfile.lock reach: both the default and the development ones.

    Paths start from the file's directory. Raises RecipeInvalid when the file cannot be read, or names a place that is
    missing or outside the repository.
    """
    body = _body(reach.repository, path)
    reach.add_file(path)
    tables = {name: table for name, table in body.items() if name not in {_META, "source", "requires", "scripts"}}
    for table in tables.values():
        if not isinstance(table, Mapping):
            continue
        for package in table.values():
            if isinstance(package, Mapping):
                _add_package(package, path, reach)


def _add_package(package: Mapping[str, Any], path: str, reach: Reach) -> None:
    base, where = posixpath.dirname(path), shown(path)
    editable = package.get("editable") is True
    if isinstance(package.get("path"), str):
        reach.add_url(package["path"], named_in=where, editable=editable, base=base)
    elif isinstance(package.get("file"), str):
        reach.add_url(package["file"], named_in=where, editable=editable, base=base)


def pipfile_python(files: RepositoryFiles, lock: str, pipfile: str) -> tuple[str, str] | None:
    """``(version, path)`` of the Python asked for, ``major.minor`` as on mybinder.org; the lock is asked first."""
    for path in (lock, pipfile):
        if not files.has(path):
            continue
        body = _body(files, path)
        requires = body.get(_META, {}).get("requires", {}) if path == lock else body.get("requires", {})
        for key in ("python_full_version", "python_version"):
            value = requires.get(key) if isinstance(requires, Mapping) else None
            if isinstance(value, str) and (match := _VERSION.match(value)):
                return ".".join(match.group().split(".")[:2]), path
    return None


def _body(files: RepositoryFiles, path: str) -> Mapping[str, Any]:
    body = files.json(path) if path.endswith(".lock") else files.toml(path)
    if not isinstance(body.get(_META, {}), Mapping):
        raise RecipeInvalid(f"{shown(path)} is not a Pipfile.lock.", hint="Make it again with pipenv lock.")
    return body
