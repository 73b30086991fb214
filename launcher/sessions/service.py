"""Launches for the web: previews, single flight, the one stream that people listen to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from statistics import median
from typing import Any

from launcher.errors import LauncherError, NotAllowed
from launcher.models import BuildId, EnvironmentStatus, MachineSize, Person, ServerName, Spec
from launcher.policy.trust import home_for
from launcher.sessions.base import LaunchEvent, LaunchRequest, LogBatch, Preview
from launcher.sessions.flights import Flights
from launcher.sessions.history import BuildHistory
from launcher.sessions.launch import Launch
from launcher.sessions.names import server_name
from launcher.sessions.parts import LaunchParts, Ready, prepared
from launcher.sessions.readings import Readings
from launcher.sessions.tasks import Turns

TOKEN_SECONDS = 3600


class LaunchService:
    """Implements `launcher.sessions.base.Launches`.

    ``public_url`` is ``scheme://host`` of the hub as clients see it; ready events hold absolute URLs then.
    """

    def __init__(self, parts: LaunchParts, flights: Flights, *, public_url: str = "") -> None:
        self._parts = parts
        self._public_url = public_url.rstrip("/")
        self._turns = Turns()
        self._history = BuildHistory(parts.store)
        self._flights = flights
        self._readings = Readings(parts.sources)

    async def preview(
        self, person: Person, hub_token: str, spec: Spec, *, with_dask: bool = False, size: str = ""
    ) -> Preview:
        """See `Launches.preview`."""
        parts = self._parts
        repository = parts.sources.repository(spec)
        parts.policy.check(repository)
        name = server_name(repository)
        trust = parts.policy.trust(repository, mine=parts.store.is_mine(person.name, repository.id))
        home, dask = home_for(trust), parts.dask_policy
        chosen = parts.sizes.choose(size, person)
        server, resolved = await asyncio.gather(
            parts.hub(hub_token).server(person.name, name), self._readings.resolve(spec)
        )
        running = server.url if server is not None and server.ready else None
        preview = Preview(
            resolved=resolved,
            trust=trust,
            home=home,
            recipe=None,
            key=None,
            environment=None,
            server_name=name,
            running=running,
            problem=None,
            dask=dask.allows(person, home) if parts.dask is not None else None,
            dask_reason=dask.refusal(person, home),
            dask_choice=dask.can_choose(person),
            dask_added=dask.adds(person, home, chosen=with_dask),
            sizes=parts.sizes.offered(person),
            size=self._size_of(person, name) if running is not None else chosen,
        )
        try:
            reading = await self._readings.read(resolved)
            found = prepared(parts, reading.snapshot, reading.recipe, dask=preview.dask_added)
        except LauncherError as error:
            return _with(preview, problem=f"{error.message} {error.hint}".strip())
        row = parts.store.environment(found.key)
        took = parts.store.last_build_seconds(found.recipe.kind)
        return _with(
            preview,
            recipe=found.recipe,
            key=found.key,
            environment=row.status if row is not None else None,
            environment_bytes=row.size_bytes if row is not None and row.status is EnvironmentStatus.READY else None,
            typical_seconds=median(took) if took else None,
            commit=reading.commit,
        )

    def _size_of(self, person: Person, name: ServerName) -> MachineSize | None:
        """What a running session was started with."""
        row = self._parts.store.session(person.name, name)
        return self._parts.sizes.named(row.size) if row is not None else None

    def can_choose_dask(self, person: Person) -> bool:
        """See `Launches.can_choose_dask`."""
        return self._parts.dask_policy.can_choose(person)

    async def launch(
        self, request: LaunchRequest, *, after: str | None = None
    ) -> AsyncIterator[LaunchEvent | LogBatch]:
        """See `Launches.launch`."""
        with_dask = request.with_dask and self.can_choose_dask(request.person)
        key = (request.person.name, request.spec.path, request.build_only, with_dask, request.size)
        flight = self._flights.join(key, lambda: Launch(self._parts, request, self._turns), anew=request.trust)
        async for said in self._flights.tell(flight, after, lambda launch: self._ready(request, launch.result())):
            yield said

    async def _ready(self, request: LaunchRequest, outcome: Ready) -> LaunchEvent:
        """The ready event, with this listener's own path and token."""
        if outcome.url is None:
            return LaunchEvent("ready", "Done! Image built\n", {"imageName": outcome.image})
        url = self._public_url + outcome.url
        data: dict[str, Any] = {
            "url": url,
            "image": outcome.image,
            "repo_url": outcome.repository.url,
            "server_name": outcome.server_name,
            "open_path": request.open_path,
            "binder_ref_url": outcome.ref_url,
            "binder_launch_host": request.launch_host,
            "binder_request": f"v2/{request.spec.path}",
            "binder_persistent_request": f"v2/{outcome.persistent_spec}",
            "binder_client_ip": request.client_ip,
        }
        if request.wants_token:
            data["token"] = await self._token(request, outcome.server_name)
        return LaunchEvent("ready", f"server running at {url}\n", data)

    async def _token(self, request: LaunchRequest, name: ServerName) -> str:
        """A token that opens just this session; the caller's own when it may not make one."""
        hub = self._parts.hub(request.hub_token)
        token = await hub.access_token(request.person.name, name, seconds=TOKEN_SECONDS)
        return token or request.hub_token

    async def build_log(
        self, person: Person, build_id: BuildId, *, after: int = 0, follow: bool = True, shared: bool = False
    ) -> AsyncIterator[LaunchEvent | LogBatch]:
        """See `Launches.build_log`."""
        self._history.one(person, build_id, shared=shared)
        async for batch in self._flights.log(build_id, after, follow=follow):
            yield batch

    async def cancel_build(self, person: Person, build_id: BuildId) -> None:
        """See `Launches.cancel_build`."""
        row = self._history.one(person, build_id).row
        if row.asked_by != person.name and not person.admin:
            raise NotAllowed("Only the person who asked for a build, or an admin, can cancel it.")
        self._flights.forget_waiting(build_id)
        await self._parts.builds.cancel(build_id)


def _with(preview: Preview, **changes: Any) -> Preview:
    return replace(preview, **changes)
