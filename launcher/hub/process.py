"""The process runtime's spawner: a Jupyter server in bubblewrap, with its own home and nobody else's files."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import psutil
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, Spawner

from launcher.config import Settings
from launcher.control_groups import (
    CPU,
    MEMORY,
    ControlGroup,
    Limits,
    enforceable,
    killed_for_memory,
    make_group,
    remove_empty_groups,
    remove_group,
)
from launcher.engine.labels import state_id
from launcher.errors import ConfigurationInvalid
from launcher.hub.isolated import IsolatedSpawnerMixin, exit_of
from launcher.hub.session import first_command, server_python, session_sandbox
from launcher.models import LaunchPlan

_GROUP_SECONDS = 10  # for the kernel to end what the sandbox leaves


class ProcessSpawnerMixin(IsolatedSpawnerMixin):
    """Starts launches, and on request regular sessions, in a sandbox; in front of any LocalProcessSpawner.

    A regular session is the operator's own spawner's business unless ``homes_directory`` is set: then the launcher
    gives people their homes, and the regular session is our server in the same sandbox.
    """

    # What the spawner underneath brings.
    poll: Any
    proc: Any
    pid: Any
    user_env: Any
    make_preexec_fn: Any
    _reaped: ClassVar[bool] = False

    @classmethod
    def on_top_of(cls, base: type[Spawner]) -> type[Spawner]:
        """The operator's spawner of local processes. Raises ConfigurationInvalid for any other."""
        if not issubclass(base, LocalProcessSpawner):
            raise ConfigurationInvalid(
                f"The process runtime starts local processes, but the hub's spawner is {base.__name__}.",
                hint="Use a spawner for local processes, or another runtime of the launcher.",
            )
        return base

    @classmethod
    def runs_regular_sessions(cls, settings: Settings) -> bool:
        """See the class."""
        return bool(settings.homes_directory)

    async def end_at_once(self) -> None:
        """Kill the sandbox."""
        if self.pid and self.run_directory:
            await self._signal(signal.SIGKILL)

    async def run_session(self, plan: LaunchPlan | None, *, home: Path, run: Path) -> asyncio.Future[int]:
        """Start the sandbox."""
        self._reap_once()
        group = make_group(self._group, self._limits) if self._limits != Limits() else None
        sandbox = session_sandbox(self.launch_settings, plan, home=home, run=run)
        argv = sandbox.argv(first_command(server_python(self.launch_settings.server_environment, plan)))
        try:
            self.proc = self._popen(argv, plan, group)
        except subprocess.SubprocessError as error:  # its words are nobody's
            raise OSError("what is done before exec failed") from error
        self.pid = self.proc.pid
        return exit_of(self.proc.pid, self.proc.wait)

    def _popen(self, argv: list[str], plan: LaunchPlan | None, group: ControlGroup | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            env=self.session_environment(plan),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=self._preexec(group),  # noqa: PLW1509 - LocalProcessSpawner changes the user there
        )

    def _preexec(self, group: ControlGroup | None) -> Callable[[], None] | None:
        """Into the control group, then what the operator's spawner does before exec, which may give root away.

        A home of ours needs no directory made there.
        """
        become = None if isinstance(self, SimpleLocalProcessSpawner) else self.make_preexec_fn(self.user.name)
        if group is None:
            return become

        def enter_and_become() -> None:
            group.enter()
            if become is not None:
                become()

        return enter_and_become

    async def enforceable(self) -> Collection[str]:
        """What control groups can do here."""
        return enforceable()

    def own_limits(self) -> Limits:
        """The spawner's settings, as far as this machine can enforce them: by itself this spawner does not."""
        limits = super().own_limits()
        found = enforceable() if limits != Limits() else frozenset()
        return Limits(
            memory_bytes=limits.memory_bytes if MEMORY in found else None, cpus=limits.cpus if CPU in found else None
        )

    async def ran_out_of_memory(self) -> bool:
        """As the kernel says."""
        return bool(self.run_directory) and killed_for_memory(self._group) > 0

    @property
    def _groups(self) -> str:
        """How the names of all control groups of this launcher's sessions begin."""
        return f"launcher-{state_id(self.launch_settings.state)}-"

    @property
    def _group(self) -> str:
        """The control group of this session: named after its run directory, which a restarted hub knows."""
        return self._groups + Path(self.run_directory).name

    def _reap_once(self) -> None:
        """Remove the groups that a hub before this one left, before this one makes its first."""
        cls = type(self)
        if not cls._reaped:
            cls._reaped = True
            remove_empty_groups(self._groups)

    def clear_state(self) -> None:
        """As every runtime; the control group goes too."""
        group = self._group if self.run_directory else ""
        super().clear_state()
        if group:
            threading.Thread(target=self._end_group, args=(group,)).start()

    def _end_group(self, group: str) -> None:
        killed = killed_for_memory(group)
        if killed:
            self.log.warning("%d processes of the session of %s were killed for memory", killed, self._log_name)
        if not remove_group(group, patience_seconds=_GROUP_SECONDS):
            self.log.warning("The control group of the session of %s could not be removed", self._log_name)

    async def wait_for_death(self, timeout: float = 10) -> bool:  # noqa: ASYNC109 - JupyterHub's own signature
        """Whether the session ended within ``timeout`` seconds; told by the kernel instead of asked again and again."""
        if not self.run_directory:
            return await super().wait_for_death(timeout)  # type: ignore[misc,no-any-return]
        with suppress(TimeoutError, ProcessLookupError):
            await asyncio.wait_for(exit_of(self.pid), timeout)
        return await self.poll() is not None

    def owner(self) -> tuple[int, int] | None:
        """The person, when sessions run as system users."""
        if isinstance(self, SimpleLocalProcessSpawner) or os.getuid() != 0:
            return None
        entry = pwd.getpwnam(self.user.name)
        return entry.pw_uid, entry.pw_gid

    def own_home(self) -> Path:
        """The one that the operator's spawner gives the person."""
        return Path(self.user_env({})["HOME"])

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
