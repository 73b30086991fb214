"""A real upstream repository, a bare cache of it, and a home for the tests of what runs inside a session."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from launcher.hub.inside.content import Content, put_in_place

IDENTITY = "gh:example.org/class/notes"


def git(directory: Path, *arguments: str, stdin: str | bytes = b"") -> str:
    """Run git without anybody's configuration and return its output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "teacher",
        "GIT_AUTHOR_EMAIL": "teacher@example.org",
        "GIT_COMMITTER_NAME": "teacher",
        "GIT_COMMITTER_EMAIL": "teacher@example.org",
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env=environment,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@dataclass
class Upstream:
    """What a teacher pushes, and the cache the launcher has of it."""

    root: Path
    work: Path = field(init=False)
    cache: Path = field(init=False)

    def __post_init__(self) -> None:
        self.work = self.root / "teacher"
        self.cache = self.root / "cache.git"
        self.work.mkdir(parents=True)
        git(self.work, "init", "-q", "-b", "main")
        git(self.root, "init", "-q", "-b", "main", "--bare", "cache.git")

    def commit(self, files: dict[str, str | bytes | None], *, branch: str = "main") -> str:
        """Write (or, with None, delete) files, commit and bring the commit into the cache."""
        if git(self.work, "symbolic-ref", "--short", "HEAD") != branch:
            git(self.work, "checkout", "-q", "-B", branch)
        for name, text in files.items():
            path = self.work / name
            if text is None:
                git(self.work, "rm", "-q", name)  # with directories that become empty
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        git(self.work, "add", "-A")
        git(self.work, "commit", "-q", "--allow-empty", "-m", "work")
        return self.publish(branch)

    def publish(self, branch: str = "main") -> str:
        """Bring the branch into the cache, whatever happened to its history."""
        git(self.cache, "fetch", "-q", str(self.work), f"+{branch}:refs/heads/{branch}")
        return git(self.work, "rev-parse", "HEAD")

    def rewrite(self) -> None:
        """Start history anew: the next commit has no parent."""
        git(self.work, "checkout", "-q", "--orphan", "again")
        git(self.work, "branch", "-q", "-D", "main")
        git(self.work, "checkout", "-q", "--orphan", "main")


@dataclass
class Student:
    """A person with a home who clicks links."""

    home: Path
    upstream: Upstream

    def click(
        self, commit: str, *, branch: str | None = "main", beside: bool = False, **changes: object
    ) -> tuple[Path, list[str]]:
        """Put a commit in place as a launch does; returns the directory and the messages."""
        values: dict[str, object] = {
            "repository": self.upstream.cache,
            "commit": commit,
            "branch": branch,
            "identity": IDENTITY,
            "url": "https://example.org/class/notes",
            "name": "notes",
        }
        return put_in_place(Content.from_json(values | changes), self.home, beside=beside)


def everything(directory: Path) -> dict[str, bytes]:
    """Every file outside ``.git``, to compare before and after."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(directory).parts
    }
