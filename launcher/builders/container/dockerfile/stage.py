"""One stage of a Dockerfile, instruction by instruction: files are put into containers, and commands run in them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import posixpath
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from launcher.builders.container.dockerfile.context import (
    Context,
    Copy,
    Selection,
    only_directory,
    pieces,
    spooled,
)
from launcher.builders.container.dockerfile.inside import fetch, owner, what_is_at
from launcher.builders.container.dockerfile.instructions import Instruction, argument
from launcher.builders.container.dockerfile.job import Job, WayOut
from launcher.builders.container.dockerfile.runs import run_step
from launcher.builders.container.dockerfile.words import expand, json_list, pairs, words
from launcher.engine.base import ContainerOrder, Image, ImageConfig
from launcher.engine.labels import INPUTS, Kind, ours, state_id
from launcher.errors import BuildFailed, RecipeInvalid, RecipeUnsupported

_REPOSITORY = "localhost/launcher/layer"
_NO_EFFECT = frozenset({"CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "MAINTAINER", "STOPSIGNAL", "VOLUME", "LABEL"})
"""What says how an image wants to be run; ours are run as sessions."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_OCTAL = 8
_SHOWN = 300


class StageRun:
    """Makes the image of a stage. ``image`` is what there is so far, with ``environment`` and the rest beside it.

    Every layer is named by a key: the hash of what it starts from and of all that can decide what is in it. One that
    is there is not made again.
    """

    def __init__(self, job: Job, way: WayOut, base: Image, arguments: Mapping[str, str]) -> None:
        self.image = base.id
        self.environment: dict[str, str] = dict(base.environment)
        self.user = base.user or "0"
        self.directory = base.working_directory
        self._job = job
        self._way = way
        self._global = arguments
        self._arguments: dict[str, str] = {}
        self._shell = ["/bin/sh", "-c"]
        self._key = base.id
        self._open: str | None = None  # a container that takes files and never runs
        self._put_in: list[str] = []  # digests of what it took
        self._kept = AsyncExitStack()

    async def run(self, instructions: tuple[Instruction, ...], earlier: Mapping[str, StageRun]) -> None:
        """Carry out all instructions. Raises RecipeError, BuildFailed, BuildLimitExceeded."""
        async with self._kept:
            for one in instructions:
                await self._carry_out(one, earlier)
            await self.settle()

    async def as_base(self) -> Image:
        """The image for a stage that goes on from this one."""
        found = await self._job.engine.image(self.image)
        if found is None:
            raise BuildFailed("A layer of this build is gone.", hint="Launch again.")
        return replace(found, user=self.user, working_directory=self.directory, environment=self.environment)

    async def _carry_out(self, one: Instruction, earlier: Mapping[str, StageRun]) -> None:
        where = f"{self._job.file} line {one.line}"
        known = {**self._arguments, **self.environment}
        match one.name:
            case "ENV":
                self.environment |= pairs(one.value, known, where)
            case "ARG":
                self._arguments |= argument(one, self._job.file, {**self._global, **known}, self._job.arguments) or {
                    name: value for name, value in self._global.items() if name == one.value.strip()
                }
            case "USER":
                self.user = expand(one.value, known) or "0"
            case "SHELL":
                self._shell = json_list(one.value) or self._shell
            case "WORKDIR":
                await self._go_to(posixpath.normpath(posixpath.join(self.directory, *words(one.value, known)[:1])))
            case "COPY" | "ADD":
                await self._copy(one, where, known, earlier)
            case "RUN":
                await self._run(one, where)
            case other if other in _NO_EFFECT:
                pass
            case _:
                raise RecipeInvalid(f"{where}: {one.name} is not understood.")

    async def _go_to(self, directory: str) -> None:
        """WORKDIR makes its directory."""
        self.directory = directory
        if await what_is_at(self._job.engine, await self._files(), directory) is None:
            await self._put(only_directory(directory))

    async def _copy(
        self, one: Instruction, where: str, known: Mapping[str, str], earlier: Mapping[str, StageRun]
    ) -> None:
        *sources, target = words(one.value, known) or [""]
        if not sources or not target:
            raise RecipeInvalid(f"{where}: {one.name} needs a source and a target.")
        if one.name == "ADD":
            _refuse_magic(sources, where)
        container = await self._files()
        path = posixpath.normpath(posixpath.join(self.directory, target))
        who = await owner(self._job.engine, container, expand(one.flags.get("chown", "0:0"), known), where)
        directory = target.endswith("/") or await what_is_at(self._job.engine, container, path) == "directory"
        wanted = Copy(tuple(sources), path, who, _mode(one.flags.get("chmod"), where))
        if "from" in one.flags:
            await self._copy_from(one.flags["from"], where, earlier, wanted, into_directory=directory)
        else:
            await self._put(await asyncio.to_thread(self._job.context.select, wanted, into_directory=directory))

    async def _copy_from(
        self, name: str, where: str, earlier: Mapping[str, StageRun], wanted: Copy, *, into_directory: bool
    ) -> None:
        """Files of an earlier stage or of another image."""
        source = expand(name, {**self._global, **self._arguments})
        if (stage := earlier.get(source.lower())) is not None:
            image = stage.image
        else:
            self._job.bases.check(source, where)
            image = (await self._job.bases.find(self._job.engine, source)).id
        many = into_directory or len(wanted.sources) > 1
        for path in wanted.sources:
            place = self._job.directory / "from.tar"
            most = self._job.config.limits.disk_bytes
            await fetch(self._job.engine, self._idle(image), path, place, where=where, most=most)
            context = await asyncio.to_thread(Context, place)
            try:
                one = replace(wanted, sources=(posixpath.basename(posixpath.normpath(path)),))
                await self._put(await asyncio.to_thread(context.select, one, into_directory=many))
            finally:
                context.close()

    async def _run(self, one: Instruction, where: str) -> None:
        await self.settle()
        listed = json_list(one.value)
        command = listed if listed is not None else [*self._shell, one.value]
        network = "none" if one.flags.get("network") == "none" else self._way.network
        self._next_key("RUN", command, self._variables, self.environment, self.user, self.directory, network == "none")
        if await self._have():
            self._job.log.write(f"{where}: done before\n")
            return
        self._job.log.write(f"{where}: RUN {one.value[:_SHOWN]}\n")
        order = replace(
            self._idle(self.image),
            command=self._way.lead(command, self._variables),
            working_directory=self.directory,
            user=self.user,
            network=network,
            binds=self._way.binds,
        )
        async with run_step(self._job, order, where) as container:
            await self._commit(container)

    @property
    def _variables(self) -> dict[str, str]:
        """The arguments that a command sees."""
        return {name: value for name, value in self._arguments.items() if name not in self.environment}

    async def settle(self) -> None:
        """Make a layer of the files that were put into a container since the last one."""
        if self._open is None:
            return
        if self._put_in:
            self._next_key("COPY", self._put_in)
            if not await self._have():
                await self._commit(self._open)
        await self._kept.aclose()
        self._open, self._put_in = None, []

    def _idle(self, image: str) -> ContainerOrder:
        """A container of this build that may be changed."""
        return ContainerOrder(
            image=image,
            command=("/bin/sh",),
            labels=self._job.labels,
            environment=self.environment,
            user="0:0",
            writable_root=True,
        )

    async def _files(self) -> str:
        """The container that takes files now."""
        if self._open is None:
            self._open = await self._job.engine.create(self._idle(self.image))
            self._kept.push_async_callback(self._job.engine.remove, self._open)
        return self._open

    async def _put(self, selection: Selection) -> None:
        container = await self._files()
        with spooled(self._job.directory) as file:
            digest = await asyncio.to_thread(selection.write, file)
            self._job.spend(file.tell())
            await self._job.engine.put_archive(container, "/", pieces(file))
        self._put_in.append(digest)

    def _next_key(self, *parts: object) -> None:
        self._key = hashlib.sha256(json.dumps([self._key, *parts], sort_keys=True).encode()).hexdigest()

    @property
    def _layer(self) -> dict[str, str]:
        return {**ours(self._job.config.state_directory, Kind.LAYER), INPUTS: self._key}

    @property
    def _name(self) -> str:
        return f"{_REPOSITORY}:{state_id(self._job.config.state_directory)}-{self._key}"

    async def _have(self) -> bool:
        """Go on from the layer of this key if it is there."""
        found = await self._job.engine.named(self._name, self._layer)
        if found is not None:
            self.image = found.id
        return found is not None

    async def _commit(self, container: str) -> None:
        config = ImageConfig(labels=self._layer, environment=self.environment)
        self.image = await self._job.engine.commit(container, self._name, config)


def _refuse_magic(sources: list[str], where: str) -> None:
    """ADD is COPY here."""
    for source in sources:
        if "://" in source or source.startswith("git@"):
            raise RecipeUnsupported(f"{where}: ADD of an address is not supported.", hint="Fetch it in a RUN.")
        if source.endswith(_ARCHIVES):
            raise RecipeUnsupported(f"{where}: ADD of an archive is not supported.", hint="COPY it and RUN tar.")


def _mode(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    try:
        return int(text, _OCTAL) & 0o1777
    except ValueError as error:
        raise RecipeInvalid(f"{where}: --chmod={text[:20]} is not a number such as 0755.") from error
