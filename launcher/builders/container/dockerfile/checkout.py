"""The files of a commit in a directory of the build."""

from __future__ import annotations

import asyncio
import os
import signal
import tarfile
from contextlib import suppress
from pathlib import Path

from launcher.builders.uv.limits import BuildLimits, readable
from launcher.errors import BuildLimitExceeded, SourceInvalid
from launcher.models import BuildRequest
from launcher.sources.tree import GitTree

_SUBMODULE, _LINK = "160000", "120000"
_GIT = "git --git-dir=$0 --work-tree=. -c core.bare=false -c safe.directory=* -c core.symlinks=$2"
_SCRIPT = f"set -e; {_GIT} read-tree $1; {_GIT} checkout-index --force --stdin -z"


async def check_out(request: BuildRequest, directory: Path, *, links: bool, limits: BuildLimits) -> GitTree:
    """Write what the recipe's key covers; returns the commit's tree. ``links``: as links, else they are left out.

    Raises SourceInvalid when the commit cannot be read, BuildLimitExceeded when it is more than a build may write:
    a small repository can have one large file under many names.
    """
    snapshot = request.snapshot
    tree = await GitTree.load(snapshot.cache, snapshot.commit)
    left_out = {_SUBMODULE} if links else {_SUBMODULE, _LINK}
    paths = [path for path, mode in tree.modes().items() if mode not in left_out and request.recipe.sees(path)]
    sizes = tree.sizes()
    if limits.disk_bytes is not None and sum(sizes.get(path, 0) for path in paths) > limits.disk_bytes:
        raise BuildLimitExceeded(
            f"The repository's files take more than {readable(limits.disk_bytes)}.",
            hint="The operator can raise the limits of builds.",
        )
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
            "GIT_CONFIG_GLOBAL": os.devnull,  # a repository can have a .gitconfig
            "HOME": os.devnull,
        },
        start_new_session=True,
    )
    try:
        await process.communicate("".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape"))
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the shell and its git
            await process.wait()
    if process.returncode:
        raise SourceInvalid("The repository's files cannot be read.", hint="Push the commit again.")
    return tree


def pack(directory: Path, archive: Path) -> None:
    """An archive of everything in a directory; links stay links."""
    with tarfile.open(archive, "w") as packed:
        for entry in sorted(directory.iterdir()):
            packed.add(entry, entry.name)
