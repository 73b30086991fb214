"""A podman of the launcher's own: ``podman system service`` with storage and settings below the state directory.

Used when podman is installed and no engine listens. The service keeps nothing in memory: killed, it is started again,
and containers go on. Light on purpose (standard library only), as `find` is.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.engine.sockets import why_silent
from launcher.errors import EngineUnavailable

_START_SECONDS = 30
_STOP_SECONDS = 10
# Podman's own defaults are more than it may give when root lacks CAP_SYS_RESOURCE, and it lowers itself to the second.
_OPEN_FILES = 65536
_PROCESSES = 32768
_PODMAN = "podman"
_TEMPORARY = "libpod"
_STORAGE = "storage"
_DRIVER = "overlay"


@dataclass(frozen=True)
class OwnEngine:
    """One engine of ours, below ``directory``: ``storage`` (images), ``containers.conf``, ``storage.conf``, ``log``."""

    directory: Path

    @property
    def run(self) -> Path:
        """What must not outlive a start of the machine, and have a short path: sockets have at most 107 bytes."""
        name = f"launcher-{os.getuid()}-{hashlib.sha256(str(self.directory.absolute()).encode()).hexdigest()[:12]}"
        for parent in (Path("/run"), Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")):
            if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
                return parent / name
        return Path(tempfile.gettempdir()) / name

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.run / "podman.sock"

    @staticmethod
    def installed() -> bool:
        """Whether there is a podman that could be started."""
        return shutil.which(_PODMAN) is not None

    def exists(self) -> bool:
        """Whether it was used before, so that there may be images of ours in its storage."""
        return (self.directory / "storage.conf").is_file()

    def runs(self) -> bool:
        """Whether the service answers."""
        return not why_silent(self.socket)

    def variables(self) -> dict[str, str]:
        """The environment for a podman that uses our settings and storage, and nobody else's."""
        names = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        ours = {name: str(self.directory / file) for name, file in names.items()}
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "CONTAINER_"))
        }
        return {**inherited, **ours}

    def ensure(self) -> None:
        """Start it unless it answers. Raises EngineUnavailable with podman's own words when it cannot be started."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _private(self.run)
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # hub and service may want it at the same time
            if why_silent(self.socket):
                self._start()

    def stop(self) -> None:
        """End the service. Containers go on, until somebody ends them. Nothing running is fine."""
        pid = self._pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + _STOP_SECONDS
            while self._pid() is not None and time.monotonic() < deadline:
                time.sleep(0.02)
            if self._pid() is not None:
                os.kill(pid, signal.SIGKILL)
        self._end_pause()
        self._let_go_of_storage()

    def _let_go_of_storage(self) -> None:
        """Root's podman leaves its storage mounted on itself, and nobody could remove the state directory then.

        It stays mounted as long as a container is.
        """
        if os.getuid() == 0:
            storage = self.directory / _STORAGE / _DRIVER
            subprocess.run(["umount", str(storage)], capture_output=True, check=False)

    def _end_pause(self) -> None:
        """End the process that keeps an ordinary user's namespace; podman starts one when it needs it."""
        with suppress(OSError, ValueError):
            pid = int((self.run / _TEMPORARY / "pause.pid").read_text())
            if Path(f"/proc/{pid}/comm").read_text().startswith((_PODMAN, "catatonit")):
                os.kill(pid, signal.SIGKILL)

    def _start(self) -> None:
        self._configure()
        self.socket.unlink(missing_ok=True)
        with (self.directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [_PODMAN, "system", "service", "--time=0", f"unix://{self.socket}"],
                env=self.variables(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + _START_SECONDS
        while why_silent(self.socket):
            if process.poll() is not None or time.monotonic() > deadline:
                raise EngineUnavailable(
                    "Podman could not be started as the launcher's engine.", hint=self._last_words()
                )
            time.sleep(0.05)
        process.returncode = 0  # it outlives us on purpose; Popen would warn

    def _configure(self) -> None:
        """Write the settings, with the storage driver that works here."""
        (self.directory / "containers.conf").write_text(_containers_conf(self.run))
        if self.exists():
            return
        for driver in (_DRIVER, "vfs"):
            text = _storage_conf(driver, self.directory / _STORAGE, self.run)
            (self.directory / "storage.conf").write_text(text)
            tried = subprocess.run(
                [_PODMAN, "info"], env=self.variables(), capture_output=True, text=True, check=False, cwd="/"
            )
            if tried.returncode == 0:
                return
            (self.directory / "log").write_text(tried.stderr)
            (self.directory / "storage.conf").unlink()
        raise EngineUnavailable("Podman cannot be used on this machine.", hint=self._last_words())

    def _last_words(self) -> str:
        lines = (self.directory / "log").read_text(errors="replace").strip().splitlines()
        return f"Podman says: {lines[-1]}" if lines else "Run `podman info` to see what podman says."

    def _pid(self) -> int | None:
        """The service's process, unless it has ended or somebody else has its number now."""
        try:
            pid = int((self.directory / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if f"unix://{self.socket}".encode() in command.split(b"\0") else None


def _private(directory: Path) -> None:
    """A directory of ours in a place where others could have made it before us. Raises EngineUnavailable."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    if directory.is_symlink() or status.st_uid != os.getuid():
        raise EngineUnavailable(f"{directory} belongs to somebody else.", hint="Remove it and start again.")
    directory.chmod(0o711)


def _containers_conf(run: Path) -> str:
    """Settings of podman that fit this machine: limits we may set, a runtime that knows its control groups."""
    files = _at_most(resource.RLIMIT_NOFILE, _OPEN_FILES)
    processes = _at_most(resource.RLIMIT_NPROC, _PROCESSES)
    manager = "systemd" if _has_systemd() else "cgroupfs"
    lines = [
        "[containers]",
        f'default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]',
        'log_driver = "k8s-file"',
        "[engine]",
        f'cgroup_manager = "{manager}"',
        'events_logger = "none"',
        "exit_command_delay = 20",  # seconds that a small process stays behind every command in a container
        f'tmp_dir = "{run / _TEMPORARY}"',
    ]
    # crun refuses the older version of control groups.
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists() and shutil.which("runc", path=_PROGRAMS):
        lines.append('runtime = "runc"')
    return "\n".join(lines) + "\n"


def _at_most(limit: int, most: int) -> int:
    """What containers get of a limit of this process."""
    hard = resource.getrlimit(limit)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


_PROGRAMS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"))


def _has_systemd() -> bool:
    """Whether control groups can be asked of systemd: of the machine's for root, of the user's own otherwise."""
    if not Path("/run/systemd/system").is_dir():
        return False
    return os.getuid() == 0 or Path(f"/run/user/{os.getuid()}/bus").exists()


def _storage_conf(driver: str, storage: Path, run: Path) -> str:
    return f'[storage]\ndriver = "{driver}"\ngraphroot = "{storage}"\nrunroot = "{run / "run"}"\n'
