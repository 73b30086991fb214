"""Configuration: traits at the edge (``c.Launcher.…``), one frozen `Settings` inside.

JupyterHub's process reads the traits once, in `launcher.enable`; the service gets the same `Settings` as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, Integer, List, TraitError, Unicode, validate
from traitlets.config import Configurable

from launcher.dask.config import DaskSettings, LauncherDask
from launcher.engine.config import ContainerSettings, LauncherContainers
from launcher.errors import ConfigurationInvalid
from launcher.models import MachineSize
from launcher.policy.culling import Culler
from launcher.policy.environments import ListedEnvironment, read_environments
from launcher.policy.sizes import read_sizes
from launcher.policy.trust import TrustPolicy
from launcher.traits import revived, traits_for
from launcher.translations import read_translations

SETTINGS_VARIABLE = "LAUNCHER_SETTINGS"
"""Environment variable that carries the settings to the service that the Hub starts."""


@dataclass(frozen=True)
class Settings:
    """Everything an operator decided, checked. Field by field the traits of `Launcher`, which document them."""

    service_name: str
    runtime: str
    state_directory: str
    database_url: str
    server_environment: str
    homes_directory: str
    public_url: str
    port: int
    ticket_secret: str
    trusted_repositories: tuple[str, ...]
    allowed_repositories: tuple[str, ...]
    banned_repositories: tuple[str, ...]
    allow_hosts: tuple[str, ...]
    local_directories: tuple[str, ...]
    github_token: str
    cors_origins: tuple[str, ...]
    banner: str
    translations_directory: str
    build_concurrency: int
    build_max_waiting: int
    build_timeout_seconds: int
    build_memory_bytes: int
    build_disk_bytes: int
    build_processes: int
    build_network: str
    index_url: str
    allow_python_downloads: bool
    environment_max_age_days: int
    environments_max_count: int
    environments_max_bytes: int
    build_log_max_age_days: int
    cache_max_age_days: int
    disk_min_free_bytes: int
    source_timeout_seconds: int
    source_max_bytes: int
    session_start_timeout_seconds: int
    session_variables: dict[str, str]
    cull_idle_after_seconds: int
    spawn_form: bool
    machine_sizes: tuple[MachineSize, ...]
    environments: tuple[ListedEnvironment, ...]
    dask: DaskSettings | None
    containers: ContainerSettings | None
    cullers: tuple[Culler, ...] = ()
    """What ends idle sessions on this hub; `launcher.enable` sees that."""

    @property
    def state(self) -> Path:
        """The state directory."""
        return Path(self.state_directory)

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the launcher's own database."""
        return self.database_url or f"sqlite:///{self.state / 'launcher.sqlite'}"

    @property
    def trust_policy(self) -> TrustPolicy:
        """The operator's patterns as a policy."""
        return TrustPolicy(self.trusted_repositories, self.allowed_repositories, self.banned_repositories)

    def to_json(self) -> str:
        """All fields as one JSON object; holds the secrets too."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The inverse of `to_json`. Raises ConfigurationInvalid when it is not one of ours."""
        try:
            body: dict[str, Any] = json.loads(text)
            for part, kind in (("dask", DaskSettings), ("containers", ContainerSettings)):
                body[part] = revived(kind, body[part]) if body[part] else None
            body["machine_sizes"] = [MachineSize.from_json(size) for size in body["machine_sizes"]]
            body["environments"] = [ListedEnvironment.from_json(listed) for listed in body["environments"]]
            body["cullers"] = [Culler.from_json(culler) for culler in body["cullers"]]
            return revived(cls, body)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ConfigurationInvalid(
                f"{SETTINGS_VARIABLE} does not hold the launcher's settings.",
                hint="Let `launcher.enable(c)` in jupyterhub_config.py start the service.",
            ) from error


