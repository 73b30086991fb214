"""pyproject.toml: what it asks to install, and what that can reach."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name

from launcher.environments.python_version import specifier
from launcher.environments.reach import Reach
from launcher.environments.repository_files import RepositoryFiles, shown
from launcher.environments.requirements import add_requirement
from launcher.errors import RecipeInvalid

GROUPS_FOR_SESSIONS = ("binder", "notebook")
"""Dependency groups (PEP 735) meant for people who open the repository; the first that exists is installed."""


@dataclass(frozen=True)
class Pyproject:
    """The parts of a pyproject.toml that decide an environment.

    is_project: has a ``[project]`` table. buildable: also ``[build-system]``, so that mybinder.org installs it.
    requires_python: a PEP 440 specifier or None. groups: names of dependency groups, as written.
    """

    path: str
    body: Mapping[str, Any]
    is_project: bool
    buildable: bool
    requires_python: str | None
    groups: tuple[str, ...]

    @property
    def session_group(self) -> str | None:
        """The dependency group for sessions: ``binder``, else ``notebook``, else None."""
        names = {canonicalize_name(name): name for name in reversed(self.groups)}
        return next((names[name] for name in map(canonicalize_name, GROUPS_FOR_SESSIONS) if name in names), None)

    @property
    def needs_building(self) -> bool:
        """Whether only building the project tells its dependencies, or it says how to be built."""
        return self.buildable or (self.is_project and "dependencies" in _names(self.body["project"].get("dynamic")))

    @property
    def is_recipe(self) -> bool:
        """Whether there is anything to install: not so for a file that only configures tools."""
        return self.is_project or self.session_group is not None

    def table(self, *keys: str) -> Mapping[str, Any]:
        """A table somewhere below the top; empty when it is not there. RecipeInvalid when it is no table."""
        found: Any = self.body
        for key in keys:
            found = found.get(key, {})
            if not isinstance(found, Mapping):
                raise _wrong(self.path, ".".join(keys))
        return found  # type: ignore[no-any-return]  # narrowed in the loop; keys are never empty

    def default_groups(self) -> tuple[str, ...]:
        """The groups uv installs from a lock without being asked: ``tool.uv.default-groups``, else ``dev``."""
        chosen = self.table("tool", "uv").get("default-groups", ["dev"])
        if chosen == "all":
            return self.groups
        wanted = {canonicalize_name(name) for name in _names(chosen)}
        return tuple(name for name in self.groups if canonicalize_name(name) in wanted)


def read_pyproject(files: RepositoryFiles, path: str) -> Pyproject:
    """Read a pyproject.toml; RecipeInvalid when it is not TOML or a table this needs has another shape."""
    body = files.toml(path)
    for key in ("project", "build-system", "dependency-groups", "tool"):
        if not isinstance(body.get(key, {}), Mapping):
            raise _wrong(path, key)
    project = body.get("project", {})
    return Pyproject(
        path=path,
        body=body,
        is_project="project" in body,
        buildable="project" in body and "build-system" in body,
        requires_python=specifier(project.get("requires-python"), path),
        groups=tuple(body.get("dependency-groups", {})),
    )


def follow_pyproject(pyproject: Pyproject, reach: Reach) -> None:
    """Add what the dependencies, the session group and uv's sources of a project that is not itself built can reach.

    Raises RecipeInvalid for a requirement that is none, or a path that is missing or leaves the repository.
    """
    reach.add_file(pyproject.path)
    base = posixpath.dirname(pyproject.path)
    where = shown(pyproject.path)
    for requirement in _names(pyproject.body.get("project", {}).get("dependencies")):
        add_requirement(requirement, where, reach, base=base)
    for group in pyproject.groups:
        for entry in _entries(pyproject.table("dependency-groups").get(group)):
            if isinstance(entry, str):
                add_requirement(entry, where, reach, base=base)
    if _sources_are_local(pyproject.table("tool", "uv").get("sources", {})):
        reach.anything = True


def _sources_are_local(sources: Any) -> bool:
    """Whether ``[tool.uv.sources]`` names a path or workspace member (or has a shape that is not understood)."""
    if not isinstance(sources, Mapping):
        return True
    choices = [choice for entry in sources.values() for choice in (entry if isinstance(entry, list) else [entry])]
    return any(not isinstance(choice, Mapping) or not {"git", "url", "index"} & choice.keys() for choice in choices)


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: Any) -> list[str]:
    return [item for item in _entries(value) if isinstance(item, str)]


def _wrong(path: str, table: str) -> RecipeInvalid:
    return RecipeInvalid(
        f"{shown(path)}: {shown(table)} is not a table.", hint="See the Python packaging guide on pyproject.toml."
    )
