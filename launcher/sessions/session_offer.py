"""What a person may choose for a regular session."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from launcher.models import EnvironmentKey, MachineSize
from launcher.policy.environments import ListedEnvironment, ListedEnvironments


@dataclass(frozen=True)
class RegularSessions:
    """The operator's say about regular sessions.

    own: the launcher starts them; if not, JupyterHub does, by the operator's own spawner, and nothing can be chosen.
    listed: the environments of their list. images: patterns of images people may name; empty means none.
    """

    own: bool = True
    listed: ListedEnvironments = field(default_factory=ListedEnvironments)
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecentEnvironment:
    """A ready environment that the person used, of a repository that is trusted in front of them.

    name: of the repository. used: when they last asked for it.
    """

    key: EnvironmentKey
    name: str
    used: datetime


@dataclass(frozen=True)
class Offer:
    """Everything to choose from.

    available: False where regular sessions are not the launcher's; then there is nothing else in it.
    sizes: the first is what one gets without a choice; empty on a hub without sizes.
    images: whether an image may be named.
    """

    available: bool
    sizes: tuple[MachineSize, ...] = ()
    listed: tuple[ListedEnvironment, ...] = ()
    recent: tuple[RecentEnvironment, ...] = ()
    images: bool = False
