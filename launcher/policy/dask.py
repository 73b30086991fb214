"""Who gets Dask, and whose environment gets its packages because somebody said so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from launcher.models import HomeKind, Person

_EVERY_SERVICE = "access:services"


class Reason(str):
    """Why not: a sentence in English, "" for no reason. Pages say ``key`` among their words, filled with ``values``."""

    __slots__ = ("key", "values")
    key: str
    values: dict[str, Any]

    def __new__(cls, sentence: str, key: str, **values: Any) -> Self:
        """A sentence with its key."""
        reason = super().__new__(cls, sentence)
        reason.key, reason.values = key, values
        return reason


@dataclass(frozen=True)
class DaskPolicy:
    """The operator's say about Dask.

    scope: the Hub's scope that lets somebody have clusters; "" on a hub without Dask, where every answer is no.
    groups: whose members have it; empty means everybody.
    environments: which ones get Dask's packages, as `launcher.dask.config.LauncherDask.environments`.
    """

    scope: str = ""
    groups: tuple[str, ...] = ()
    environments: str = "choice"

    def refusal(self, person: Person, home: HomeKind) -> str:
        """Why this person's session with that home gets no Dask, a sentence; "" when it does, or nobody does."""
        if not self.scope:
            return ""
        if person.scopes.isdisjoint({self.scope, _EVERY_SERVICE}):
            if self.groups and person.groups.isdisjoint(self.groups):
                return Reason("Your groups on this hub have no Dask.", "launch.dask_no_groups")
            sentence = f"Your login or token has no Dask: it lacks the scope {self.scope}."
            return Reason(sentence, "launch.dask_no_scope", scope=self.scope)
        if home is not HomeKind.PERSONAL:  # code of strangers starts nothing with the person's rights
            return Reason("Repositories you did not say you trust get no Dask.", "launch.dask_no_trust")
        return ""

    def allows(self, person: Person, home: HomeKind) -> bool:
        """Whether the token of this person's session with that home may ask for clusters."""
        return bool(self.scope) and not self.refusal(person, home)

    def can_choose(self, person: Person) -> bool:
        """Whether "with Dask" is for this person to choose, for repositories they trust."""
        return self.environments == "choice" and self.allows(person, HomeKind.PERSONAL)

    def adds(self, person: Person, home: HomeKind, *, chosen: bool) -> bool:
        """Whether Dask's packages are added to the environment whatever its recipe says.

        ``chosen``: the person asked for it. With "always" everybody shares one environment, with rights to Dask or not.
        """
        if self.environments == "always":
            return bool(self.scope)
        return chosen and self.can_choose(person) and self.allows(person, home)
