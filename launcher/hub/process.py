"""The process runtime's spawner: a Jupyter server in bubblewrap, with its own home and nobody else's files."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from jupyterhub.spawner import LocalProcessSpawner, SimpleLocalProcessSpawner, Spawner

from launcher.errors import ConfigurationInvalid
from launcher.hub.isolated import IsolatedSpawnerMixin, exit_of
from launcher.hub.session import first_command, server_python, session_sandbox
from launcher.models import LaunchPlan


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

    @classmethod
    def on_top_of(cls, base: type[Spawner]) -> type[Spawner]:
        """The operator's spawner of local processes. Raises ConfigurationInvalid for any other."""
        if not issubclass(base, LocalProcessSpawner):
            raise ConfigurationInvalid(
                f"The process runtime starts local processes, but the hub's spawner is {base.__name__}.",
                hint="Use a spawner for local processes, or another runtime of the launcher.",
            )
        return base

    def isolates(self, plan: LaunchPlan | None) -> bool:
        """See the class."""
        return plan is not None or bool(self.launch_settings.homes_directory)

    async def end_at_once(self) -> None:
        """Kill the sandbox."""
        if self.pid and self.run_directory:
            await self._signal(signal.SIGKILL)

    async def run_session(self, plan: LaunchPlan | None, *, home: Path, run: Path) -> asyncio.Future[int]:
        """Start the sandbox."""
        sandbox = session_sandbox(self.launch_settings, plan, home=home, run=run)
        argv = sandbox.argv(first_command(server_python(self.launch_settings.server_environment, plan)))
        self.proc = self._popen(argv, plan)
        self.pid = self.proc.pid
        return exit_of(self.proc.pid, self.proc.wait)

    def _popen(self, argv: list[str], plan: LaunchPlan | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            env=self.session_environment(plan),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=self._preexec(),  # noqa: PLW1509 - LocalProcessSpawner changes the user there
        )

    def _preexec(self) -> Any:
        """What the operator's spawner does before exec; a home of ours needs no directory made there."""
        if isinstance(self, SimpleLocalProcessSpawner):
            return None
        return self.make_preexec_fn(self.user.name)

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
