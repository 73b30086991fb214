"""The directories of one build, and what its steps see of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from launcher.builders.places import ENVIRONMENT, HOME, REPOSITORY
from launcher.builders.removal import remove_tree
from launcher.builders.uv.config import UvBuilderConfig
from launcher.builders.uv.egress import SOCKET_DIRECTORY, SOCKET_NAME
from launcher.builders.uv.pythons import Interpreter
from launcher.builders.uv.runtime import Layered, View
from launcher.models import BuildId

UV = "/srv/tools/uv"
EXCHANGE = "/srv/exchange"
"""Files that go in and out of a step: requirements, locks, lists."""
SNAPSHOT = "/srv/snapshot.git"
_CACHE = "/srv/cache"
_WHEELS = "wheels"
_STAGING = "staging"
_BRIDGE = "/srv/tools/bridge.py"
FINISH = "/srv/tools/finish.py"
_CERTIFICATES = "/srv/tools/certificates.pem"
_INSIDE = Path(__file__).with_name("inside")
BRIDGE_FILE = _INSIDE / "bridge.py"
_READ_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True)
class Workspace:
    """The places of one build. ``staging`` becomes the published environment, ``root`` is thrown away.

    owner: who files must belong to outside so that the user inside may change them; None when that is us.
    """

    config: UvBuilderConfig
    build_id: BuildId
    interpreter: Interpreter
    snapshot: Path
    owner: int | None = None

    @property
    def root(self) -> Path:
        """Everything private to this build."""
        return self.config.work / self.build_id

    @property
    def staging(self) -> Path:
        """The environment under construction, on the file system of the cache and inside its mount.

        A hard link cannot cross two mounts, not even of one file system.
        """
        return self.config.cache / _STAGING / self.build_id

    @property
    def venv(self) -> Path:
        """The virtualenv under construction."""
        return self.staging / "venv"

    def directory(self, name: str) -> Path:
        """One of the private directories: repository, home, exchange, egress, tmp, cache, overlay."""
        return self.root / name

    def create(self) -> None:
        """Make all directories, readable to us only; foreign code writes below them."""
        for path in (self.config.cache / _WHEELS, self.config.cache / _STAGING, self.config.work):
            path.mkdir(parents=True, exist_ok=True)
        self.root.mkdir(mode=0o700)
        self.directory("egress").mkdir()
        written = [self.directory(name) for name in ("repository", "home", "exchange", "tmp", "cache", "overlay")]
        for path in (*written, self.staging, self.venv):
            path.mkdir()
            self._hand_over(path)
        self._hand_over(self.config.cache / _WHEELS)

    @property
    def written(self) -> tuple[Path, ...]:
        """What counts as this build's disk."""
        return (self.root, self.staging)

    def clean(self, environment: Mapping[str, str] | None = None) -> View:
        """For steps that run no code of anybody: the shared wheel cache is writable, links are hard."""
        return self._view(
            foreign=False,
            read_write=((self.config.cache, _CACHE),),
            links=((ENVIRONMENT, f"{_CACHE}/{_STAGING}/{self.build_id}/venv"),),
            environment={"UV_CACHE_DIR": f"{_CACHE}/{_WHEELS}", **(environment or {})},
        )

    def foreign(self, environment: Mapping[str, str] | None = None) -> View:
        """For steps that run code of others: what they change of the cache is theirs alone, links are copies."""
        overlay = Layered(
            self.config.cache / _WHEELS, self.directory("cache"), self.directory("overlay"), f"{_CACHE}/{_WHEELS}"
        )
        return self._view(
            foreign=True,
            read_write=((self.venv, ENVIRONMENT),),
            layered=(overlay,),
            environment={
                "UV_CACHE_DIR": f"{_CACHE}/{_WHEELS}",
                "UV_LINK_MODE": "copy",
                "PATH": f"{ENVIRONMENT}/bin:/usr/local/bin:/usr/bin:/bin",
                "VIRTUAL_ENV": ENVIRONMENT,
                "REPO_DIR": REPOSITORY,
                **(environment or {}),
            },
        )

    def checking(self) -> View:
        """For a look at the finished environment: it runs, nobody can write to it."""
        return self._view(foreign=True, read_only=((self.venv, ENVIRONMENT),), environment={"VIRTUAL_ENV": ENVIRONMENT})

    def bridged(self, command: Sequence[str], resource_limits: str) -> list[str]:
        """A step's command as the sandbox starts it: behind the bridge to the egress proxy, with its limits."""
        bridge = [str(self.interpreter.executable), "-I", "-S", _BRIDGE]
        return [*bridge, f"{SOCKET_DIRECTORY}/{SOCKET_NAME}", resource_limits, *command]

    def read(self, name: str, *, below: str = "exchange") -> str:
        """The text of an exchange file, or of a file in another private directory.

        Follows no link on the way and reads no more than a limit: foreign code may have made it.
        Raises OSError when it is not a regular file.
        """
        descriptor = _open_without_links(self.directory(below), name)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{name} is not a file")
            return file.read(_READ_LIMIT).decode("utf-8", errors="replace")

    def write(self, name: str, text: str) -> str:
        """Put an exchange file in place; where a step sees it. Replaces whatever foreign code left under that name."""
        path = self.directory("exchange") / name
        with suppress(FileNotFoundError):
            path.unlink()
        with path.open("x", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        self._hand_over(path)
        return f"{EXCHANGE}/{name}"

    def rewrite(self, name: str, text: str) -> None:
        """Replace a file of the checked-out repository; before any foreign code has run."""
        (self.directory("repository") / name).write_text(text, encoding="utf-8")

    def _hand_over(self, path: Path) -> None:
        """Give a file of ours to the user inside."""
        if self.owner is not None:
            os.chown(path, self.owner, self.owner, follow_symlinks=False)

    def _view(
        self,
        *,
        foreign: bool,
        environment: Mapping[str, str],
        read_only: tuple[tuple[Path, str], ...] = (),
        read_write: tuple[tuple[Path, str], ...] = (),
        layered: tuple[Layered, ...] = (),
        links: tuple[tuple[str, str], ...] = (),
    ) -> View:
        return View(
            foreign=foreign,
            read_only=(
                *((path, str(path)) for path in self.interpreter.binds),
                (Path(find_uv_bin()), UV),
                (BRIDGE_FILE, _BRIDGE),
                (_INSIDE / "finish.py", FINISH),
                (self.snapshot, SNAPSHOT),
                *self._certificate_files(),
                *((Path(link), link) for link in self.config.find_links if "://" not in link),
                *read_only,
            ),
            read_write=(
                (self.directory("repository"), REPOSITORY),
                (self.directory("home"), HOME),
                (self.directory("exchange"), EXCHANGE),
                (self.directory("egress"), SOCKET_DIRECTORY),
                (self.directory("tmp"), "/tmp"),  # noqa: S108 - the sandbox's own
                *read_write,
            ),
            layered=layered,
            links=links,
            environment={**self._variables(), **environment},
            working_directory=REPOSITORY,
        )

    def _certificate_files(self) -> tuple[tuple[Path, str], ...]:
        return ((self.config.certificates.resolve(), _CERTIFICATES),) if self.config.certificates else ()

    def _variables(self) -> dict[str, str]:
        """Everything a step has in its environment; nothing of ours is inherited."""
        variables = {
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_CONCURRENT_BUILDS": "2",
            "NO_COLOR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "NO_PROXY": "",
        }
        if self.config.index_url:
            variables |= {"UV_DEFAULT_INDEX": self.config.index_url, "PIP_INDEX_URL": self.config.index_url}
        if self.config.extra_index_urls:
            variables["UV_INDEX"] = " ".join(self.config.extra_index_urls)
            variables["PIP_EXTRA_INDEX_URL"] = variables["UV_INDEX"]
        if self.config.find_links:
            variables["UV_FIND_LINKS"] = ",".join(self.config.find_links)
        insecure = [url for url in (self.config.index_url, *self.config.extra_index_urls) if url]
        hosts = [url.split("/")[2].rpartition("@")[2] for url in insecure if url.startswith("http://")]
        if hosts:
            variables |= {"UV_INSECURE_HOST": " ".join(hosts), "PIP_TRUSTED_HOST": " ".join(hosts)}
        if self.config.certificates:
            names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
            variables |= dict.fromkeys((*names, "NODE_EXTRA_CA_CERTS"), _CERTIFICATES)
        return variables


def _open_without_links(directory: Path, name: str) -> int:
    """A descriptor of a file below a directory of ours. Raises OSError when a link is on the way."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    *parents, last = [part for part in name.split("/") if part]
    current = os.open(directory, flags | os.O_DIRECTORY)
    try:
        for part in parents:
            if part == "..":
                raise OSError("a path may not climb")
            following = os.open(part, flags | os.O_DIRECTORY, dir_fd=current)
            os.close(current)
            current = following
        return os.open(last, flags, dir_fd=current)
    finally:
        os.close(current)


def remove_build(config: UvBuilderConfig, build_id: BuildId) -> None:
    """Delete the private and the staging directory of a build."""
    remove_tree(config.work / build_id)
    remove_tree(config.cache / _STAGING / build_id)


def builds_on_disk(config: UvBuilderConfig) -> frozenset[BuildId]:
    """Every build that left a directory, whether it runs or not."""
    places = (config.work, config.cache / _STAGING)
    return frozenset(BuildId(path.name) for place in places if place.is_dir() for path in place.iterdir())


def wheels(config: UvBuilderConfig) -> Path:
    """The cache directory of uv, shared by all builds."""
    return config.cache / _WHEELS
