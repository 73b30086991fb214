"""Which engine is here. Light on purpose (standard library only): JupyterHub imports it to start sessions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.engine.service import OwnEngine
from launcher.engine.sockets import UNIX, why_silent
from launcher.errors import EngineUnavailable


@dataclass(frozen=True)
class EngineAddress:
    """Where an engine listens: ``url`` as in ``DOCKER_HOST``, and in ``found`` how we came to it, in words.

    own: the launcher's own podman, which may be started again when it does not answer.
    """

    url: str
    found: str
    own: OwnEngine | None = None

    @property
    def socket(self) -> Path:
        """Path of the unix socket."""
        return Path(self.url.removeprefix(UNIX))


def find_engine(setting: str, state: Path, environment: Mapping[str, str] | None = None) -> EngineAddress:
    """The engine to use, started when it is our own. The same answer as long as nothing changes on the machine.

    ``setting``: `ContainerSettings.engine`. ``state``: the state directory; an engine of our own lives there.
    Raises EngineUnavailable with what to install or start.
    """
    address = look_for_engine(setting, state, environment)
    if address.own is not None:
        address.own.ensure()
    return address


def look_for_engine(setting: str, state: Path, environment: Mapping[str, str] | None = None) -> EngineAddress:
    """The same, and nothing is started."""
    variables = os.environ if environment is None else environment
    for address in _named(setting, variables):  # what somebody named must work: no silent way out
        problem = why_silent(address.socket)
        if problem:
            raise EngineUnavailable(
                f"The container engine named by {address.found} {problem}.",
                hint="Start it, or let the launcher find one by leaving the setting empty.",
            )
        return address
    own = OwnEngine(state.expanduser().absolute() / "engine")
    # Environments are in the storage of one engine: once it is our own, it stays our own.
    found = None if own.exists() else next((one for one in _usual(variables) if not why_silent(one.socket)), None)
    if found is not None:
        return found
    if own.installed():
        return EngineAddress(f"{UNIX}{own.socket}", "the launcher's own podman", own)
    raise EngineUnavailable(
        "There is no container engine on this machine.",
        hint="Install podman (Debian and Ubuntu: apt-get install podman runc), or docker for this user.",
    )


def _named(setting: str, variables: Mapping[str, str]) -> Iterator[EngineAddress]:
    """What the operator named, the launcher's own setting first."""
    for url, found in ((setting, "c.LauncherContainers.engine"), (variables.get("DOCKER_HOST", ""), "DOCKER_HOST")):
        if not url:
            continue
        if not url.startswith(f"{UNIX}/"):
            raise EngineUnavailable(
                f"{found} does not name a socket of this machine.",
                hint="Sessions see directories of this machine, so the engine must be on it: unix:///path/of/its.sock",
            )
        yield EngineAddress(url, found)


def _usual(variables: Mapping[str, str]) -> Iterator[EngineAddress]:
    """Where engines listen when nobody changed it, podman first."""
    runtime = variables.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    home = variables.get("HOME", "/nonexistent")
    if os.getuid() != 0:
        yield EngineAddress(f"{UNIX}{runtime}/podman/podman.sock", "podman's socket of this user")
    else:
        yield EngineAddress(f"{UNIX}/run/podman/podman.sock", "podman's socket")
    for path in (
        f"{runtime}/docker.sock",
        f"{home}/.docker/run/docker.sock",
        "/run/docker.sock",
        "/var/run/docker.sock",
    ):
        yield EngineAddress(f"{UNIX}{path}", "docker's socket")
