"""What the runtimes of one machine share when they start a session: its files, its voice, the look at its server.

A runtime brings where the session's processes run: `IsolatedSpawnerMixin` says what it must fill in.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyterhub.spawner import Spawner
from jupyterhub.utils import random_port
from traitlets import Unicode

from launcher.config import Settings
from launcher.control_groups import Limits
from launcher.errors import LauncherError, SessionStartFailed
from launcher.hub.homes import directory_name, make_home, project_home
from launcher.hub.limits import first_size, limit_variables, limits_of
from launcher.hub.probe import require_login
from launcher.hub.progress import StartProgress
from launcher.hub.records import ALIVE_NAME, VARIABLES_NAME, SessionRecord, SessionRecords
from launcher.hub.session import DESCRIPTION_NAME, INSIDE_NAME, SOCKET_NAME, describe_session
from launcher.hub.spawner import LaunchSpawnerMixin, as_http_error
from launcher.hub.waiting import SessionVoice
from launcher.models import HomeKind, LaunchPlan, MachineSize

_LOOPBACK = "127.0.0.1"


class IsolatedSpawnerMixin(LaunchSpawnerMixin):
    """Starts launches and regular sessions apart from everything else on this machine.

    A runtime fills in `on_top_of`, `runs_regular_sessions`, `owner`, `own_home`, `enforceable`, `run_session` and
    `end_at_once`; it may add to `prepare`, `own_limits`, `ran_out_of_memory`, `describe`, `home_of` and `record`.
    """

    run_directory = Unicode()
    # What the spawner underneath brings.
    ip: Any
    port: Any
    get_args: Any
    get_env: Any
    log: Any
    _log_name: Any
    server: Any
    start_timeout: Any
    mem_limit: Any
    cpu_limit: Any
    _progress: StartProgress | None = None
    _limits: Limits = Limits()

    @classmethod
    def on_top_of(cls, base: type[Spawner]) -> type[Spawner]:
        """The spawner class to put this in front of, for a hub that has ``base``.

        Raises ConfigurationInvalid when the runtime cannot work with it.
        """
        raise NotImplementedError

    @classmethod
    def runs_regular_sessions(cls, settings: Settings) -> bool:
        """Whether starts without a plan are ours; if not, they are the spawner's underneath."""
        raise NotImplementedError

    @classmethod
    def shows_form(cls, settings: Settings) -> bool:
        """Whether regular sessions start from the launcher's form."""
        return settings.spawn_form

    def owner(self) -> tuple[int, int] | None:
        """(uid, gid) that must own the person's files on this machine; None when they may be our own."""
        raise NotImplementedError

    def own_home(self) -> Path:
        """The person's home when no ``homes_directory`` is set."""
        raise NotImplementedError

    async def run_session(self, plan: LaunchPlan | None, *, home: Path, run: Path) -> asyncio.Future[int]:
        """Start the session's processes; the future has their exit status as soon as they end."""
        raise NotImplementedError

    async def enforceable(self) -> Collection[str]:
        """Which limits this machine can enforce: some of "memory", "cpu", "pids"."""
        raise NotImplementedError

    def own_limits(self) -> Limits:
        """What the operator's own settings of the spawner say."""
        return Limits(memory_bytes=self.mem_limit or None, cpus=self.cpu_limit or None)

    async def ran_out_of_memory(self) -> bool:
        """Whether something of the session that starts was killed for its memory; ask before it is ended."""
        return False

    async def prepare(self, plan: LaunchPlan | None) -> None:
        """What a runtime must know before anything is made; nothing by default."""

    async def end_at_once(self) -> None:
        """End a session that must not serve; a polite end takes as long as its server likes."""
        raise NotImplementedError

    def describe(self, plan: LaunchPlan | None) -> dict[str, Any]:
        """What the session's first program is told."""
        dask = self.launch_settings.dask is not None
        return describe_session(plan, arguments=self.get_args(), dask=dask, launches=self._service_path())

    async def start(self) -> tuple[str, int]:
        """Start the session; returns when it serves. Raises HTTPError with words for the person."""
        self._progress = StartProgress()
        plan = await self.redeem_plan()
        if plan is None and not self.runs_regular_sessions(self.launch_settings):
            self._progress = None
            return await super().start()  # type: ignore[misc,no-any-return]
        try:
            return await self._start_isolated(plan)
        except LauncherError as error:
            if isinstance(error, SessionStartFailed) and await self.ran_out_of_memory():
                error = SessionStartFailed(
                    "The session needs more memory to start than it may use.", hint="Choose a larger machine size."
                )
            await self.end_at_once()
            raise as_http_error(error) from error
        except OSError as error:  # its words are paths of this machine: they are for the log
            self.log.exception("The session of %s could not be prepared", self._log_name)
            await self.end_at_once()
            problem = SessionStartFailed(
                "The session could not be prepared on this machine.", hint="Tell the people who run this hub."
            )
            raise as_http_error(problem) from error

    async def _start_isolated(self, plan: LaunchPlan | None) -> tuple[str, int]:
        await self.prepare(plan)
        size = await self._size(plan)
        self._limits = limits_of(size, self.own_limits())
        self.port = self.port or random_port()
        self.run_directory = tempfile.mkdtemp(prefix="launcher-session-")
        run = Path(self.run_directory)
        self.furnish(run)
        (run / INSIDE_NAME / DESCRIPTION_NAME).write_text(json.dumps(self.describe(plan)))
        home = await asyncio.to_thread(self.home_of, plan)
        self._records.write(replace(self.record(plan, home), size=size.name if size is not None else ""))
        progress = self._progress or StartProgress()
        socket = run / INSIDE_NAME / SOCKET_NAME
        async with SessionVoice(socket, progress.say) as voice:
            os.chmod(socket, 0o666)  # noqa: S103, PTH101 - the directory around it is closed to others
            exited = await self.run_session(plan, home=home, run=run)
            await voice.ready(exited, seconds=self._patience())
        address = self.ip or _LOOPBACK
        await require_login(address, self.port, base_url=self.server.base_url, hub_base_url=self.hub.base_url)
        return address, self.port

    async def _size(self, plan: LaunchPlan | None) -> MachineSize | None:
        """The machine size of this start. Raises MachineSizeNotAllowed when none is for the person."""
        if plan is not None:
            return plan.size
        sizes = self.launch_settings.machine_sizes
        return first_size(sizes, self.user, await self.enforceable()) if sizes else None

    def furnish(self, run: Path) -> None:
        """Put into a new run directory what the session and its neighbours expect there."""
        for name in (INSIDE_NAME, "tmp", VARIABLES_NAME):
            (run / name).mkdir()
        (run / ALIVE_NAME).touch()
        owner = self.owner()
        if owner is not None:
            for path in (run, *run.iterdir()):
                os.chown(path, *owner)

    def _patience(self) -> float:
        """How long the server may take to answer: shorter than the Hub's own limit, which ends without a word."""
        return float(min(self.launch_settings.session_start_timeout_seconds, max(self.start_timeout - 5, 5)))

    def session_environment(self, plan: LaunchPlan | None) -> dict[str, str]:
        """The session's variables. Secrets travel here, never in arguments, which everybody can read."""
        environment = {**self.get_env(), "HOME": "/home/jovyan", "SHELL": "/bin/bash"}
        environment |= limit_variables(self._limits, environment)
        environment |= self.dask_variables() | dict(self.launch_settings.session_variables)
        if plan is not None:
            environment |= dict(plan.variables)
        return environment

    @property
    def _records(self) -> SessionRecords:
        return SessionRecords(self.launch_settings.state)

    def record(self, plan: LaunchPlan | None, home: Path) -> SessionRecord:
        """What others on this machine may rely on about this session."""
        return SessionRecord(
            user=self.user.name,
            server_name=self.name,
            environment=plan.environment if plan is not None else None,
            home=str(home),
            run_directory=self.run_directory,
            owner=self.owner(),
            repository=str((plan.content or {}).get("name", "")) if plan is not None else "",
            dask=self.may_use_dask(),
            personal=plan is None or plan.home is HomeKind.PERSONAL,
        )

    def home_of(self, plan: LaunchPlan | None) -> Path:
        """The home that this start sees, made when it is new."""
        settings = self.launch_settings
        if plan is not None and plan.home is HomeKind.PROJECT:
            if not plan.project:  # never the person's own home instead
                raise SessionStartFailed("The launcher did not say which project home the session gets.")
            return project_home(settings.state / "projects", self.user.name, plan.project, self.owner())
        if settings.homes_directory:
            return make_home(Path(settings.homes_directory) / directory_name(self.user.name), self.owner())
        return make_home(self.own_home(), self.owner())

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the session says while it starts."""
        events = super().progress() if self._progress is None else self._progress.events()  # type: ignore[misc]
        async for event in events:
            yield event

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
            # Aside: a session can leave so many files that a hub would stand still.
            threading.Thread(target=shutil.rmtree, args=(self.run_directory, True)).start()
            self.run_directory = ""


def exit_of(pid: int, status: Callable[[], int] = int) -> asyncio.Future[int]:
    """A future that is done as soon as the process ends: told by the kernel, never asked again and again.

    ``status`` is asked then for its result. Raises ProcessLookupError when the process is gone already.
    """
    loop = asyncio.get_running_loop()
    exited: asyncio.Future[int] = loop.create_future()
    descriptor = os.pidfd_open(pid)

    def on_exit() -> None:
        if not exited.done():
            exited.set_result(status())

    def stop_watching(_: asyncio.Future[int]) -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    loop.add_reader(descriptor, on_exit)
    exited.add_done_callback(stop_watching)
    return exited
