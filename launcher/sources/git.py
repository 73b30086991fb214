"""The only place that runs git outside a sandbox: nothing of this machine reaches it, and it has an end.

Arguments are lists and options end before anything a link said; protocols are an allow-list; the environment, the
configuration and the home are ours alone; redirects are not followed; a deadline ends the whole process group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigurationInvalid, RepositoryNotFound, SourceError, SourceTooLarge, SourceUnavailable
from launcher.models import is_commit
from launcher.sources.addresses import AddressPolicy

MINIMUM_VERSION = (2, 37)  # the first with http.curloptResolve
_KEPT = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE")
_REDIRECTED = re.compile(r"returned error: 30[12378]\b|unable to update url base from redirection")
_SETTINGS = {
    "core.symlinks": "false",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.bigFileThreshold": "16m",  # larger blobs are streamed, not held in memory
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.version": "2",
    "credential.helper": "",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "500",
    "http.lowSpeedTime": "30",
    "http.proxy": "",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "transfer.bundleURI": "false",  # a server may not send us to other addresses
    "fetch.uriProtocols": "",
    "fetch.unpackLimit": "1",  # one pack per fetch: a killed one leaves one temporary file
    "fetch.fsckObjects": "true",
    # Harmless flaws of old, well-known repositories.
    "fetch.fsck.zeroPaddedFilemode": "ignore",
    "fetch.fsck.badTimezone": "ignore",
    "fetch.fsck.missingSpaceBeforeDate": "ignore",
    "fetch.fsck.missingSpaceBeforeEmail": "ignore",
    "fetch.fsck.missingNameBeforeEmail": "ignore",
    "fetch.fsck.missingEmail": "ignore",
    "fetch.fsck.zeroPaddedDate": "ignore",
    "fetch.fsck.badDateOverflow": "ignore",
    "fetch.fsck.badTagName": "ignore",
    "fetch.fsck.missingTaggerEntry": "ignore",
    "fetch.fsck.gitmodulesParse": "ignore",
}


@dataclass(frozen=True)
class GitResult:
    """What a git command said. ``error`` is for deciding and logging, never for showing."""

    status: int
    output: bytes
    error: str

    @property
    def ok(self) -> bool:
        """Whether git ended with status 0."""
        return self.status == 0


@dataclass(frozen=True)
class Remote:
    """A repository's address, checked and pinned for one run of git. Made by `Git.remote`."""

    url: str
    scheme: str
    settings: tuple[str, ...]


