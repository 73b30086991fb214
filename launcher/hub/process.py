"""The process runtime's spawner: a Jupyter server in bubblewrap, with its own home and nobody else's files."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import SimpleLocalProcessSpawner
from jupyterhub.utils import random_port
from traitlets import Unicode

from launcher.errors import LauncherError, SessionStartFailed
from launcher.hub.homes import directory_name, make_home, project_home
from launcher.hub.probe import require_login
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME, SessionRecord, SessionRecords
from launcher.hub.session import (
    DESCRIPTION_NAME,
    INSIDE_NAME,
    SOCKET_NAME,
    describe_session,
    first_command,
    session_sandbox,
)
from launcher.hub.spawner import LaunchSpawnerMixin, as_http_error
from launcher.hub.waiting import SessionVoice
from launcher.models import HomeKind, LaunchPlan


class ProcessSpawnerMixin(LaunchSpawnerMixin):
    """Starts launches, and on request regular sessions, in a sandbox; in front of any LocalProcessSpawner.

    A regular session is the operator's own spawner's business unless ``homes_directory`` is set: then the launcher
    gives people their homes, and the regular session is our server in the same sandbox.
    """

    run_directory = Unicode()
    # What the spawner underneath brings.
    ip: Any
    port: Any
    poll: Any
    proc: Any
    pid: Any
    get_args: Any
    get_env: Any
    log: Any
    _log_name: Any
    server: Any
    user_env: Any
    make_preexec_fn: Any
    start_timeout: Any
    _progress: asyncio.Queue[str] | None = None

    async def start(self) -> tuple[str, int]:
        """Start the session; returns when it serves. Raises HTTPError with words for the person."""
        plan = await self.redeem_plan()
        if plan is None and not self.launch_settings.homes_directory:
            return await super().start()  # type: ignore[misc,no-any-return]
        self._progress = asyncio.Queue()
        try:
            return await self._start_sandboxed(plan)
        except LauncherError as error:
            await self._abandon()
            raise as_http_error(error) from error
        except OSError as error:  # its words are paths of this machine: they are for the log
            self.log.exception("The session of %s could not be prepared", self._log_name)
            problem = SessionStartFailed(
                "The session could not be prepared on this machine.", hint="Tell the people who run this hub."
            )
            raise as_http_error(problem) from error

    async def _abandon(self) -> None:
        """End a session that must not serve, at once: a polite end takes as long as its server likes."""
        if self.pid and self.run_directory:
            await self._signal(signal.SIGKILL)

    async def _start_sandboxed(self, plan: LaunchPlan | None) -> tuple[str, int]:
        self.port = self.port or random_port()
        self.run_directory = tempfile.mkdtemp(prefix="launcher-session-")
        run = Path(self.run_directory)
        self._furnish(run)
        dask = self.launch_settings.dask is not None
        description = describe_session(plan, arguments=self.get_args(), dask=dask)
        (run / INSIDE_NAME / DESCRIPTION_NAME).write_text(json.dumps(description))
        home = self._home(plan)
        self._records.write(self._record(plan, home))
        sandbox = session_sandbox(self.launch_settings, plan, home=home, run=run)
        progress = self._progress or asyncio.Queue()
        socket = run / INSIDE_NAME / SOCKET_NAME
        async with SessionVoice(socket, progress.put_nowait) as voice:
            os.chmod(socket, 0o666)  # noqa: S103, PTH101 - the directory around it is closed to others
            self.proc = self._popen(sandbox.argv(first_command(self.launch_settings, plan)), plan)
            self.pid = self.proc.pid
            await voice.ready(self._exit_of(self.proc.pid), seconds=self._patience())
        address = self.ip or "127.0.0.1"
        await require_login(address, self.port, base_url=self.server.base_url, hub_base_url=self.hub.base_url)
        return address, self.port

    def _furnish(self, run: Path) -> None:
        """Put into a new run directory what the session and its neighbours expect there."""
        for name in (INSIDE_NAME, "tmp", VARIABLES_NAME):
            (run / name).mkdir()
        (run / ALIVE_NAME).touch()
        for path in (run, *run.iterdir()):
            self._give(path)

    def _patience(self) -> float:
        """How long the server may take to answer: shorter than the Hub's own limit, which ends without a word."""
        return float(min(self.launch_settings.session_start_timeout_seconds, max(self.start_timeout - 5, 5)))

    def _popen(self, argv: list[str], plan: LaunchPlan | None) -> subprocess.Popen[bytes]:
        """The process. Secrets travel in its environment, never in its arguments, which everybody can read."""
        environment = {**self.get_env(), "HOME": "/home/jovyan", "SHELL": "/bin/bash"}
        environment |= self.dask_variables() | dict(self.launch_settings.session_variables)
        if plan is not None:
            environment |= dict(plan.variables)
        return subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=self._preexec(),  # noqa: PLW1509 - LocalProcessSpawner changes the user there
        )

    def _preexec(self) -> Any:
        """What the operator's spawner does before exec; a home of ours needs no directory made there."""
        if isinstance(self, SimpleLocalProcessSpawner):
            return None
        return self.make_preexec_fn(self.user.name)

    def _exit_of(self, pid: int) -> asyncio.Future[int]:
        """A future that has the exit status as soon as the process ends."""
        loop = asyncio.get_running_loop()
        exited: asyncio.Future[int] = loop.create_future()
        descriptor = os.pidfd_open(pid)

        def on_exit() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            if not exited.done():
                exited.set_result(self.proc.wait() if self.proc is not None else 0)

        loop.add_reader(descriptor, on_exit)
        return exited

    async def wait_for_death(self, timeout: float = 10) -> bool:  # noqa: ASYNC109 - JupyterHub's own signature
        """Whether the session ended within ``timeout`` seconds; told by the kernel instead of asked again and again."""
        if not self.run_directory:
            return await super().wait_for_death(timeout)  # type: ignore[misc,no-any-return]
        with suppress(TimeoutError, ProcessLookupError):
            await asyncio.wait_for(self._exit_of(self.pid), timeout)
        return await self.poll() is not None

    @property
    def _records(self) -> SessionRecords:
        return SessionRecords(self.launch_settings.state)

    def _record(self, plan: LaunchPlan | None, home: Path) -> SessionRecord:
        """What others on this machine may rely on about this session."""
        return SessionRecord(
            user=self.user.name,
            server_name=self.name,
            environment=plan.environment if plan is not None else None,
            home=str(home),
            run_directory=self.run_directory,
            owner=self._owner(),
            repository=str((plan.content or {}).get("name", "")) if plan is not None else "",
            dask=self.may_use_dask(),
            personal=plan is None or plan.home is HomeKind.PERSONAL,
        )

    def _owner(self) -> tuple[int, int] | None:
        """Who must own the person's files, when sessions run as system users."""
        if isinstance(self, SimpleLocalProcessSpawner) or os.getuid() != 0:
            return None
        entry = pwd.getpwnam(self.user.name)
        return entry.pw_uid, entry.pw_gid

    def _give(self, path: Path) -> None:
        if (owner := self._owner()) is not None:
            os.chown(path, *owner)

    def _home(self, plan: LaunchPlan | None) -> Path:
        settings = self.launch_settings
        if plan is not None and plan.home is HomeKind.PROJECT:
            if not plan.project:  # never the person's own home instead
                raise SessionStartFailed("The launcher did not say which project home the session gets.")
            return project_home(settings.state / "projects", self.user.name, plan.project, self._owner())
        if settings.homes_directory:
            return make_home(Path(settings.homes_directory) / directory_name(self.user.name), self._owner())
        return make_home(Path(self.user_env({})["HOME"]), self._owner())

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the session says while it starts."""
        if self._progress is None:
            async for event in super().progress():  # type: ignore[misc]
                yield event
            return
        steps = 10
        while True:
            text = await self._progress.get()
            steps = min(steps + 10, 90)
            yield {"progress": steps, "message": text}

    async def _signal(self, sig: int) -> bool:
        """Signal the server itself, not the sandbox around it: bubblewrap ends when the server has ended.

        SIGKILL goes to the sandbox's first process: the kernel then ends everything inside.
        """
        if sig == 0 or not self.run_directory:
            return await super()._signal(sig)  # type: ignore[misc,no-any-return]
        try:
            inside = psutil.Process(self.pid).children(recursive=True)[:2]
        except psutil.NoSuchProcess:
            return False
        if sig == signal.SIGKILL or len(inside) < 2:  # noqa: PLR2004
            targets = [*(process.pid for process in inside[:1]), self.pid]
        else:
            targets = [inside[1].pid]
        for pid in targets:
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                return False
        return True

    def get_state(self) -> dict[str, Any]:
        """What a restarted hub must know of a running session."""
        state: dict[str, Any] = super().get_state()  # type: ignore[misc]
        if self.run_directory:
            state["run_directory"] = self.run_directory
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `get_state`."""
        super().load_state(state)  # type: ignore[misc]
        self.run_directory = str(state.get("run_directory", ""))

    def clear_state(self) -> None:
        """Forget a session that has ended, and remove its run directory."""
        super().clear_state()  # type: ignore[misc]
        if self.run_directory:
            self._records.remove(self.user.name, self.name)
            shutil.rmtree(self.run_directory, ignore_errors=True)
            self.run_directory = ""
