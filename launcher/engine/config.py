"""Settings of the container runtime: traits at the edge (``c.LauncherContainers.…``), one frozen dataclass inside."""

from __future__ import annotations

from dataclasses import dataclass

from traitlets import Enum, Integer, List, TraitError, Unicode
from traitlets.config import Configurable

from launcher.engine.sockets import UNIX
from launcher.traits import traits_for


@dataclass(frozen=True)
class ContainerSettings:
    """Everything an operator decided about containers, checked. Field by field the traits of `LauncherContainers`."""

    engine: str
    base_image: str
    base_from: str
    base_packages: tuple[str, ...]
    debian_mirror: str
    session_processes: int
    session_network: str
    allowed_images: tuple[str, ...]
    allowed_base_images: tuple[str, ...]
    repo2docker_base_image: str
    registry: str
    registry_credentials: str


class LauncherContainers(Configurable):
    """The operator's traits about containers; ``c.Launcher.runtime = "container"`` switches them on."""

    engine = Unicode(
        "",
        help="Address of podman or docker, such as unix:///run/podman/podman.sock. Empty: `DOCKER_HOST`, podman's "
        "socket, docker's socket, or a podman of the launcher's own, whichever is there first.",
    ).tag(config=True)
    base_image = Unicode(
        "",
        help="Image that environments and sessions start from, made by `launcher base-image`. Empty: the one that "
        "this version of the launcher makes.",
    ).tag(config=True)
    base_from = Unicode(
        "",
        help="Debian or Ubuntu image that the base image is made from, such as docker.io/library/debian:bookworm. "
        "Empty: a small Debian made with mmdebstrap.",
    ).tag(config=True)
    base_packages = List(
        Unicode(),
        help="Debian packages that the base image has besides its own few, for everybody, such as `build-essential`.",
    ).tag(config=True)
    debian_mirror = Unicode("", help="Where Debian packages come from. Empty: where this machine gets its own.").tag(
        config=True
    )
    session_processes = Integer(4096, min=64, help="Processes and threads of one session.").tag(config=True)
    session_network = Enum(
        ["internet", "indexes", "none"],
        "internet",
        help="What sessions may reach besides the hub: the web ports of any public address, package indexes and "
        "`c.Launcher.allow_hosts` only, or nothing. Never loopback, private or metadata addresses.",
    ).tag(config=True)
    allowed_images = List(
        Unicode(),
        help="Patterns of images that people may start regular sessions with, such as `quay.io/my-org/*`; they must be "
        "on the machine and hold JupyterHub's single-user server. Empty: only the hub's own.",
    ).tag(config=True)

    allowed_base_images = List(
        Unicode(),
        help="Patterns of images that Dockerfiles of repositories may start from, by their full names, such as "
        "`docker.io/library/python:3.*` or `quay.io/jupyter/*`. The launcher's own base image is always allowed, as "
        "`localhost/launcher/base`. Empty: nothing else.",
    ).tag(config=True)
    repo2docker_base_image = Unicode(
        "",
        help="Image that repo2docker builds environment.yml, R, Julia and Nix on, such as "
        "docker.io/library/buildpack-deps:24.04, which it is made for. Empty: the launcher's own base image.",
    ).tag(config=True)
    registry = Unicode(
        "",
        help="Repository of a registry in which environments are kept, such as registry.example.org/binder: what is "
        "gone from this machine is pulled again instead of built. Empty: none.",
    ).tag(config=True)
    registry_credentials = Unicode(
        "",
        help="File with the registry's password in the format of docker's config.json. Neither builds nor sessions see "
        "it. Empty: the registry wants none.",
    ).tag(config=True)

    def settings(self) -> ContainerSettings:
        """The traits as `ContainerSettings`. TraitError when one is wrong."""
        settings = ContainerSettings(**traits_for(self, ContainerSettings))
        if settings.engine and not settings.engine.startswith(f"{UNIX}/"):
            raise TraitError(
                f"engine {settings.engine!r} must be a socket of this machine, such as "
                "unix:///run/podman/podman.sock: sessions see directories of this machine."
            )
        return settings
