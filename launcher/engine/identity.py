"""Who a container's user is on this machine: decides whose files it may change."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.engine.base import EngineInfo
from launcher.errors import ConfigurationInvalid

USER_ID = 1000


@dataclass(frozen=True)
class Identity:
    """A container's user.

    user: ``uid:gid`` inside. owner: uid (and gid) that files must have on this machine for that user; None when they
    may be our own. user_namespace: as the engine wants it said, "" for its usual one.
    """

    user: str
    owner: int | None
    user_namespace: str


def identify(info: EngineInfo, uid: int, gid: int) -> Identity:
    """The user of containers that share files with us; ``uid`` and ``gid`` are ours.

    As root we give files to the container's user. Otherwise they stay our own: an engine without root maps us to that
    user, an engine with root runs the container as us. Raises ConfigurationInvalid when neither is possible.
    """
    usual = f"{USER_ID}:{USER_ID}"
    if not info.rootless:
        return Identity(usual, USER_ID, "") if uid == 0 else Identity(f"{uid}:{gid}", None, "")
    if info.name != "podman":
        raise ConfigurationInvalid(
            "Docker without root cannot give containers their files.",
            hint="Use podman without root, or docker with it.",
        )
    return Identity(usual, None, f"keep-id:uid={USER_ID},gid={USER_ID}")
