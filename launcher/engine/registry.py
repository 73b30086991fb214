"""A registry in which finished environments are kept, besides the engine's own storage.

An environment is named by its image id, the hash of everything in it, also there: its tag is the id. What a pull
brings is compared with the id that was asked for, so whoever may write to the registry can hide an environment but not
replace it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import docker.auth
import docker.errors
import structlog

from launcher.engine.client import Engine
from launcher.engine.config import ContainerSettings
from launcher.engine.find import find_engine
from launcher.errors import ConfigurationInvalid, EngineError, LauncherError, RegistryUnavailable
from launcher.findings import Finding

logger = structlog.get_logger(__name__)
_SECONDS = 900
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_REPOSITORY = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+")
_HIDDEN = re.compile(r"unauthori[sz]ed|authentication required|denied|forbidden", re.IGNORECASE)
_UNKNOWN = re.compile(r"manifest unknown|name unknown|not found|not known", re.IGNORECASE)
_CERTIFICATE = re.compile(r"x509|certificate|HTTP response to HTTPS", re.IGNORECASE)


class Registry:
    """One repository in a registry: ``host[:port]/path``. ``memory``: a directory with a file for each digest known.

    credentials: a file in the format of docker's ``config.json``, None for a registry without a password. It is read
    at every use, so that a new password needs no restart. Raises ConfigurationInvalid for an odd name.
    """

    def __init__(self, repository: str, credentials: Path | None, memory: Path) -> None:
        if not _REPOSITORY.fullmatch(repository):
            raise ConfigurationInvalid(
                f"c.LauncherContainers.registry {repository!r} is not HOST/PATH, in lower case.",
                hint="Name a repository of your registry, such as registry.example.org/binder/environments.",
            )
        self.repository = repository
        self._credentials = credentials
        self._memory = memory

    async def push(self, engine: Engine, image: str) -> None:
        """Keep an image there. Raises RegistryUnavailable, ConfigurationInvalid."""
        tag = image.removeprefix("sha256:")
        name = f"{self.repository}:{tag}"
        await engine.tag(image, name)
        try:
            async with _patience():
                digest = await engine.transfers.push(self.repository, tag, self.login())
        except EngineError as error:
            with suppress(EngineError):
                await engine.remove_image(name)  # the name only: the image has its own
            raise _in_words(error) from error
        self._remember(tag, digest)

    async def pull(self, engine: Engine, image: str) -> bool:
        """Bring an image back, exactly that one; False when the registry does not have it.

        By the digest it was pushed with, else by its tag. Raises RegistryUnavailable, ConfigurationInvalid.
        """
        if not _IMAGE_ID.fullmatch(image):
            return False
        tag = image.removeprefix("sha256:")
        digest = self._digest(tag)
        names = [f"{self.repository}@{digest}"] if digest else []
        for name in (*names, f"{self.repository}:{tag}"):
            try:
                async with _patience():
                    await engine.transfers.pull(name, self.login())
            except EngineError as error:
                if _UNKNOWN.search(error.hint):
                    continue
                raise _in_words(error) from error
            if await engine.image(image) is not None:
                return True
            logger.warning("registry_holds_another_image", name=name)
            with suppress(EngineError):
                await engine.remove_image(name)
        return False

    def login(self) -> Mapping[str, str]:
        """Name and password for the registry; nothing when none are set. Raises ConfigurationInvalid."""
        if self._credentials is None:
            return {}
        host = self.repository.partition("/")[0]
        try:
            # Docker's own reader takes a missing or broken file for an empty one, so it is given what is in there.
            known = dict(json.loads(self._credentials.read_bytes()))
            found = docker.auth.load_config(config_dict=known).resolve_authconfig(host) if known else None
        except (OSError, ValueError, TypeError, docker.errors.DockerException) as error:
            raise ConfigurationInvalid(
                "The file of c.LauncherContainers.registry_credentials cannot be read.",
                hint="It has the format of docker's config.json; `podman login --authfile FILE HOST` makes one.",
            ) from error
        if not found:
            raise ConfigurationInvalid(
                f"The file of c.LauncherContainers.registry_credentials has no password for {host}.",
                hint=f"Add one with `podman login --authfile FILE {host}`.",
            )
        username, password = found.get("username") or found.get("Username"), found.get("password")
        return {"username": str(username), "password": str(password or found.get("Password")), "serveraddress": host}

    def _digest(self, tag: str) -> str:
        try:
            digest = (self._memory / tag).read_text()
        except OSError:
            return ""
        return digest if _IMAGE_ID.fullmatch(digest) else ""

    def _remember(self, tag: str, digest: str) -> None:
        """Write down under which digest an image was pushed; without that, its tag has to do."""
        if not digest:
            return
        self._memory.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = self._memory / f".{tag}"
        partial.write_text(digest)
        partial.replace(self._memory / tag)

    def forget(self, image: str) -> None:
        """Forget the digest of an image that nobody asks for any more."""
        if _IMAGE_ID.fullmatch(image):
            (self._memory / image.removeprefix("sha256:")).unlink(missing_ok=True)


@asynccontextmanager
async def _patience() -> AsyncIterator[None]:
    """A registry that never comes to an end is as good as none. Raises RegistryUnavailable."""
    try:
        async with asyncio.timeout(_SECONDS):
            yield
    except TimeoutError as error:
        raise RegistryUnavailable(
            "The registry takes too long.", hint="The environment is built or used on this machine alone."
        ) from error


def configured_registry(settings: ContainerSettings, state: Path) -> Registry | None:
    """The registry of the settings; None when there is none. Raises ConfigurationInvalid when it cannot be used."""
    if not settings.registry:
        return None
    file = settings.registry_credentials
    registry = Registry(settings.registry, Path(file).expanduser() if file else None, state / "registry")
    registry.login()
    return registry


def registry_finding(settings: ContainerSettings, state: Path) -> Finding:
    """Whether the registry of the settings answers this engine, and takes the password."""

    async def ask() -> None:
        registry = configured_registry(settings, state)
        if registry is not None:
            async with Engine(find_engine(settings.engine, state)) as engine:
                await registry.pull(engine, f"sha256:{'0' * 64}")  # nothing has that id

    try:
        asyncio.run(ask())
    except LauncherError as error:
        return Finding(good=False, what=error.message.rstrip("."), hint=error.hint)
    return Finding(good=True, what=f"registry {settings.registry}")


def _in_words(error: EngineError) -> RegistryUnavailable:
    """What went wrong between engine and registry; their own words go to the operator's log."""
    logger.warning("registry_failed", engine=error.hint)
    if _HIDDEN.search(error.hint):
        return RegistryUnavailable(
            "The registry refused the launcher's password.",
            hint="The operator sets it in the file of c.LauncherContainers.registry_credentials.",
        )
    if _CERTIFICATE.search(error.hint):
        return RegistryUnavailable(
            "The registry's certificate is not one that the container engine trusts.",
            hint="The operator gives the engine the registry's certificate authority.",
        )
    return RegistryUnavailable(
        "The registry does not answer.", hint="The operator finds the engine's own words in the hub's log."
    )
