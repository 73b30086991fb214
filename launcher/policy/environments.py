"""Listed environments: which ones the operator offers to whom, for regular sessions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.errors import ConfigurationInvalid, EnvironmentNotFound
from launcher.models import Person
from launcher.policy.entries import read_name, read_text, require_different
from launcher.policy.groups import is_for, read_groups

_SPEC = re.compile(r"[a-z0-9]+/\S+")
_KEYS = ("name", "title", "description", "repository", "image", "groups")
_EXAMPLE = "For example {'name': 'geo', 'title': 'Geospatial', 'repository': 'gh/my-org/geo-environment/main'}."


@dataclass(frozen=True)
class ListedEnvironment:
    """An environment of the operator's list; being there is their word that it is safe.

    repository: the spec whose recipe it is, ``gh/org/repo/ref``; or "", and image is the name of an image.
    groups: whose members are offered it; empty means everybody.
    """

    name: str
    title: str
    description: str = ""
    repository: str = ""
    image: str = ""
    groups: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> ListedEnvironment:
        """The inverse of ``dataclasses.asdict`` after a way through JSON; TypeError when it is something else."""
        return cls(**{**body, "groups": tuple(body["groups"])})


@dataclass(frozen=True)
class ListedEnvironments:
    """The operator's list, in their order."""

    environments: tuple[ListedEnvironment, ...] = ()

    def offered(self, person: Person) -> tuple[ListedEnvironment, ...]:
        """What this person may choose."""
        return tuple(one for one in self.environments if is_for(one.groups, person))

    def choose(self, name: str, person: Person) -> ListedEnvironment:
        """The one of that name. Raises EnvironmentNotFound when this person is not offered such a one."""
        for one in self.offered(person):
            if one.name == name:
                return one
        raise EnvironmentNotFound(
            "That environment is not offered to you.", hint="Choose one of the list; it may have changed meanwhile."
        )


def read_environments(entries: Sequence[Mapping[str, Any]], *, images: bool) -> tuple[ListedEnvironment, ...]:
    """``c.Launcher.environments`` as values. ``images``: the runtime starts sessions from images.

    Raises ConfigurationInvalid with a sentence that names the entry.
    """
    found = tuple(_read(entry, number, images=images) for number, entry in enumerate(entries, 1))
    require_different("environments", [one.name for one in found])
    return found


def _read(entry: Mapping[str, Any], number: int, *, images: bool) -> ListedEnvironment:
    name = read_name("environments", number, entry, keys=_KEYS, hint=_EXAMPLE)
    where = f"environments, {name!r}"
    texts = {key: read_text(where, entry, key) for key in ("title", "description", "repository", "image")}
    if bool(texts["repository"]) is bool(texts["image"]):
        raise ConfigurationInvalid(f"{where}: it needs either a repository or an image.", hint=_EXAMPLE)
    if texts["image"] and not images:
        raise ConfigurationInvalid(
            f"{where}: this runtime starts no sessions from images.", hint="Name a repository instead."
        )
    if texts["repository"] and not _SPEC.fullmatch(texts["repository"]):
        raise ConfigurationInvalid(
            f"{where}: repository must be a spec such as gh/my-org/geo-environment/main, not {texts['repository']!r}."
        )
    title = texts.pop("title") or name
    return ListedEnvironment(name=name, title=title, **texts, groups=read_groups(where, entry.get("groups", ())))
