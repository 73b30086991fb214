"""Speaking to an engine: what the container runtime asks of podman or docker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Self

from aiodocker.stream import Stream

from launcher.engine.ask import changes, container_body, docker_limits, podman_limits, with_labels
from launcher.engine.base import Container, ContainerOrder, Ended, EngineInfo, Image, ImageConfig
from launcher.engine.connection import CONFLICT, Body, Connection, in_sentences, last_line
from launcher.engine.find import EngineAddress
from launcher.engine.output import Executed, Output, Running
from launcher.engine.read import container_from, engine_info, image_from
from launcher.engine.transfers import Transfers
from launcher.engine.volumes import Volumes
from launcher.errors import EngineError

_KILLED = 137
_ARCHIVE = "application/x-tar"
_PIECE = 2**20


class Engine:
    """A connection to an engine. `connect` makes one; close it, or use it as an async context manager.

    Every method raises EngineUnavailable when the engine does not answer and EngineError, with the engine's own
    words in the hint, when it refuses. An engine of our own that was killed is started again by the next call.
    """

    def __init__(self, address: EngineAddress) -> None:
        self.address = address
        self._connection = Connection(address)
        self.volumes = Volumes(self._connection)
        self.transfers = Transfers(self._connection)
        self._killed: set[str] = set()
        self._info: EngineInfo | None = None

    @classmethod
    async def connect(cls, address: EngineAddress) -> Self:
        """A connection that works. Raises EngineUnavailable."""
        engine = cls(address)
        try:
            await engine.info()
        except BaseException:
            await engine.close()
            raise
        return engine

    async def close(self) -> None:
        """Let go of the engine; containers go on."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def info(self) -> EngineInfo:
        """What the engine is and can limit; asked once, because podman takes a second for it."""
        if self._info is None:
            self._info = engine_info(await self._connection.json("info"), await self._connection.json("version"))
        return self._info

    # Images

    async def image(self, name: str) -> Image | None:
        """An image by its id, digest or name; None when it is not on this machine."""
        found = await self._connection.json_if_there(f"images/{name}/json")
        return image_from(found) if found is not None else None

    async def images(self, labels: Mapping[str, str] | None = None) -> list[Image]:
        """Images that carry all these labels, newest first; with a value of "" any value will do."""
        # Podman 4 finds nothing that is asked for by two labels.
        last = dict(list((labels or {}).items())[-1:])
        listed = await self._connection.json("images/json", params=with_labels(last))
        wanted = {one["Id"] for one in listed if _carries(one.get("Labels"), labels)}
        found = await asyncio.gather(*(self.image(name) for name in wanted))
        return sorted((image for image in found if image is not None), key=lambda image: image.created, reverse=True)

    async def named(self, name: str, labels: Mapping[str, str]) -> Image | None:
        """The image that we called so, if it carries these labels.

        Labels alone prove nothing: whoever made an image that was fetched from somewhere wrote what they like there.
        """
        image = await self.image(name)
        return image if image is not None and _carries(image.labels, labels) else None

    async def tag(self, image: str, name: str) -> None:
        """Give an image one more name, ``repository:tag``; takes the name away from the image that had it."""
        repository, _, tag = name.rpartition(":")
        await self._connection.json(f"images/{image}/tag", "POST", params={"repo": repository, "tag": tag})

    async def remove_image(self, name: str, *, every_name: bool = False) -> bool:
        """Remove a name, or with an id the whole image. False when something still uses it; nothing there is fine.

        ``every_name`` takes an image with several names too. Never with force: podman would take its containers along.
        """
        image = await self.image(name) if every_name else None
        names = [*image.names, image.id] if image is not None else [name]
        for one in names:
            try:
                await self._connection.json_if_there(f"images/{one}", "DELETE", patient=True)
            except EngineError as error:
                if error.status == CONFLICT:
                    return False
                raise
        return True

    async def import_image(self, archive: Body, name: str, config: ImageConfig) -> str:
        """Make an image of a tar archive of a whole file system, called ``repository:tag``; returns its id."""
        params = {"fromSrc": "-", "changes": changes(config)}
        async with self._connection.ask(
            "images/create", "POST", params=params, body=archive, content=_ARCHIVE, patient=True
        ) as answer:
            made = await self._made(last_line(await answer.text()).get("status", ""))
        await self.tag(made, name)
        return made

    async def pull(self, name: str) -> Image:
        """Fetch an image from its registry. Raises EngineError with the registry's words."""
        reference = name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
        async with self._connection.ask(
            "images/create", "POST", params={"fromImage": reference}, patient=True
        ) as answer:
            last_line(await answer.text())
        image = await self.image(reference)
        if image is None:
            raise EngineError(f"The image {name} could not be fetched.", hint="Check its name, and who may read it.")
        return image

    async def commit(self, container: str, name: str, config: ImageConfig) -> str:
        """Make an image of a container and what it changed, called ``repository:tag``; returns its id."""
        repository, _, tag = name.rpartition(":")
        params = {"container": container, "repo": repository, "tag": tag, "pause": "false"}
        answer = await self._connection.json(
            "commit", "POST", params={**params, "changes": changes(config)}, body={}, patient=True
        )
        return await self._made(answer["Id"])

    async def _made(self, name: str) -> str:
        image = await self.image(name) if name else None
        if image is None:
            raise EngineError("The container engine lost an image that it had just made.", hint="Try again.")
        return image.id

    # Containers

    async def create(self, order: ContainerOrder) -> str:
        """Make a container and return its id; nothing of it runs before `start`."""
        params = {"name": order.name} if order.name else {}
        made = await self._connection.json("containers/create", "POST", params=params, body=container_body(order))
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start a container that was made; one that runs is left alone."""
        await self._connection.json(f"containers/{container}/start", "POST", patient=True)

    @asynccontextmanager
    async def run(self, order: ContainerOrder) -> AsyncIterator[Running]:
        """Make a container, listen, and start it. In the end it is removed, with its processes when some are left."""
        creating = asyncio.ensure_future(self.create(order))
        try:
            container = await asyncio.shield(creating)
        except asyncio.CancelledError:  # the engine makes it all the same
            await self.remove(await creating)
            raise
        try:
            async with self._listening(container) as stream:
                await self.start(container)
                yield Running(container, Output(stream), partial(self.wait, container))
        finally:
            await asyncio.shield(self.remove(container))

    @asynccontextmanager
    async def _listening(self, container: str) -> AsyncIterator[Stream]:
        await self._connection.awake()
        stream = self._connection.docker.containers.container(container).attach(stdout=True, stderr=True)
        with in_sentences():
            await stream.__aenter__()
        try:
            yield stream
        finally:
            await stream.close()

    async def container(self, name: str) -> Container | None:
        """A container by its id or name; None when there is none."""
        found = await self._connection.json_if_there(f"containers/{name}/json")
        return container_from(found) if found is not None else None

    async def containers(self, labels: Mapping[str, str] | None = None) -> list[Container]:
        """Containers in any state that carry all these labels; with a value of "" any value will do."""
        params = {"all": "true", **with_labels(labels)}
        listed = await self._connection.json("containers/json", params=params)
        found = await asyncio.gather(*(self.container(one["Id"]) for one in listed))
        return [container for container in found if container is not None]

    async def written(self, container: str) -> int:
        """Bytes that a container has written besides its image; 0 when it is gone."""
        found = await self._connection.json_if_there(f"containers/{container}/json", params={"size": "true"})
        return int((found or {}).get("SizeRw") or 0)

    async def wait(self, container: str) -> Ended:
        """Wait until a container has ended. One that is gone counts as killed."""
        answer = await self._connection.json_if_there(f"containers/{container}/wait", "POST", patient=True)
        if answer is None:
            return Ended(_KILLED, out_of_memory=False)
        status = int(answer["StatusCode"])
        found = await self.container(container)
        guessed = status == _KILLED and container not in self._killed and found is not None and found.memory_bytes > 0
        return Ended(status, out_of_memory=guessed or (found is not None and found.out_of_memory))

    async def kill(self, container: str, signal: str = "SIGKILL") -> None:
        """Send a signal to the first process; SIGKILL ends them all. One that does not run, or is gone, is fine."""
        self._killed.add(container)
        try:
            await self._connection.json_if_there(f"containers/{container}/kill", "POST", params={"signal": signal})
        except EngineError:  # it says so when there is nothing to kill, each engine with a status of its own
            found = await self.container(container)
            if found is not None and found.running:
                raise

    async def stop(self, container: str, seconds: int = 10) -> None:
        """Ask a container to end, and kill it after some seconds. One that does not run, or is gone, is fine."""
        self._killed.add(container)
        params = {"t": str(seconds)}
        await self._connection.json_if_there(f"containers/{container}/stop", "POST", params=params, patient=True)

    async def remove(self, container: str) -> None:
        """Remove a container with its processes and its layer. Nothing there is fine."""
        self._killed.discard(container)
        params = {"force": "true", "v": "true"}
        await self._connection.json_if_there(f"containers/{container}", "DELETE", params=params, patient=True)

    async def limit(
        self,
        container: str,
        *,
        memory_bytes: int | None = None,
        cpus: float | None = None,
        processes: int | None = None,
    ) -> None:
        """Change the limits of a running container; those that are left out stay."""
        url, body = f"containers/{container}/update", docker_limits(memory_bytes, cpus, processes)
        if (await self.info()).name == "podman":  # whose Docker API lacks this before version 5
            url, body = f"v4.3.0/libpod/{url}", podman_limits(memory_bytes, cpus, processes)
        await self._connection.json(url, "POST", body=body)

    @asynccontextmanager
    async def execute(
        self,
        container: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        user: str = "",
        working_directory: str | None = None,
    ) -> AsyncIterator[Executed]:
        """Run one more command in a running container; its variables are the container's and ``environment``."""
        await self._connection.awake()
        with in_sentences():
            made = await self._connection.docker.containers.container(container).exec(
                list(command), environment=dict(environment or {}), user=user, workdir=working_directory
            )
            stream = made.start(detach=False)
            await stream.__aenter__()
        try:
            yield Executed(made, stream)
        finally:
            await stream.close()

    async def put_archive(self, container: str, path: str, archive: Body) -> None:
        """Unpack a tar archive below a directory of a container, running or not; owners are those in the archive."""
        url = f"containers/{container}/archive"
        params = {"path": path}
        async with self._connection.ask(url, "PUT", params=params, body=archive, content=_ARCHIVE, patient=True):
            pass

    @asynccontextmanager
    async def archive(self, container: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """A file or directory of a container as a tar archive, in pieces. EngineError when it is not there."""
        url = f"containers/{container}/archive"
        async with self._connection.ask(url, params={"path": path}, patient=True) as answer:
            yield answer.content.iter_chunked(_PIECE)


def _carries(found: Mapping[str, str] | None, wanted: Mapping[str, str] | None) -> bool:
    """Whether all the wanted labels are there; with a value of "" any value will do."""
    return all(name in (found or {}) and value in ("", (found or {})[name]) for name, value in (wanted or {}).items())
