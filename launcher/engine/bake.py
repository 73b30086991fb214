"""Making the base image: a container is started from Debian, prepared from inside, and committed."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from uv import find_uv_bin

from launcher import server_recipe
from launcher.engine.base import Bind, ContainerOrder, Image, ImageConfig
from launcher.engine.base_image import (
    INTERPRETER,
    PREPARE,
    REPOSITORY,
    SERVER_ENVIRONMENT,
    SUITE,
    base_image_name,
    inputs,
    packages,
)
from launcher.engine.client import Engine
from launcher.engine.config import ContainerSettings
from launcher.engine.debian import debian
from launcher.engine.labels import INPUTS, KIND, STATE, Kind, ours
from launcher.errors import EngineError

_UV = "/run/uv"
_CERTIFICATES = "/run/certificates.pem"
_PREPARE = "/run/prepare.sh"
_PATH = "/usr/local/bin:/usr/bin:/bin"
# What the package manager needs of root.
_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
_INHERITED = ("UV_", "PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_WORKS = "import jupyterhub.singleuser"
_LAST_WORDS = 2000

Say = Callable[[str], None]
"""Where words of progress go."""


async def make_base_image(engine: Engine, settings: ContainerSettings, state: Path, say: Say) -> Image:
    """Make the base image, or leave it when it is there. Takes one or two minutes, and needs the network.

    ``state``: the state directory, whose label the container carries meanwhile. Raises EngineError.
    """
    name = base_image_name(settings)
    image = await engine.image(name)
    if image is not None:
        return image
    if settings.base_image:
        raise EngineError(
            f"The base image {settings.base_image} is not there.",
            hint="Pull it, or leave c.LauncherContainers.base_image empty and make one with `launcher base-image`.",
        )
    below = await _below(engine, settings, say)
    try:
        identifier = await _bake(engine, settings, state, below=below, name=name, say=say)
    finally:
        if not settings.base_from:
            await engine.remove_image(_debian_name(settings))
    made = await engine.image(identifier)
    if made is None:
        raise EngineError("The base image was removed while it was made.", hint="Make it again: launcher base-image")
    return made


def _debian_name(settings: ContainerSettings) -> str:
    return f"{REPOSITORY}-debian:{inputs(settings)[:16]}"


async def _below(engine: Engine, settings: ContainerSettings, say: Say) -> str:
    """Id of the image that the base image is made from."""
    if settings.base_from:
        say(f"Fetching {settings.base_from}…")
        found = await engine.image(settings.base_from) or await engine.pull(settings.base_from)
        return found.id
    say("Making a small Debian…")
    archive = debian(SUITE, settings.debian_mirror, packages(settings))
    labels = {KIND: Kind.BASE.value}
    return await engine.import_image(archive, _debian_name(settings), ImageConfig(labels=labels))


async def _bake(engine: Engine, settings: ContainerSettings, state: Path, *, below: str, name: str, say: Say) -> str:
    """Prepare a container and commit it; returns the image's id."""
    order = ContainerOrder(
        image=below,
        command=("sleep", "infinity"),
        labels=ours(state, Kind.BASE),
        binds=_binds(),
        user="0:0",
        tmpfs={"/run": 2**20},  # what is bound there leaves nothing behind
        writable_root=True,
        capabilities=_CAPABILITIES,
        network="host",
    )
    container = await engine.create(order)
    try:
        await engine.start(container)
        inside = _Inside(engine, container)
        say("Preparing it…")
        await inside.run(["sh", _PREPARE, *packages(settings)])
        say("Installing the Jupyter server…")
        for command in server_recipe.commands(_UV, INTERPRETER, SERVER_ENVIRONMENT):
            await inside.run(command)
        await inside.run(["rm", "-f", f"{SERVER_ENVIRONMENT}/.lock"])  # of uv, and for everybody to write
        await engine.put_archive(container, SERVER_ENVIRONMENT, _archive(server_recipe.files()))
        await inside.run([f"{SERVER_ENVIRONMENT}/bin/python", "-I", "-c", _WORKS], user="1000:1000")
        say("Keeping it…")
        return await engine.commit(container, name, _config(settings))
    finally:
        await asyncio.shield(engine.remove(container))


def _config(settings: ContainerSettings) -> ImageConfig:
    """It belongs to no launcher alone."""
    return ImageConfig(
        labels={STATE: "", KIND: Kind.BASE.value, INPUTS: inputs(settings)},
        environment={"PATH": _PATH, "LANG": "C.UTF-8", "HOSTNAME": "", "container": ""},
        user="1000:1000",
        working_directory="/home/jovyan",
        command=("bash",),
    )


class _Inside:
    """Commands in the container that becomes the image. Their variables stay out of it."""

    def __init__(self, engine: Engine, container: str) -> None:
        self._engine = engine
        self._container = container

    async def run(self, command: list[str], *, user: str = "0:0") -> None:
        """Run it to its end. Raises EngineError with its last words when it fails."""
        async with self._engine.execute(self._container, command, environment=_variables(), user=user) as running:
            said = await running.output.last_words(_LAST_WORDS)
            status = await running.status()
        if status != 0:
            words = " ".join(said.split())
            raise EngineError(
                f"The base image could not be made: {Path(command[0]).name} failed.", hint=f"It says: {words}"
            )


def _certificates() -> Path | None:
    """What this machine trusts beyond the usual, if its variables say so."""
    named = next((os.environ[name] for name in _CERTIFICATE_VARIABLES if os.environ.get(name)), None)
    return Path(named).resolve() if named and Path(named).is_file() else None


def _binds() -> tuple[Bind, ...]:
    binds = [Bind(Path(find_uv_bin()), _UV), Bind(PREPARE, _PREPARE)]
    if (certificates := _certificates()) is not None:
        binds.append(Bind(certificates, _CERTIFICATES))
    return tuple(binds)


def _variables() -> Mapping[str, str]:
    """Where packages come from, as this machine has it."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(_INHERITED)}
    for name in (
        "UV_CACHE_DIR",
        "UV_PYTHON",
        "UV_PROJECT_ENVIRONMENT",
        "UV_CONSTRAINT",
        "UV_FIND_LINKS",
        "UV_CONFIG_FILE",
    ):
        variables.pop(name, None)  # paths of this machine
    if _certificates() is not None:
        variables |= dict.fromkeys(_CERTIFICATE_VARIABLES, _CERTIFICATES)
    return variables | {
        "UV_NO_CACHE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "HOME": "/root",
        "PATH": f"{_PATH}:/usr/sbin:/sbin",
    }


def _archive(files: Mapping[str, str]) -> bytes:
    """Text files as a tar archive, owned by root and readable by all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()
