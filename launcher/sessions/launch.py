"""A launch, from a click to a running session, in order."""

from __future__ import annotations

from launcher.errors import LauncherError, SessionStartFailed
from launcher.models import (
    HomeKind,
    LaunchPlan,
    MachineSize,
    Repository,
    Resolved,
    ServerName,
)
from launcher.policy.trust import home_for
from launcher.sessions.base import LaunchEvent, LaunchRequest
from launcher.sessions.hub import Server
from launcher.sessions.names import project_name, server_name
from launcher.sessions.parts import Environment, LaunchParts, Prepared, Ready, read_recipe, trust_of
from launcher.sessions.steps import content_of, follow_start, ready_environment, start_server
from launcher.sessions.tasks import Say, Turn, Turns
from launcher.sources.base import spec_at
from launcher.store import SessionRow

STARTED_WITHOUT_DASK = "Your running session was not started with Dask; stop it to start one that is."


class Launch:
    """One launch of one person. `run` says events and leaves the result in ``outcome``."""

    def __init__(self, parts: LaunchParts, request: LaunchRequest, turns: Turns) -> None:
        self._parts = parts
        self._turns = turns
        self._request = request
        self._hub = parts.hub(request.hub_token)
        self._user = request.person.name
        self._size: MachineSize | None = None
        self.outcome: Ready | None = None

    def result(self) -> Ready:
        """Where the launch ended. RuntimeError before that."""
        if self.outcome is None:
            raise RuntimeError("the launch has not ended")
        return self.outcome

    async def run(self, say: Say) -> None:
        """Go all the way, or raise a LauncherError."""
        repository = self._parts.sources.repository(self._request.spec)
        trust = trust_of(self._parts, self._request, repository)
        name = server_name(repository)
        home = home_for(trust)
        if not self._request.build_only:
            self._size = self._parts.sizes.choose(self._request.size, self._request.person)
        # A build starts no server: it waits for nobody's turn.
        turn = Turn() if self._request.build_only else self._turns.of(self._user, name)
        async with turn.lock:
            running = None if self._request.build_only else await self._look(name, home, say)
            seen = turn.starts
        if running is not None:
            self.outcome = await self._running_outcome(running, repository, home, say)
            return
        resolved = await self._parts.sources.resolve(self._request.spec)
        prepared = await read_recipe(self._parts, resolved, dask=self._adds_dask(home))
        environment = await ready_environment(self._parts, self._user, prepared, say)
        if self._request.build_only:
            self.outcome = self._outcome(None, name, environment, resolved)
            return
        async with turn.lock:
            if turn.starts != seen:  # another click of mine was quicker, and may have said that I trust the repository
                home = home_for(trust_of(self._parts, self._request, repository))
                running = await self._look(name, home, say)
            if running is not None:
                self.outcome = await self._running_outcome(running, repository, home, say)
                return
            turn.starts += 1
            url = await self._start(name, home, environment, prepared, say)
        self.outcome = self._outcome(url, name, environment, resolved)

    async def _look(self, name: ServerName, home: HomeKind, say: Say) -> Server | None:
        """My running session of the repository, unless it must start again because it may see another home now."""
        server = await self._hub.server(self._user, name)
        if server is None:
            return None
        row = self._parts.store.session(self._user, name)
        if row is not None and HomeKind(row.home) is home:
            if not server.pending:
                return server
            await follow_start(self._hub, self._user, name, say)
            return await self._hub.server(self._user, name)
        say(LaunchEvent("waiting", "Stopping the session that has another home...\n"))
        await self._hub.stop(self._user, name)
        return None

    def _adds_dask(self, home: HomeKind) -> bool:
        return self._parts.dask_policy.adds(self._request.person, home, chosen=self._request.with_dask)

    async def _running_outcome(self, server: Server, repository: Repository, home: HomeKind, say: Say) -> Ready:
        row = self._parts.store.session(self._user, ServerName(server.name))
        if row is None:
            raise SessionStartFailed("The running session is not one of the launcher's.", hint="Stop it and try again.")
        image = row.environment_key or ""
        say(LaunchEvent("built", "Your session of this repository is running...\n", {"imageName": image}))
        if told := self._about_size(row):
            say(LaunchEvent("built", f"{told}\n", {"imageName": image}))
        if self._request.with_dask and (told := await self._about_running(row, home)):
            say(LaunchEvent("built", f"{told}\n", {"imageName": image}))
        return Ready(server.url, ServerName(server.name), image, repository, row.ref_url, row.persistent_spec)

    def _about_size(self, row: SessionRow) -> str:
        """That a running session keeps its size, when another one was asked for; "" otherwise."""
        if self._size is None or not self._request.size or self._size.name == row.size:
            return ""
        has = self._parts.sizes.named(row.size)
        own = f" ({has.title})" if has is not None else ""
        return f"Your running session keeps its machine size{own}; stop it to start one with “{self._size.title}”."

    async def _about_running(self, row: SessionRow, home: HomeKind) -> str:
        """Why a running session lacks the Dask that was asked for; "" when it has it, or nobody can tell."""
        if not self._adds_dask(home):
            return self._parts.dask_policy.refusal(self._request.person, home)
        sources, store = self._parts.sources, self._parts.store
        try:
            resolved = await sources.resolve(spec_at(sources, row.persistent_spec))
            key = (await read_recipe(self._parts, resolved, dask=True)).key
        except LauncherError:
            return ""  # the session is there and will be opened, whatever has become of its repository
        wanted, has = store.environment(key), store.environment(row.environment_key or key)
        same = wanted is not None and has is not None and wanted.reference == has.reference is not None
        return "" if key == row.environment_key or same else STARTED_WITHOUT_DASK

    def _outcome(self, url: str | None, name: ServerName, environment: Environment, resolved: Resolved) -> Ready:
        return Ready(url, name, environment.reference, resolved.repository, resolved.ref_url, resolved.persistent_spec)

    async def _start(
        self, name: ServerName, home: HomeKind, environment: Environment, prepared: Prepared, say: Say
    ) -> str:
        """Start the session with a ticket; returns its URL path."""
        if refusal := self._parts.dask_policy.refusal(self._request.person, home):
            say(LaunchEvent("built", f"{refusal}\n", {"imageName": environment.reference}))
        say(LaunchEvent("launching", "Launching server...\n"))
        plan = self._plan(name, home, environment, prepared)
        dask = self._parts.dask_policy.allows(self._request.person, home)
        self._parts.store.save_session(
            self._user,
            name,
            resolved=prepared.snapshot.resolved,
            environment_key=prepared.key,
            home=home,
            size=self._size.name if self._size is not None else None,
        )
        return await start_server(self._parts, self._hub, plan, say, dask=dask)

    def _plan(self, name: ServerName, home: HomeKind, environment: Environment, prepared: Prepared) -> LaunchPlan:
        resolved = prepared.snapshot.resolved
        repository = resolved.repository
        return LaunchPlan(
            user=self._user,
            server_name=name,
            environment=environment.reference,
            mode=environment.mode,
            home=home,
            project=project_name(repository) if home is HomeKind.PROJECT else None,
            content=content_of(prepared.snapshot),
            start=prepared.recipe.start,
            variables=self._variables(resolved),
            size=self._size,
        )

    def _variables(self, resolved: Resolved) -> dict[str, str]:
        """The variables that repositories written for BinderHub read."""
        return {
            "BINDER_REPO_URL": resolved.repository.url,
            "BINDER_REF_URL": resolved.ref_url,
            "BINDER_LAUNCH_HOST": self._request.launch_host,
            "BINDER_REQUEST": f"v2/{resolved.spec.path}",
            "BINDER_PERSISTENT_REQUEST": f"v2/{resolved.persistent_spec}",
            "BINDER_CLIENT_IP": self._request.client_ip,
        }
