"""Build requests from real git repositories, a log that remembers, and a process builder with what it needs."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from launcher.builders.process.builder import ProcessBuilder
from launcher.builders.process.config import ProcessBuilderConfig
from launcher.builders.process.sandbox import ENVIRONMENT, Sandbox
from launcher.builders.process.store import EnvironmentMeta
from launcher.models import (
    BuildId,
    BuildRequest,
    BuiltEnvironment,
    EnvironmentKey,
    Recipe,
    RecipeKind,
    Repository,
    RepositoryId,
    Resolved,
    Snapshot,
    Spec,
)
from tests.support.package_index import PackageIndex, package_index
from tests.support.wheels import kernel_wheels, wheel

_numbers = itertools.count(1)


@dataclass
class MemoryLog:
    """A `BuildLog`; ``said`` is called after every write, so that tests can wait on words."""

    text: str = ""
    stages: list[str] = field(default_factory=list)
    said: Callable[[str], None] = lambda _text: None

    def write(self, text: str) -> None:
        self.text += text
        self.said(self.text)

    def stage(self, name: str) -> None:
        self.stages.append(name)


def git(directory: Path, *arguments: str) -> str:
    """The answer of a git command in a repository."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(directory: Path, files: Mapping[str, str]) -> Snapshot:
    """A repository with one commit of ``files``; executable when they begin with ``#!``."""
    directory.mkdir(parents=True)
    git(directory, "init", "--quiet", "--initial-branch=main")
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
    git(directory, "add", "--all", "--force")
    git(directory, "commit", "--quiet", "--allow-empty", "--message=files")
    sha = git(directory, "rev-parse", "HEAD")
    repository = Repository(RepositoryId("git:example.org/repo"), "git", "repo", "repo", "https://example.org/repo")
    spec = Spec("git", "https%3A%2F%2Fexample.org%2Frepo/main")
    resolved = Resolved(spec, repository, sha, "refs/heads/main", f"git/https%3A%2F%2Fexample.org%2Frepo/{sha}", "")
    return Snapshot(resolved, directory / ".git", sha)


def request(
    place: Path, files: Mapping[str, str], kind: RecipeKind, main: str | None = None, /, *names: str, **recipe: object
) -> BuildRequest:
    """A request for a recipe of a repository of ``files``; it names ``main``, ``names``, and all files with a tree."""
    number = next(_numbers)
    snapshot = commit(place / f"repository-{number}", files)
    rows = [line.split("\t") for line in git(snapshot.cache, "ls-tree", "-r", "HEAD").splitlines()]
    blobs = {path: row.split()[2] for row, path in rows}
    named = {path: blob for path, blob in blobs.items() if path in {main, *names}}
    if recipe.get("post_build") or recipe.get("installs_project"):
        recipe.setdefault("tree", git(snapshot.cache, "rev-parse", "HEAD^{tree}"))
    made = Recipe(kind, main=main, files=named, **recipe)
    # Other test processes build at the same time: no two builds of one machine may have one id.
    build_id = BuildId(f"build-{os.getpid()}-{number}")
    return BuildRequest(build_id, EnvironmentKey(f"{number:064x}"), made, snapshot)


@contextmanager
def tiny_packages(directory: Path) -> Iterator[PackageIndex]:
    """An index with what every environment gets and one package more, in ``directory``."""
    with package_index(directory) as index:
        kernel_wheels(index.directory)
        wheel(index.directory, "alpha")
        yield index


@contextmanager
def building(directory: Path, **settings: object) -> Iterator[Bench]:
    """A process builder with an index of tiny packages, all below ``directory``."""
    with tiny_packages(directory / "index") as index:
        allowed = (index.host, *settings.pop("allow_hosts", ()))
        config = ProcessBuilderConfig.from_environment(
            directory / "state", {}, index_url=index.url, allow_hosts=allowed, **settings
        )
        yield Bench(directory, index, config, ProcessBuilder(config))


@dataclass
class Bench:
    """A builder and what is around it: of the process runtime; `container_builds.ContainerBench` has the other."""

    directory: Path
    index: PackageIndex
    config: ProcessBuilderConfig
    builder: ProcessBuilder

    async def build(
        self, files: Mapping[str, str], kind: RecipeKind = RecipeKind.NONE, main: str | None = None, **recipe: object
    ) -> tuple[BuiltEnvironment, MemoryLog]:
        """Build a recipe of a new repository."""
        log = MemoryLog()
        made = request(self.directory, files, kind, main, *files, **recipe)
        return await self.builder.build(made, log), log

    async def post_build(self, script: str, **more: str) -> tuple[BuiltEnvironment, MemoryLog]:
        """Run a shell script as postBuild."""
        files = {"postBuild": f"#!/bin/bash\nset -u\n{script}\n", **more}
        return await self.build(files, post_build="postBuild")

    def meta(self, built: BuiltEnvironment) -> EnvironmentMeta:
        """What the builder knows of an environment: its ``packages``, whether it is ``editable``."""
        meta = self.builder.meta(built.reference)
        assert meta is not None
        return meta

    def environment(self, built: BuiltEnvironment) -> Path:
        """Where an environment is on disk."""
        return self.config.store / built.reference

    def kept(self, built: BuiltEnvironment) -> set[str]:
        """Files and links that a postBuild made for sessions, below ``repository/`` and ``home/``."""
        root = self.environment(built) / "postbuild"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()}

    def powerful(self, built: BuiltEnvironment) -> list[str]:
        """Files that would lend their owner's power to whoever runs them."""
        bits = stat.S_ISUID | stat.S_ISGID
        return [str(path) for path in self.environment(built).rglob("*") if path.lstat().st_mode & bits]

    def remains(self) -> list[str]:
        """What builds left behind."""
        places = (self.config.work, self.config.cache / "staging")
        return [str(path) for place in places if place.exists() for path in place.iterdir()]

    def run(self, built: BuiltEnvironment, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a sandbox that has the environment where it belongs, read-only, as sessions have it."""
        meta = self.builder.meta(built.reference)
        assert meta is not None
        sandbox = Sandbox(
            read_only=(
                *((Path(path), path) for path in meta.binds),
                (self.environment(built) / "venv", ENVIRONMENT),
            )
        )
        return subprocess.run(sandbox.argv(command), capture_output=True, text=True, timeout=60, check=False)