class Launcher(Configurable):
    """The operator's traits. Every one has a safe default; a wrong one is refused at start with a sentence."""

    service_name = Unicode(
        "binder", help="Name of the Hub service. Clients hard-code `binder`; change it only if taken."
    ).tag(config=True)
    runtime = Enum(
        ["process", "container"],
        "process",
        help="Where builds and sessions run: processes in a sandbox, or containers of podman or docker; "
        "`c.LauncherContainers` has the settings of the latter.",
    ).tag(config=True)
    state_directory = Unicode(
        "launcher-state",
        help="Directory for environments, logs, caches, project homes and the database. Must be on a local disk: "
        "environments share files by hard links.",
    ).tag(config=True)
    database_url = Unicode(
        "", help="SQLAlchemy URL. Empty means SQLite in the state directory; use PostgreSQL for several replicas."
    ).tag(config=True)
    server_environment = Unicode(
        "",
        help="Directory of the prebuilt environment that holds the sessions' Jupyter server. Empty means "
        "`server-environment` in the state directory; make it with `launcher server-environment`.",
    ).tag(config=True)
    homes_directory = Unicode(
        "",
        help="Directory with one home for each person. Empty means the home that the Hub's own spawner gives them.",
    ).tag(config=True)
    public_url = Unicode(
        "", help="Address of the hub as browsers see it, such as https://hub.example.org. Empty: JupyterHub.public_url."
    ).tag(config=True)
    port = Integer(0, min=0, max=65535, help="Loopback port of the service; 0 picks a free one at each start.").tag(
        config=True
    )
    ticket_secret = Unicode(
        "", help="Secret that Hub and service share to sign start tickets. Empty: a new one at each start of the Hub."
    ).tag(config=True)
    trusted_repositories = List(
        Unicode(),
        help="Patterns of repositories that get people's own homes without a question, e.g. `gh/my-org/*`.",
    ).tag(config=True)
    allowed_repositories = List(
        Unicode(), help="If not empty, only repositories matching one of these may launch."
    ).tag(config=True)
    banned_repositories = List(Unicode(), help="Repositories that may never launch; wins over all else.").tag(
        config=True
    )
    allow_hosts = List(
        Unicode(),
        help="`host:port` pairs that launcher and builds may reach by http and at private addresses. Everything else "
        "private, local or not https is refused.",
    ).tag(config=True)
    local_directories = List(
        Unicode(), help="Absolute directories of this machine that may be launched as repositories (provider `local`)."
    ).tag(config=True)
    github_token = Unicode(
        "",
        help="Token for GitHub's API: raises its rate limit from 60 to 5000 an hour. Give it no scope: whatever it can "
        "see, everybody could launch.",
    ).tag(config=True)
    cors_origins = List(
        Unicode(), help="Web origins whose pages may call the API, e.g. `https://book.example.org`, or `*`."
    ).tag(config=True)
    banner = Unicode("", help="One line of plain text shown on top of the launcher's pages.").tag(config=True)
    translations_directory = Unicode(
        "",
        help="Directory with one file of words for each language that pages speak besides English, `<language>.json`; "
        "browsers say which one they want. Empty: English only.",
    ).tag(config=True)
    build_concurrency = Integer(2, min=1, help="Builds that run at once; others wait in the queue.").tag(config=True)
    build_max_waiting = Integer(100, min=0, help="Builds that may wait; more are refused with a message.").tag(
        config=True
    )
    build_timeout_seconds = Integer(1800, min=1, help="A build that takes longer is ended.").tag(config=True)
    build_memory_bytes = Integer(8 * 2**30, min=2**26, help="Memory of all processes of one build together.").tag(
        config=True
    )
    build_disk_bytes = Integer(20 * 2**30, min=2**20, help="Disk that one build may fill.").tag(config=True)
    build_processes = Integer(512, min=8, help="Processes and threads of one build.").tag(config=True)
    build_network = Enum(
        ["internet", "indexes", "none"],
        "internet",
        help="What builds may reach: any public address, package indexes only, or nothing. Never loopback, private or "
        "metadata addresses.",
    ).tag(config=True)
    index_url = Unicode(
        "", help="Package index for builds; empty means what uv or pip on this machine are configured to use."
    ).tag(config=True)
    allow_python_downloads = Bool(False, help="Let uv download a Python version that a repository asks for.").tag(
        config=True
    )
    environment_max_age_days = Integer(
        90,
        min=0,
        help="An environment that nobody used for so many days is removed; a click builds it again. 0: never.",
    ).tag(config=True)
    environments_max_count = Integer(
        0, min=0, help="More environments than this, and those unused for longest are removed. 0: no limit."
    ).tag(config=True)
    environments_max_bytes = Integer(
        0,
        min=0,
        help="When environments take more than this together, what they share counted once, those unused for longest "
        "are removed. 0: no limit.",
    ).tag(config=True)
    build_log_max_age_days = Integer(
        90, min=0, help="Builds that ended so many days ago are forgotten, with their logs. 0: never."
    ).tag(config=True)
    cache_max_age_days = Integer(
        30, min=0, help="Downloaded packages of that age that no environment uses are deleted. 0: never."
    ).tag(config=True)
    disk_min_free_bytes = Integer(
        2**30,
        min=0,
        help="With less free disk than this, unused environments are removed and builds wait until there is room. "
        "0: never.",
    ).tag(config=True)
    source_timeout_seconds = Integer(300, min=1, help="Longest time for fetching one repository.").tag(config=True)
    source_max_bytes = Integer(2 * 2**30, min=2**20, help="Largest repository or archive that is fetched.").tag(
        config=True
    )
    session_start_timeout_seconds = Integer(120, min=5, help="A session must answer within this time.").tag(config=True)
    session_variables = Dict(
        value_trait=Unicode(), key_trait=Unicode(), help="Environment variables that every launched session gets."
    ).tag(config=True)
    cull_idle_after_seconds = Integer(
        0,
        min=0,
        help="A session that nobody used for so long is ended, by jupyterhub-idle-culler; 0: never. On a hub that has "
        "a culler of its own, that one decides, and none is added.",
    ).tag(config=True)
    spawn_form = Bool(
        False,
        help="JupyterHub's Start button shows the launcher's form: machine size, environment, files. Regular sessions "
        "must be the launcher's: set `homes_directory`, or use containers.",
    ).tag(config=True)
    machine_sizes = List(
        Dict(),
        help="Machine sizes that people choose from, as dicts: `name`, `title`, `description`, `memory` (such as `8G`),"
        " `cpus`, and the `groups` of the Hub that it is for, all but the name optional. Who does not choose gets the "
        "first one that is for them. Empty: no choice.",
    ).tag(config=True)
    environments = List(
        Dict(),
        help="Environments that people choose from for their regular sessions, as dicts: `name`, `title`, "
        "`description`, the `repository` whose recipe it is, as `gh/org/repo/ref`, or with containers an `image`, and "
        "the `groups` of the Hub that it is for. Being listed is your word that it is safe beside people's files.",
    ).tag(config=True)
    dask = Bool(False, help="Dask-Gateway for sessions; `c.LauncherDask` has its settings.").tag(config=True)

    @validate("service_name")
    def _service_name(self, proposal: dict[str, Any]) -> str:
        name = str(proposal["value"])
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
            raise TraitError(
                f"service_name {name!r} must be lower-case letters, digits and hyphens, and start with a letter."
            )
        return name

    @validate("allow_hosts")
    def _allow_hosts(self, proposal: dict[str, Any]) -> list[str]:
        for pair in proposal["value"]:
            if not re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", pair):
                raise TraitError(f"allow_hosts: {pair!r} is not HOST:PORT, for example 127.0.0.1:8080.")
        return list(proposal["value"])

    def settings(self) -> Settings:
        """The traits as `Settings`, paths made absolute. Raises ConfigurationInvalid when they cannot work together."""
        values = traits_for(self, Settings)
        values["dask"] = LauncherDask(config=self.config).settings() if self.dask else None
        values["containers"] = self._containers()
        values["machine_sizes"] = read_sizes(self.machine_sizes)
        values["environments"] = read_environments(self.environments, images=values["containers"] is not None)
        values["state_directory"] = str(Path(self.state_directory).expanduser().resolve())
        values["server_environment"] = str(
            Path(self.server_environment or Path(values["state_directory"]) / "server-environment")
            .expanduser()
            .absolute()
        )
        if self.translations_directory:
            values["translations_directory"] = str(Path(self.translations_directory).expanduser().resolve())
            read_translations(values["translations_directory"])  # refuses what no page could show
        if self.homes_directory:
            values["homes_directory"] = str(Path(self.homes_directory).expanduser().resolve())
        for directory in self.local_directories:
            if not Path(directory).is_absolute() or not Path(directory).is_dir():
                raise ConfigurationInvalid(
                    f"local_directories: {directory!r} is not an existing absolute directory.",
                    hint="Name directories of this machine by their full path.",
                )
        settings = Settings(**values)
        settings.trust_policy  # noqa: B018 - refuses patterns that would match by accident
        return settings

    def _containers(self) -> ContainerSettings | None:
        return LauncherContainers(config=self.config).settings() if self.runtime == "container" else None
