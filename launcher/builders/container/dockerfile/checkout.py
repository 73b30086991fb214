"""The files of a commit in a directory of the build."""

from __future__ import annotations

import asyncio
import os
import tarfile
from pathlib import Path

from launcher.errors import SourceInvalid
from launcher.models import BuildRequest
from launcher.sources.tree import GitTree

_SUBMODULE, _LINK = "160000", "120000"
_GIT = "git --git-dir=$0 --work-tree=. -c core.bare=false -c safe.directory=* -c core.symlinks=$2"
_SCRIPT = f"set -e; {_GIT} read-tree $1; {_GIT} checkout-index --force --stdin -z"


async def check_out(request: BuildRequest, directory: Path, *, links: bool) -> GitTree:
    """Write what the recipe's key covers; returns the commit's tree. ``links``: as links, else they are left out.

    Raises SourceInvalid when the commit cannot be read.
    """
    snapshot = request.snapshot
    tree = await GitTree.load(snapshot.cache, snapshot.commit)
    left_out = {_SUBMODULE} if links else {_SUBMODULE, _LINK}
    paths = [path for path, mode in tree.modes().items() if mode not in left_out and request.recipe.sees(path)]
    await asyncio.to_thread(directory.mkdir, parents=True)
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", _SCRIPT, str(snapshot.cache.absolute()), snapshot.commit, str(links).lower()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=directory,
        env={
            "PATH": os.defpath,
            "GIT_INDEX_FILE": str(directory.with_name("index").absolute()),
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(directory),
        },
    )
    try:
        await process.communicate("".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape"))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise SourceInvalid("The repository's files cannot be read.", hint="Push the commit again.")
    return tree


def pack(directory: Path, archive: Path) -> None:
    """An archive of everything in a directory; links stay links."""
    with tarfile.open(archive, "w") as packed:
        for entry in sorted(directory.iterdir()):
            packed.add(entry, entry.name)
