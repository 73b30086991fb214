"""A small Debian as a tar archive, made with mmdebstrap from the packages that this machine's apt knows."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence

from launcher.errors import EngineError

_PIECE = 2**20
_MIRROR = "http://deb.debian.org/debian"
_SECURITY = "http://deb.debian.org/debian-security"
# Manuals and translations that nobody reads in a session, as Debian's own small images leave them out.
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/lintian/*")


async def debian(suite: str, mirror: str, packages: Sequence[str]) -> AsyncIterator[bytes]:
    """The file system in pieces. ``mirror``: "" for where this machine gets its packages, when it is Debian too.

    Raises EngineError: mmdebstrap is missing, or failed.
    """
    if shutil.which("mmdebstrap") is None:
        raise EngineError(
            "The program mmdebstrap, which makes a small Debian, is missing.",
            hint="Install mmdebstrap and debian-archive-keyring, or name an image of Debian or Ubuntu with --from.",
        )
    process = await asyncio.create_subprocess_exec(
        *_command(suite, packages),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        limit=_PIECE,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: S101, PT018 - for mypy
    words = asyncio.create_task(process.stderr.read())
    try:
        process.stdin.write("\n".join(await sources(suite, mirror)).encode())
        process.stdin.close()
        while piece := await process.stdout.read(_PIECE):
            yield piece
        said = (await words).decode(errors="replace").strip().splitlines()
        if await process.wait() != 0:
            last = next((line for line in reversed(said) if line.startswith("E:")), "E: no reason")
            raise EngineError("A small Debian could not be made.", hint=f"mmdebstrap says: {last.removeprefix('E: ')}")
    finally:
        words.cancel()
        if process.returncode is None:
            process.terminate()  # it removes what it made
            await process.wait()


def _command(suite: str, packages: Sequence[str]) -> list[str]:
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", "--format=tar"]
    command += [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
    command += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", '--aptopt=APT::Install-Recommends "false"']
    # These are about the machine on which it was made.
    command += ['--customize-hook=rm -f "$1"/etc/resolv.conf "$1"/etc/hostname']
    return [*command, suite, "-", "-"]


async def sources(suite: str, mirror: str) -> list[str]:
    """Lines for apt's list of sources: the mirror with Debian's updates, or what this machine uses for the suite."""
    if not mirror:
        found = await _of_this_machine(suite)
        if found:
            return found
    main, security = mirror or _MIRROR, _SECURITY
    lines = [f"deb {main} {suite} main", f"deb {main} {suite}-updates main"]
    return [*lines, f"deb {security} {suite}-security main"]


async def _of_this_machine(suite: str) -> list[str]:
    """What apt of this machine uses for the suite; nothing when it is another distribution, or another suite."""
    if shutil.which("apt-get") is None:
        return []
    fields = "$(CREATED_BY)|$(ORIGIN)|$(COMPONENT)|$(CODENAME)|deb $(REPO_URI) $(CODENAME) $(COMPONENT)"
    asked = await asyncio.create_subprocess_exec(
        "apt-get", "indextargets", "--format", fields, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    output, _ = await asked.communicate()
    rows = [line.split("|", 4) for line in output.decode(errors="replace").splitlines()]
    names = {suite, f"{suite}-updates", f"{suite}-security"}
    found = {
        line: None
        for created_by, origin, component, codename, line in rows
        if (created_by, origin, component) == ("Packages", "Debian", "main") and codename in names
    }
    return list(found) if any(f" {suite} " in line for line in found) else []
