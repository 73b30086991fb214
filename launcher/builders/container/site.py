"""Where a builder works: its engine, its base image, and who the user of its containers is."""

from __future__ import annotations

import os
from dataclasses import dataclass

from launcher.builders.uv.pythons import QUESTION, Interpreter, answered
from launcher.engine.base import ContainerOrder, Image
from launcher.engine.client import Engine
from launcher.engine.find import EngineAddress
from launcher.engine.identity import Identity, identify
from launcher.errors import ConfigurationInvalid

# Debian's own, and those of uv below the place where the base image keeps them.
_PYTHONS = "/usr/bin/python3 /opt/*/bin/python3 /opt/*/cpython-*/bin/python3"
_ASK = f'for python in {_PYTHONS}; do if [ -x "$python" ]; then "$python" -I -S -c "$0"; fi; done'


@dataclass(frozen=True)
class Site:
    """What every build of one builder has in common. ``pythons``: those of the base image, the usual one first."""

    address: EngineAddress
    base: Image
    pythons: tuple[Interpreter, ...]
    identity: Identity

    def engine(self) -> Engine:
        """A connection, for the caller to close."""
        return Engine(self.address)


async def look_at(address: EngineAddress, base_image: str, labels: dict[str, str]) -> Site:
    """The site of an engine and a base image by its name. ``labels``: of the container that is asked.

    Raises EngineUnavailable, EngineError, ConfigurationInvalid when the base image is not there or has no Python.
    """
    async with await Engine.connect(address) as engine:
        base = await engine.image(base_image)
        if base is None:
            raise ConfigurationInvalid(
                f"The base image {base_image} is not on this machine.", hint="Make it with `launcher base-image`."
            )
        order = ContainerOrder(image=base.id, command=("/bin/sh", "-c", _ASK, QUESTION), labels=labels)
        async with engine.run(order) as asked:
            said = await asked.output.last_words()
            await asked.wait()
        identity = identify(await engine.info(), os.getuid(), os.getgid())
    pythons = _read(said)
    if not pythons:
        raise ConfigurationInvalid(
            f"The base image {base_image} has no Python that environments can be made with.",
            hint="Make it anew with `launcher base-image`.",
        )
    return Site(address, base, pythons, identity)


def _read(said: str) -> tuple[Interpreter, ...]:
    found: dict[object, Interpreter] = {}
    for line in said.splitlines():
        try:
            interpreter = answered(line)
        except ValueError:
            continue
        if interpreter is not None:
            found.setdefault(interpreter.executable, interpreter)
    return tuple(found.values())
