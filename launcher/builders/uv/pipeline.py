"""One build, from an empty directory to a published environment."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from launcher.builders.base import BuildLog
from launcher.builders.places import ENVIRONMENT, REPOSITORY
from launcher.builders.uv import harvest
from launcher.builders.uv.config import UvBuilderConfig
from launcher.builders.uv.dask import DaskPackages, advice, cannot_run
from launcher.builders.uv.egress import running
from launcher.builders.uv.lock import Lock, LockedPackage
from launcher.builders.uv.resolve import NEEDS_BUILD, Resolver
from launcher.builders.uv.runtime import Finished, Publisher, StepRunner, View
from launcher.builders.uv.steps import Steps
from launcher.builders.uv.workspace import EXCHANGE, FINISH, SNAPSHOT, UV, Workspace
from launcher.environments import visible_files
from launcher.models import BuildRequest, BuiltEnvironment, Recipe, SessionMode
from launcher.sources.tree import GitTree

_PYTHON = f"{ENVIRONMENT}/bin/python"
_LOADED = "loaded.txt"
# The second import is what a kernel does when it starts; an ipykernel that has it elsewhere is good all the same.
_KERNEL_LOADS = """
import sys, ipykernel_launcher
try:
    import ipykernel.kernelapp, ipykernel.zmqshell
except ImportError:
    pass
with open(sys.argv[1], "w") as file:
    for module in list(sys.modules.values()):
        if path := getattr(module, "__file__", None):
            file.write(path + "\\n")
