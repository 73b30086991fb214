"""What a session's container is: its image, what it sees, and the ways out of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from launcher.builders.process.sandbox import HOME
from launcher.config import Settings
from launcher.engine.base import Bind, ContainerOrder, Image
from launcher.hub.container.relays import CONTAINER_NAME, DOORS, DOORS_NAME, Way, inside_part, make_doors
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME
from launcher.hub.session import CONTENT, INSIDE_NAME, RUN, SCRIPTS, SHARED, first_command

SERVER_SOCKET = "server"
SCRIPTS_BIND = Bind(Path(__file__).parents[1] / "inside", SCRIPTS)
SESSION_TMPFS = {"/run": 16 * 2**20}
_LOG_BYTES = 2**20


@dataclass(frozen=True)
class Ports:
    """Loopback ports of a session, the same inside as outside.

    server: where the Jupyter server listens. hub: where the Hub's API is. gateway: Dask-Gateway's, None without.
    internet: where the session finds its proxy, None when it may reach nothing.
    """

    server: int
    hub: int
    gateway: int | None
    internet: int | None

    @classmethod
    def of(cls, settings: Settings, hub_url: str, *, server: int, internet: int) -> Ports:
        """The ports that settings allow a session, with two free ones."""
        reaches = settings.containers is not None and settings.containers.session_network != "none"
        gateway = settings.dask.port if settings.dask is not None else None
        return cls(server, _port(hub_url), gateway, internet if reaches else None)


def session_ways(ports: Ports, run: Path, *, hub_url: str, egress: Path | None) -> list[Way]:
    """All ways of a session. ``hub_url`` is the address of the Hub's API, ``egress`` the socket of the proxy."""
    hub = f"tcp:{urlsplit(hub_url).hostname}:{_port(hub_url)}"
    ways = [Way.into(SERVER_SOCKET, ports.server, outside=run / INSIDE_NAME, inside=RUN)]
    ways.append(Way.out("hub", ports.hub, hub, run=run))
    if ports.gateway is not None:
        ways.append(Way.out("gateway", ports.gateway, f"tcp:127.0.0.1:{ports.gateway}", run=run))
    if ports.internet is not None and egress is not None:
        ways.append(Way.out("internet", ports.internet, f"unix:{egress}", run=run))
    return ways


def session_binds(run: Path, home: Path, content: Path | None) -> tuple[Bind, ...]:
    """What a session sees of this machine. Never its run directory itself, as in `launcher.hub.session`."""
    binds = [
        Bind(home, HOME, read_only=False),
        Bind(run / "tmp", "/tmp", read_only=False),  # noqa: S108 - the path inside
        Bind(run / INSIDE_NAME, RUN, read_only=False),
        Bind(run / DOORS_NAME, DOORS),
        *(Bind(run / name, f"{SHARED}/{name}", read_only=False) for name in (ALIVE_NAME, VARIABLES_NAME)),
    ]
    return (*binds, *([Bind(content, CONTENT)] if content is not None else []))


def with_ways(environment: Mapping[str, str], ports: Ports, hub_url: str) -> dict[str, str]:
    """The variables of a session, as they are true inside: the Hub on the session's own loopback, and the proxy."""
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(hub_url))
    inside = f"http://127.0.0.1:{ports.hub}"
    found = {
        name: value.replace(origin, inside, 1) if value.startswith(origin) else value
        for name, value in environment.items()
    }
    return found | (proxy_variables(ports.internet) if ports.internet is not None else {})


def proxy_variables(port: int) -> dict[str, str]:
    """What programs read that look for a proxy; it is on the container's own loopback."""
    names = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), f"http://127.0.0.1:{port}")
    return names | dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost,::1")


def furnish_ways(run: Path, ways: list[Way], *, forget: list[str], owner: tuple[int, int] | None) -> None:
    """Put into a session's run directory what its container's first program reads, and where its ways are."""
    make_doors(run)
    file = run / INSIDE_NAME / CONTAINER_NAME
    file.write_text(json.dumps(inside_part(ways, lock=f"{SHARED}/{ALIVE_NAME}", forget=forget)))
    if owner is not None:
        os.chown(file, *owner)


def first_program(python: str, container_file: str) -> tuple[str, ...]:
    """What every container of ours runs first, with the command to go on with behind it."""
    return python, "-I", "-S", f"{SCRIPTS}/container.py", container_file


def session_order(
    image: Image,
    python: str,
    *,
    environment: Mapping[str, str],
    run: Path,
    home: Path,
    content: Path | None,
    labels: Mapping[str, str],
) -> ContainerOrder:
    """A session's container; whose it is and its limits are left to say. ``python`` in it will be the server's."""
    order = isolated_order(image.id, python, first_command(python), file=f"{RUN}/{CONTAINER_NAME}", labels=labels)
    return replace(order, environment=environment, binds=(*order.binds, *session_binds(run, home, content)))


def isolated_order(
    image: str, python: str, command: Sequence[str], *, file: str, labels: Mapping[str, str]
) -> ContainerOrder:
    """What containers of sessions, and of clusters beside them, have in common: they see nothing of this machine yet.

    ``file`` is what `launcher.hub.inside.container` reads there before it runs the command.
    """
    return ContainerOrder(
        image=image,
        command=(*first_program(python, file), *command),
        labels=labels,
        working_directory=HOME,
        binds=(SCRIPTS_BIND,),
        tmpfs=SESSION_TMPFS,
        log_bytes=_LOG_BYTES,
    )


def _port(url: str) -> int:
    return urlsplit(url).port or 80
