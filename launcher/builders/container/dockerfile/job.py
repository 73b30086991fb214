"""What all steps of one Dockerfile's build have in common, and their way out."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.builders.container.config import ContainerBuilderConfig
from launcher.builders.container.dockerfile.bases import Bases
from launcher.builders.container.dockerfile.context import Context
from launcher.builders.container.site import Site
from launcher.builders.uv.egress import SOCKET_NAME, running
from launcher.builders.uv.limits import readable
from launcher.builders.uv.workspace import BRIDGE_FILE
from launcher.engine.base import Bind, ContainerOrder
from launcher.engine.client import Engine
from launcher.engine.labels import Kind, ours
from launcher.errors import BuildFailed, BuildLimitExceeded
from launcher.models import BuildId

_OUT = "/mnt"  # is there in most images, so that layers hold no directory made for the mount
_CERTIFICATES = "certificates.pem"
_BLOCK = 512
_SAY_AND_STAY = 'echo "$HTTP_PROXY"; exec sleep infinity'


@dataclass
class Disk:
    """Bytes that a build has written so far."""

    written: int = 0


@dataclass(frozen=True)
class Job:
    """One build of a Dockerfile.

    file: its name, for people. arguments: of the build, which win over the Dockerfile's own defaults. directory: of
    the build, on this machine.
    """

    engine: Engine
    site: Site
    config: ContainerBuilderConfig
    build_id: BuildId
    log: BuildLog
    bases: Bases
    context: Context
    file: str
    directory: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    disk: Disk = field(default_factory=Disk)

    def spend(self, count: int) -> None:
        """Count what the build has written, all layers together. Raises BuildLimitExceeded."""
        self.require_room(count)
        self.disk.written += count

    def require_room(self, count: int) -> None:
        """Raises BuildLimitExceeded when the build may not write as much as that, too."""
        most = self.config.limits.disk_bytes
        if most is not None and self.disk.written + count > most:
            raise BuildLimitExceeded(
                f"The build wrote more than {readable(most)} to disk.",
                hint="The operator can raise the limits of builds.",
            )

    @property
    def labels(self) -> dict[str, str]:
        """Of every container of the build."""
        return ours(self.config.state_directory, Kind.BUILD, build=self.build_id)


@dataclass(frozen=True)
class WayOut:
    """How steps reach what builds may reach.

    network: of their containers. variables: of their programs. file_bytes: how long one file may become.
    """

    network: str
    variables: Mapping[str, str]
    binds: tuple[Bind, ...]
    file_bytes: int | None

    def lead(self, command: Sequence[str], more: Mapping[str, str]) -> tuple[str, ...]:
        """A command that gets variables which its container, and an image made of it, do not have."""
        variables = {**self.variables, **more}
        exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in variables.items())
        limits = "ulimit -c 0; " + (f"ulimit -f {self.file_bytes // _BLOCK}; " if self.file_bytes else "")
        return ("/bin/sh", "-c", f'{limits}{exports}exec "$@"', "sh", *command)


@asynccontextmanager
async def way_out(job: Job) -> AsyncIterator[WayOut]:
    """A network with nothing in it but the filtering proxy.

    A container of its own holds it: images of others need not have the program that joins proxy and network.
    """
    place = job.directory / "egress"
    place.mkdir(parents=True)
    shutil.copyfile(BRIDGE_FILE, place / "bridge.py")
    python = str(job.site.pythons[0].executable)
    bridge = (python, "-I", "-S", f"{_OUT}/bridge.py", f"{_OUT}/{SOCKET_NAME}", "core=0")
    order = ContainerOrder(
        image=job.site.base.id,
        command=(*bridge, "/bin/sh", "-c", _SAY_AND_STAY),
        labels=job.labels,
        user="0:0",
        binds=(Bind(place, _OUT),),
        capabilities=("DAC_OVERRIDE",),  # the proxy's socket is its owner's
        host_name="build",
        memory_bytes=job.config.limits.memory_bytes,  # steps decide how much goes through it
        processes=job.config.limits.task_limit,
    )
    async with running(job.config.egress_policy, place), job.engine.run(order) as holder:
        address = b""
        async for piece in holder.output:
            address += piece
            if b"\n" in address:
                break
        if not address.startswith(b"http://"):
            raise BuildFailed("The way out of this build could not be opened.", hint="Launch again.")
        proxy = address.decode().strip()
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        variables = dict.fromkeys(names, proxy)
        yield WayOut(
            f"container:{holder.id}", variables | _index(job.config), _certificates(job), job.config.limits.file_bytes
        )


def _index(config: ContainerBuilderConfig) -> dict[str, str]:
    """Where Python packages come from, as the operator has it."""
    if not config.index_url:
        return {}
    found = {"PIP_INDEX_URL": config.index_url, "UV_DEFAULT_INDEX": config.index_url}
    if config.index_url.startswith("http://"):
        host = config.index_url.split("/")[2].rpartition("@")[2]
        found |= {"PIP_TRUSTED_HOST": host, "UV_INSECURE_HOST": host}
    if config.certificates:
        file = f"{_OUT}/{_CERTIFICATES}"
        found |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE"), file)
    return found


def _certificates(job: Job) -> tuple[Bind, ...]:
    if job.config.certificates is None:
        return ()
    place = job.directory / "certificates"
    place.mkdir()
    shutil.copyfile(job.config.certificates, place / _CERTIFICATES)
    return (Bind(place, _OUT),)