"""


class Build:
    """Makes the environment of one request. Whoever calls `run` removes the workspace afterwards."""

    def __init__(
        self,
        *,
        request: BuildRequest,
        log: BuildLog,
        config: UvBuilderConfig,
        workspace: Workspace,
        runner: StepRunner,
        publisher: Publisher,
        publishing: Mapping[str, asyncio.Lock],
        fingerprint: str,
    ) -> None:
        self._request = request
        self._recipe: Recipe = request.recipe
        self._log = log
        self._config = config
        self._workspace = workspace
        self._publisher = publisher
        self._publishing = publishing
        self._fingerprint = fingerprint
        self._steps = Steps(workspace, runner, request.recipe, log, config)
        self._editable = False
        self._touched = False  # whether code of others could write to the environment: then it may hold links of theirs
        self._checked_out: frozenset[Path] = frozenset()

    async def run(self) -> BuiltEnvironment:
        """The environment, made or found. Raises what `Builder.build` promises."""
        await asyncio.to_thread(self._workspace.create)
        async with running(self._config.egress_policy, self._workspace.directory("egress")), self._steps.runner:
            self._log.stage("fetching")
            self._log.write(f"Environment files: {self._recipe.summary}\n")
            self._log.write(f"Python {self._workspace.interpreter.version}\n")
            await self._check_out()
            self._log.stage("building")
            resolver = Resolver(self._steps)
            lock, mode = await resolver.resolve()
            self._log.write(f"{len(lock.packages)} packages resolved\n")
            name = self._name(lock, mode)
            async with self._publishing[name]:  # a second build of the same lock waits and then reuses
                found = await self._publisher.find(name)
                if found is not None:
                    self._log.write("An environment with exactly these packages exists and is used.\n")
                    return found
                await self._fill(lock, resolver)
                self._log.stage("pushing")
                return await self._publish(name, lock, mode)

    def _runs_foreign_code(self, lock: Lock) -> bool:
        """Whether code of others will run with the environment writable."""
        recipe = self._recipe
        return bool(lock.local or lock.version_control or recipe.installs_project or recipe.post_build)

    def _name(self, lock: Lock, mode: SessionMode) -> str:
        """The name of the environment: equal for equal contents.

        What depends on the repository's files beyond the lock has the key of the whole recipe in it.
        """
        interpreter = self._workspace.interpreter
        parts = [self._fingerprint, lock.digest, mode.value, str(interpreter.version), str(interpreter.executable)]
        if lock.local or self._recipe.installs_project or self._recipe.post_build or self._request.anew:
            parts.append(self._request.own_name)
        return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()

    async def _check_out(self) -> None:
        """The files the recipe's key covers, and no others; links are left out."""
        snapshot = self._request.snapshot
        tree = await GitTree.load(snapshot.cache, snapshot.commit)
        visible = await asyncio.to_thread(visible_files, self._recipe, tree)
        paths = self._workspace.write("paths", "".join(f"{path}\0" for path in visible))
        git = "git --git-dir=$0 --work-tree=. -c safe.directory=* -c core.symlinks=false -c core.bare=false"
        script = (
            f"set -e; export GIT_INDEX_FILE=/tmp/index; {git} read-tree $1; "
            f"{git} checkout-index --force --stdin -z < {paths}; rm -f /tmp/index"
        )
        command = ["/bin/sh", "-c", script, SNAPSHOT, snapshot.commit]
        await self._steps.run("Reading the repository's files", self._workspace.clean(), command)
        self._checked_out = await asyncio.to_thread(harvest.files, self._workspace.directory("repository"))

    async def _fill(self, lock: Lock, resolver: Resolver) -> None:
        """Install everything into the virtualenv."""
        self._touched = self._runs_foreign_code(lock)
        await self._install_locked(lock, resolver)
        for package in (*lock.version_control, *lock.local):
            await self._install_source(package)
        if self._recipe.installs_project and not lock.local:
            await self._install_source(LockedPackage("", REPOSITORY, editable=self._recipe.editable))
        kernel = [str(self._workspace.interpreter.executable), "-I", "-S", FINISH, ENVIRONMENT]
        await self._steps.run("Writing the kernel's description", self._writing, kernel)
        if self._recipe.post_build:
            await self._post_build(self._recipe.post_build)
        program = _KERNEL_LOADS if self._publisher.final else "import ipykernel_launcher"
        check = [_PYTHON, "-c", program, f"{EXCHANGE}/{_LOADED}"]
        await self._steps.run("Starting the kernel's package", self._workspace.checking(), check)
        await self._prove_dask(lock)
        if self._publisher.final:
            await self._compile()

    @property
    def _writing(self) -> View:
        """For a step of ours that writes to the environment: links of others in it must not lead to what is shared."""
        return self._workspace.foreign() if self._touched else self._workspace.clean()

    async def _compile(self) -> None:
        """Compile what the kernel loads: who cannot write to an environment would compile it at every start."""
        try:
            loaded = self._workspace.read(_LOADED).splitlines()
        except OSError:  # foreign code removed it
            return
        ours = [path for path in loaded if path.startswith(f"{ENVIRONMENT}/lib/") and path.endswith(".py")]
        names = self._workspace.write("compile.txt", "".join(f"{path}\n" for path in ours))
        python = [str(self._workspace.interpreter.executable), "-I", "-S", "-m", "compileall", "-q", "-i", names]
        # What cannot be compiled stays as it is.
        await self._steps.attempt(self._writing, python, quiet=True)

    async def _prove_dask(self, lock: Lock) -> None:
        """Refuse versions of Dask's packages that cannot run together, before a cluster hangs because of them."""
        proof = DaskPackages(self._config.dask_requirements).proof(lock)
        if proof is None:
            return
        outcome = await self._steps.attempt(self._workspace.checking(), [_PYTHON, "-I", "-c", proof])
        if outcome.status:
            raise cannot_run(lock, advice(self._recipe, self._steps.recipe_file))

    async def _install_locked(self, lock: Lock, resolver: Resolver) -> None:
        """The packages that hashes vouch for: wheels only and linked when nobody can write through the links."""
        source = self._workspace.write("install.txt", lock.hashed)
        link_mode = {"UV_LINK_MODE": "copy" if self._touched else "hardlink"}
        await self._make_venv()
        command = [UV, "pip", "install", "--no-deps", "--require-hashes", "--python", _PYTHON, "-r", source]
        command += resolver.strategy
        clean = self._workspace.clean(link_mode)
        # Resolving may have built something only to know its requirements; then wheels may still be enough here.
        outcome = await self._steps.attempt(clean, [*command, "--no-build"], quiet=resolver.needs_building)
        if not outcome.status and resolver.needs_building:
            self._log.write(outcome.tail)
        elif outcome.status and NEEDS_BUILD.search(outcome.tail):
            await self._make_venv()  # nothing linked to the shared cache may be there when foreign code runs
            self._touched = True
            outcome = await self._steps.attempt(self._workspace.foreign(), command)
        if outcome.status:
            raise self._steps.failure("Installing the packages", outcome)

    async def _make_venv(self) -> None:
        python = str(self._workspace.interpreter.executable)
        command = [UV, "venv", "--quiet", "--clear", "--no-project", "--python", python, ENVIRONMENT]
        await self._steps.run("Making the virtual environment", self._workspace.clean(), command)

    async def _install_source(self, package: LockedPackage) -> None:
        """A package from a directory or another repository: its own code runs.

        Editable when asked for, unless that leaves compiled files in the tree: a session has the person's files there.
        """
        what = f"Installing {package.name}" if package.name else "Installing the repository's package"
        command = [UV, "pip", "install", "--no-deps", "--python", _PYTHON]
        source = self._workspace.write("requirement.txt", f"{package.line}\n")
        await self._steps.run(what, self._workspace.foreign(), [*command, "-r", source])
        if package.editable and await asyncio.to_thread(
            harvest.has_compiled, self._workspace.directory("repository"), self._checked_out
        ):
            self._log.write("It has compiled parts, so it is installed plainly instead of editable.\n")
            source = self._workspace.write("requirement.txt", f"{replace(package, editable=False).line}\n")
            await self._steps.run(what, self._workspace.foreign(), [*command, "--reinstall", "-r", source])
        elif package.editable:
            self._editable = True

    async def _post_build(self, path: str) -> None:
        repository, home = self._workspace.directory("repository"), self._workspace.directory("home")
        before = {place: await asyncio.to_thread(harvest.files, place) for place in (repository, home)}
        script = ["/bin/bash", "-c", 'chmod +x "$0" && exec "$0"', f"{REPOSITORY}/{path}"]
        self._log.write(f"Running {path}\n")
        await self._steps.run(path, self._workspace.foreign(), script)
        for place in (repository, home):
            target = self._workspace.staging / "postbuild" / place.name
            await asyncio.to_thread(harvest.move_new, place, before[place], target)

    async def _publish(self, name: str, lock: Lock, mode: SessionMode) -> BuiltEnvironment:
        if self._touched:
            await asyncio.to_thread(harvest.drop_privileges, self._workspace.staging)
        finished = Finished(
            lock=lock,
            mode=mode,
            interpreter=self._workspace.interpreter,
            packages=harvest.packages(self._workspace.venv),
            editable=self._editable,
        )
        return await self._publisher.publish(name, finished)
