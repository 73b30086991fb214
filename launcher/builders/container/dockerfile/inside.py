"""Looking into a container that does not run: what a path is, whose name has which number."""

from __future__ import annotations

import io
import posixpath
import tarfile
from contextlib import suppress
from pathlib import Path

from launcher.engine.base import ContainerOrder
from launcher.engine.client import Engine
from launcher.errors import EngineError, RecipeInvalid

_HEAD = 2**20


async def what_is_at(engine: Engine, container: str, path: str) -> str | None:
    """``directory``, ``file``, or None when there is nothing."""
    try:
        async with engine.archive(container, path) as found:
            head = b""
            async for piece in found:
                head += piece
                if len(head) >= tarfile.BLOCKSIZE * 8:
                    break
    except EngineError:
        return None
    with suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(head[:_HEAD]), mode="r|") as archive:
        member = archive.next()
        return "directory" if member is not None and member.isdir() else "file"
    return "file"


async def owner(engine: Engine, container: str, text: str, where: str) -> tuple[int, int]:
    """The numbers of ``user:group``, by number or by name in the image. Raises RecipeInvalid."""
    user, _, group = text.partition(":")
    if _is_number(user) and _is_number(group or user):
        return int(user), int(group or user)
    users, groups = await _table(engine, container, "/etc/passwd"), await _table(engine, container, "/etc/group")
    uid = int(user) if _is_number(user) else users.get(user)
    gid = int(group) if _is_number(group) else groups.get(group or user, uid)
    if uid is None or gid is None:
        raise RecipeInvalid(f"{where}: the image has no user and group {text[:80]!r}.")
    return uid, gid


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()  # other digits are no numbers to `int`


async def _table(engine: Engine, container: str, path: str) -> dict[str, int]:
    data = b""
    with suppress(EngineError):
        async with engine.archive(container, path) as found:
            async for piece in found:
                data += piece
                if len(data) > _HEAD:
                    break
    rows = [line.split(":") for line in data.decode(errors="replace").splitlines()]
    # the archive's own first line runs into the file's
    return {row[0].rpartition("\0")[2]: int(row[2]) for row in rows if len(row) > 2 and _is_number(row[2])}  # noqa: PLR2004


async def fetch(engine: Engine, order: ContainerOrder, path: str, file: Path, *, where: str, most: int | None) -> None:
    """Write what is at a path of an image to a tar file, ``most`` bytes. Raises RecipeInvalid for nothing, or more."""
    if posixpath.normpath(path) in {"/", "."}:
        raise RecipeInvalid(f"{where}: a whole image cannot be copied.")
    container = await engine.create(order)
    try:
        async with engine.archive(container, path) as found:
            with file.open("wb") as target:
                async for piece in found:
                    target.write(piece)
                    if most is not None and target.tell() > most:
                        raise RecipeInvalid(f"{where}: that is more than can be copied.")
    except EngineError as error:
        raise RecipeInvalid(f"{where}: there is no {path[:200]} to copy.") from error
    finally:
        await engine.remove(container)
