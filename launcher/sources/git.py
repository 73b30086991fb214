"""The only place that runs git outside a sandbox: nothing of this machine reaches it, and it has an end.

Arguments are lists and options end before anything a link said; protocols are an allow-list; the environment, the
configuration and the home are ours alone; redirects are not followed; a deadline ends the whole process group.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import ConfigurationInvalid, RepositoryNotFound, SourceError, SourceTooLarge, SourceUnavailable
from launcher.models import is_commit
from launcher.sources.addresses import AddressPolicy
from launcher.sources.processes import run_limited

MINIMUM_VERSION = (2, 37)  # the first with http.curloptResolve
_KEPT = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE")
_REDIRECTED = re.compile(r"returned error: 30[12378]\b|unable to update url base from redirection")
_SETTINGS = {
    "core.symlinks": "false",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.bigFileThreshold": "16m",  # larger blobs are streamed, not held in memory
    "core.packedGitWindowSize": "32m",  # what is mapped counts as memory
    "core.packedGitLimit": "512m",
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
        status, output, error = await run_limited(
            [*self._command(directory, remote), *arguments],
            environment=self._environment | ({"GIT_ALLOW_PROTOCOL": remote.scheme} if remote else {}),
            stdin=stdin,
            seconds=self._timeout if timeout is None else timeout,
            output_limit=output_limit,
            watch=watch,
        )
        return GitResult(status, output, error.decode("utf-8", "replace"))

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
