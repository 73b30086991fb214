"""Bytecode of finished environments, made beside everything else.

Sessions see environments read-only, so Python could never keep what it compiled and would compile again at every
start of a kernel (0.5 s of it for the kernel's own packages alone). Compiling before the environment is ready would
make everybody wait for it instead.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from launcher.builders.process.sandbox import ENVIRONMENT, Sandbox
from launcher.builders.process.store import EnvironmentMeta

_SECONDS = 900
_MEMORY_KIB = 4 * 1024 * 1024
_NICENESS = "19"


async def compile_bytecode(venv: Path, meta: EnvironmentMeta) -> None:
    """Compile every module of an environment at the lowest priority; what cannot be compiled stays as it is.

    Only the interpreter runs, without the environment's own start-up files: none of its code is executed. Each result
    is put in place by a rename, so sessions never see half of one. Cancelling ends the work.
    """
    sandbox = Sandbox(
        read_only=tuple((Path(path), path) for path in meta.binds),
        read_write=((venv, ENVIRONMENT),),
    )
    script = f'ulimit -v {_MEMORY_KIB}; exec nice -n {_NICENESS} "$@"'
    python = [meta.interpreter, "-I", "-S", "-m", "compileall", "-q", f"{ENVIRONMENT}/lib"]
    process = await asyncio.create_subprocess_exec(
        *sandbox.argv(["/bin/sh", "-c", script, "compile", *python]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
