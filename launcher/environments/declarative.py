"""Whether a project's packaging can put files into the project that lie outside its packages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from launcher.environments.repository_files import TEXT_LIMIT_BYTES, RepositoryFiles

_BACKENDS = {
    "hatchling.build": ("hatchling", "hatch"),
    "setuptools.build_meta": ("setuptools", "setuptools"),
    "flit_core.buildapi": ("flit-core", "flit"),
    "uv_build": ("uv-build", "uv"),
    "poetry.core.masonry.api": ("poetry-core", "poetry"),
}
"""Backend -> its package and its table below ``[tool]``."""
_POETRY_METADATA = (
    "name", "version", "description", "authors", "maintainers", "license", "readme", "homepage", "repository",
    "documentation", "keywords", "classifiers", "urls", "dependencies", "dev-dependencies", "group", "extras",
    "scripts", "plugins", "package-mode",
)  # fmt: skip
_ALLOWED_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "hatch": {
        "envs": None,
        "version": {"path": None},
        "metadata": {"allow-direct-references": None},
        "build": {"targets": {"wheel": {"packages": None}}},
    },
    "setuptools": {
        "packages": {"find": {"where": None, "include": None, "exclude": None}},
        "py-modules": None,
        "include-package-data": None,
        "zip-safe": None,
        "dynamic": None,
    },
    "flit": {"module": {"name": None}},
    "poetry": dict.fromkeys(_POETRY_METADATA),
    "uv": {"dev-dependencies": None, "default-groups": None, "build-backend": {"module-name": None}},
}
"""Settings below ``[tool]`` that select no data files; None stands for any value."""
_ENUMERATES = re.compile(
    r"""
    glob | walk | scandir | listdir | iterdir           # looks at what is there
    | data_files | (?<!include_)package_data            # selects data files
    | cmdclass | ext_modules | package_dir              # runs its own steps, or makes another layout
    | global-include | (graft|recursive-include)\s+[.*] # MANIFEST.in: everything
    """,
    re.VERBOSE,
)


def packaging_text(files: RepositoryFiles, *names: str) -> str:
    """What stands in these files, whatever their encoding: only ASCII words are looked for in it.

    Raises SourceTooLarge for a packaging file of absurd size.
    """
    data = [files.tree.read(name, limit=TEXT_LIMIT_BYTES) for name in names if name in files.blobs]
    return "\n".join(part.decode("latin-1") for part in data)


def takes_only_packages(files: RepositoryFiles) -> bool:
    """Whether the packaging of the root project takes the files of its packages and those it names, nothing else.

    False whenever that is not plain to see: an unknown backend, a plugin, a setting or a word that selects files.
    """
    if _ENUMERATES.search(packaging_text(files, "setup.py", "setup.cfg", "MANIFEST.in")):
        return False
    if files.has("__init__.py"):
        return False  # the root itself is a package
    if not files.has("pyproject.toml"):
        return files.has("setup.py")
    body = files.toml("pyproject.toml")
    if "build-system" not in body:
        body = {**body, "build-system": {"requires": [], "build-backend": "setuptools.build_meta"}}
    return _plain_pyproject(body)


def _plain_pyproject(body: Mapping[str, Any]) -> bool:
    build, project, tool = (body.get(key, {}) for key in ("build-system", "project", "tool"))
    if not all(isinstance(table, Mapping) for table in (build, project, tool)):
        return False
    backend = _BACKENDS.get(str(build.get("build-backend")))
    if backend is None or "backend-path" in build or "license-files" in project:
        return False
    package, table = backend
    return _requires_only(build.get("requires"), {package, "setuptools", "wheel"}) and _within(
        tool.get(table, {}), _ALLOWED_SETTINGS[table]
    )


def _requires_only(requires: Any, allowed: set[str]) -> bool:
    """Whether a build requires nothing that could be a plugin."""
    try:
        return all(canonicalize_name(Requirement(line).name) in allowed for line in requires)
    except (InvalidRequirement, TypeError):
        return False


def _within(settings: Any, allowed: Any) -> bool:
    """Whether every key of the settings is one of those allowed, at every level."""
    if allowed is None or not isinstance(settings, Mapping):
        return True
    return all(key in allowed and _within(value, allowed[key]) for key, value in settings.items())