class Git:
    """Runs git with nothing of this machine around it.

    addresses: decides which remotes are spoken to; by default every public one.
    timeout: seconds any command may take when the call does not say otherwise.
    """

    def __init__(self, addresses: AddressPolicy | None = None, *, timeout: float = 120.0) -> None:
        self.addresses = addresses or AddressPolicy()
        self._timeout = timeout
        self._environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
            "HOME": "/nonexistent",  # the home of nobody: no .netrc, no .gitconfig, no cookies
            "XDG_CONFIG_HOME": "/nonexistent",
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/false",
            "SSH_ASKPASS": "/bin/false",
            "GIT_SSH_COMMAND": "/bin/false",
            "GIT_ALLOW_PROTOCOL": "none",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
        }

    async def remote(self, url: str) -> Remote:
        """The address of a repository, ready for `run`. Raises AddressRefused, SourceUnavailable."""
        address = self.addresses.check_url(url)
        answers = await self.addresses.resolve(address.host, address.port)
        bracketed = ",".join(f"[{answer}]" if ":" in answer else answer for answer in answers)
        settings: tuple[str, ...] = ()
        if address.host not in answers:
            settings = ("-c", f"http.curloptResolve={address.host}:{address.port}:{bracketed}")
        return Remote(address.url, address.scheme, settings)

    async def run(
        self,
        *arguments: str,
        directory: Path | None = None,
        remote: Remote | None = None,
        stdin: bytes | AsyncIterator[bytes] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends processes, not only this call
        output_limit: int = 16_000_000,
        watch: tuple[Path, int] | None = None,
    ) -> GitResult:
        """Run one git command to its end, whatever its status.

        directory: the bare repository. remote: the one address it may speak to. watch: a directory and the bytes it
        may reach meanwhile. Raises SourceUnavailable after ``timeout`` seconds and SourceTooLarge beyond a limit;
        every process of the command is gone by then, also when this task is cancelled.
        """
        seconds = self._timeout if timeout is None else timeout
        process = await asyncio.create_subprocess_exec(
            *_with_end(seconds + 5),
            *self._command(directory, remote),
            *arguments,
            env=self._environment | ({"GIT_ALLOW_PROTOCOL": remote.scheme} if remote else {}),
            cwd="/",
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                return await _finish(process, stdin, output_limit, watch)
        except TimeoutError:
            raise SourceUnavailable(
                "The repository's host did not answer in time.", hint="Try again in a minute."
            ) from None
        finally:
            await _end(process)

    async def list_refs(self, remote: Remote, *patterns: str) -> dict[str, str]:
        """Full ref name -> object id of what a remote offers; peeled tags as ``refs/tags/X^{}``.

        The branch that HEAD means, if any, is under ``HEAD@``. patterns: full names (``HEAD``, ``refs/heads/main``),
        or globs of them. git matches the ends of names, so the answer may hold more than was asked for.
        Raises RepositoryNotFound, SourceUnavailable, SourceTooLarge.
        """
        result = await self.run(
            "ls-remote", "--quiet", "--symref", "--end-of-options", remote.url, *patterns, remote=remote
        )
        if not result.ok:
            raise remote_failure(result)
        refs: dict[str, str] = {}
        for line in result.output.decode("utf-8", "surrogateescape").split("\n"):
            target, tab, name = line.partition("\t")
            if target.startswith("ref: "):
                refs[f"{name}@"] = target.removeprefix("ref: ")
            elif tab and is_commit(target):
                refs[name] = target
        return refs

    def run_now(self, *arguments: str, directory: Path, output_limit: int = 16_000_000) -> bytes:
        """The output of a quick local command, waiting for it. Raises SourceError when git fails."""
        command = [*self._command(directory, None), *arguments]
        try:
            done = subprocess.run(
                command, env=self._environment, cwd="/", capture_output=True, timeout=self._timeout, check=True
            )
        except (subprocess.SubprocessError, OSError):
            raise SourceError("The repository's files cannot be read.", hint="Launch it again.") from None
        if len(done.stdout) > output_limit:
            raise SourceTooLarge("The repository has more files than is accepted.")
        return done.stdout

    async def check(self) -> None:
        """Nothing when git can be used here. Raises ConfigurationInvalid saying what to install."""
        hint = f"Install git {'.'.join(map(str, MINIMUM_VERSION))} or newer."
        try:
            result = await self.run("version")
        except OSError:
            raise ConfigurationInvalid("git is not installed.", hint=hint) from None
        words = result.output.decode().split()
        numbers = tuple(int(part) for part in words[2].split(".")[:2] if part.isdigit()) if len(words) > 2 else ()  # noqa: PLR2004
        if numbers < MINIMUM_VERSION:
            raise ConfigurationInvalid("The installed git is too old.", hint=hint)

    @staticmethod
    def _command(directory: Path | None, remote: Remote | None) -> list[str]:
        command = ["git"]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        if remote is not None:
            command += remote.settings
        if directory is not None:
            command += [f"--git-dir={directory}"]
        return command


class RepositoryMoved(SourceUnavailable):
    """The host redirects to another address, which git does not follow; `git_based` looks where it leads."""


def remote_failure(result: GitResult) -> SourceError | RepositoryNotFound:
    """The error for people after a failed command that spoke to a remote; git's own words stay inside."""
    said = result.error.lower()
    if _REDIRECTED.search(said):
        return RepositoryMoved("The repository has moved.", hint="Use its new address.")
    if any(mark in said for mark in ("could not read username", "not found", "authentication failed", "error: 403")):
        return RepositoryNotFound(
            "There is no public repository at this address.", hint="Check the link for a typing error."
        )
    if any(mark in said for mark in ("ssl certificate problem", "ssl connect error", "gnutls_", "ssl_connect")):
        return SourceUnavailable("No secure connection could be made to the repository's host.")
    return SourceUnavailable(
        "The repository's host did not answer as a git server.", hint="Check the link, or try again in a minute."
    )


def _with_end(seconds: float) -> Sequence[str]:
    """A second deadline outside this process, so that a killed launcher leaves no endless git behind."""
    command = shutil.which("timeout")
    return () if command is None else (command, "--signal=KILL", str(seconds))


async def _finish(
    process: asyncio.subprocess.Process,
    stdin: bytes | AsyncIterator[bytes] | None,
    output_limit: int,
    watch: tuple[Path, int] | None,
) -> GitResult:
    """Feed the process, read it to its end, and stop at the first limit."""
    if process.stdout is None or process.stderr is None:  # pragma: no cover - both are pipes
        raise ValueError("no pipes")
    watcher = asyncio.create_task(_watch(*watch)) if watch else None
    try:
        async with asyncio.TaskGroup() as tasks:
            output = tasks.create_task(_read(process.stdout, output_limit))
            error = tasks.create_task(_read_head(process.stderr))
            if stdin is not None:
                tasks.create_task(_feed(process, stdin))
            ended = tasks.create_task(_wait(process, output, error))
            if watcher is not None:
                tasks.create_task(_until(ended, watcher))
    except* SourceError as group:
        raise group.exceptions[0] from None
    finally:
        if watcher is not None:
            watcher.cancel()
    return GitResult(process.returncode or 0, output.result(), error.result().decode("utf-8", "replace"))


async def _wait(process: asyncio.subprocess.Process, *readers: asyncio.Task[bytes]) -> None:
    await asyncio.wait(readers)
    await process.wait()


async def _until(ended: asyncio.Task[None], watcher: asyncio.Task[None]) -> None:
    """Wait for the process, or for the watcher to object."""
    await asyncio.wait({ended, watcher}, return_when=asyncio.FIRST_COMPLETED)
    if watcher.done():
        watcher.result()


async def _read(stream: asyncio.StreamReader, limit: int) -> bytes:
    chunks: list[bytes] = []
    count = 0
    while chunk := await stream.read(65536):
        count += len(chunk)
        if count > limit:
            raise SourceTooLarge("The repository has more branches or files than is accepted.")
        chunks.append(chunk)
    return b"".join(chunks)


async def _read_head(stream: asyncio.StreamReader) -> bytes:
    """The first 64 KiB; the rest is read and forgotten, so that a talkative server blocks nothing."""
    head = b""
    while chunk := await stream.read(65536):
        head = (head + chunk)[:65536]
    return head


async def _feed(process: asyncio.subprocess.Process, stdin: bytes | AsyncIterator[bytes]) -> None:
    if process.stdin is None:  # pragma: no cover - it is a pipe
        raise ValueError("no pipe")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # git ended early: its status tells
        if isinstance(stdin, bytes):
            process.stdin.write(stdin)
        else:
            async for chunk in stdin:
                process.stdin.write(chunk)
                await process.stdin.drain()
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _watch(directory: Path, limit: int) -> None:
    """Raise SourceTooLarge as soon as a directory holds more bytes than it may; the kernel has no event for it."""
    while True:
        if await asyncio.to_thread(size_of, directory) > limit:
            raise SourceTooLarge("The repository is larger than is accepted.")
        await asyncio.sleep(0.1)


def size_of(directory: Path) -> int:
    """Bytes on disk of everything below a directory; files that vanish meanwhile do not count."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):  # git renames its temporary files while we look
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512  # noqa: PTH118 - a hot loop
    return total


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill the whole group of a process that is still there, and wait for it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself just now
            os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())
    # Its pipes: closing them here keeps them from being closed by the garbage collector later.
    transport = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()
