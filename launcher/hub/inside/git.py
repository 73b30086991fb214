"""Running git on a clone in somebody's home: no hook, no pager, no editor, no network, no surprise."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE = 600  # seconds for one command; local work only, so this ends a hung filter, not a slow disk

# The clone belongs to a person who may have configured anything; these win over their configuration.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.quotePath=false",
    "core.bare=false",
    "core.pager=cat",
    "core.editor=true",
    "core.logAllRefUpdates=true",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "submodule.recurse=false",
    "advice.detachedHead=false",
    "advice.addEmbeddedRepo=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "fetch.writeCommitGraph=false",
)
# Commits of the launcher are the launcher's, whoever the person is: it never speaks in their name.
_IDENTITY = {"NAME": "launcher", "EMAIL": "launcher@localhost"}


class GitError(Exception):
    """A git command failed. The text is for a log, never for people."""


class Git:
    """One work tree and its ``.git`` directory, always named explicitly so that git never looks for another one."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        """``scratch`` is an existing private directory for the configuration file of these commands."""
        self.directory = directory
        self.git_directory = directory / ".git"
        configuration = scratch / "gitconfig"
        # Repositories on read-only mounts belong to somebody else; only global configuration may say that is fine.
        configuration.write_text("[safe]\n\tdirectory = *\n[uploadpack]\n\tallowAnySHA1InWant = true\n")
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        self._environment.update(
            GIT_CONFIG_GLOBAL=str(configuration),
            GIT_CONFIG_NOSYSTEM="1",
            GIT_TERMINAL_PROMPT="0",
            GIT_ASKPASS="false",
            GIT_NO_LAZY_FETCH="1",
            GIT_NO_REPLACE_OBJECTS="1",
            GIT_LITERAL_PATHSPECS="1",
            GIT_ATTR_NOSYSTEM="1",
            GIT_PAGER="cat",
            LC_ALL="C",
        )
        for role in ("AUTHOR", "COMMITTER"):
            for part, value in _IDENTITY.items():
                self._environment[f"GIT_{role}_{part}"] = value

    def attempt(
        self, *arguments: str, stdin: bytes = b"", index: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command and return how it ended; GitError only when it hangs or cannot be started."""
        command = ["git"]
        if arguments[0] != "init":  # which would write these two into the clone's configuration
            command += [f"--git-dir={self.git_directory}", f"--work-tree={self.directory}"]
        for setting in _SETTINGS:
            command += ["-c", setting]
        environment = dict(self._environment)
        if index is not None:
            environment["GIT_INDEX_FILE"] = str(index)
        try:
            return subprocess.run(
                [*command, *arguments],
                cwd=self.directory,
                env=environment,
                input=stdin,
                capture_output=True,
                timeout=DEADLINE,
                check=False,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise GitError(f"git {arguments[0]}: {error}") from error

    def run(self, *arguments: str, stdin: bytes = b"", index: Path | None = None) -> bytes:
        """Run a command and return its output. Raises GitError when it fails."""
        done = self.attempt(*arguments, stdin=stdin, index=index)
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip()
            raise GitError(f"git {arguments[0]} ended with {done.returncode}: {words}")
        return done.stdout

    def line(self, *arguments: str, index: Path | None = None) -> str:
        """The output of a command without its last newline. Raises GitError when it fails."""
        return decode(self.run(*arguments, index=index)).rstrip("\n")

    def maybe(self, *arguments: str) -> str | None:
        """The output of a command, or None when it fails or says nothing."""
        done = self.attempt(*arguments)
        return decode(done.stdout).rstrip("\n") or None if done.returncode == 0 else None

    def succeeds(self, *arguments: str) -> bool:
        """Whether a command ends well."""
        return self.attempt(*arguments).returncode == 0

    def commit_of(self, name: str) -> str | None:
        """The commit a ref or id names, or None when there is none here."""
        return self.maybe("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Whether ``commit`` is ``of`` or one of its ancestors, as far as this clone knows."""
        return self.succeeds("merge-base", "--is-ancestor", commit, of)


def means_no_space(error: Exception) -> bool:
    """Whether an error of git or of the system says that the disk or the person's quota is full."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    words = [os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), "unable to write file"]  # git says no more than that
    return any(word in str(error) for word in words)


def decode(text: bytes) -> str:
    """Git's bytes as text that `encode` turns back into the same bytes, whatever their encoding."""
    return text.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The inverse of `decode`."""
    return text.encode("utf-8", "surrogateescape")
