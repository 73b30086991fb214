"""Launches for the web: previews, single flight, the one stream that people listen to."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from statistics import median
from typing import Any
from weakref import WeakValueDictionary

from launcher.builds.records import LogRecord
from launcher.errors import LauncherError, NotAllowed
from launcher.models import BuildId, EnvironmentStatus, MachineSize, Person, ServerName, Spec, Username
from launcher.policy.trust import home_for
from launcher.sessions.base import LaunchEvent, LaunchRequest, LogBatch, Preview
from launcher.sessions.history import BuildHistory
from launcher.sessions.launch import Launch, failure
from launcher.sessions.names import server_name
from launcher.sessions.parts import LaunchParts, Ready, read_recipe
from launcher.sessions.tasks import LaunchTask, Turns
from launcher.sources.commits import commit_words

TOKEN_SECONDS = 3600


class LaunchService:
    """Implements `launcher.sessions.base.Launches`.

    ``public_url`` is ``scheme://host`` of the hub as clients see it; ready events hold absolute URLs then.
    """

    def __init__(self, parts: LaunchParts, *, public_url: str = "") -> None:
        self._parts = parts
        self._public_url = public_url.rstrip("/")
        self._turns = Turns()
        self._history = BuildHistory(parts.store)
        self._batches: WeakValueDictionary[int, LogBatch] = WeakValueDictionary()
        self._running: dict[tuple[Username, str, bool, bool, str], tuple[Launch, LaunchTask]] = {}

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
        server = await parts.hub(hub_token).server(person.name, name)
        running = server.url if server is not None and server.ready else None
        resolved = await parts.sources.resolve(spec)
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
            prepared = await read_recipe(parts, resolved, dask=preview.dask_added)
        except LauncherError as error:
            return _with(preview, problem=f"{error.message} {error.hint}".strip())
        row = parts.store.environment(prepared.key)
        took = parts.store.last_build_seconds(prepared.recipe.kind)
        return _with(
            preview,
            recipe=prepared.recipe,
            key=prepared.key,
            environment=row.status if row is not None else None,
            environment_bytes=row.size_bytes if row is not None and row.status is EnvironmentStatus.READY else None,
            typical_seconds=median(took) if took else None,
            commit=await commit_words(prepared.snapshot),
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
        launch, task = self._join(request)
        seen = _position(after)
        async for item in task.listen():
            if isinstance(item, LaunchEvent):
                if seen is None or item.phase != "waiting":  # who has seen lines of a build knows that it waited
                    yield item
                continue
            start = seen[1] if seen is not None and seen[0] == item else 0
            async for batch in self._log(item, start, follow=True):
                yield batch
        yield await self._last_event(request, launch, task)

    def _join(self, request: LaunchRequest) -> tuple[Launch, LaunchTask]:
        """The launch of this person and spec that goes on already, or a new one."""
        with_dask = request.with_dask and self.can_choose_dask(request.person)
        key = (request.person.name, request.spec.path, request.build_only, with_dask, request.size)
        known = self._running.get(key)
        if known is not None and not known[1].over and not request.trust:
            return known
        launch = Launch(self._parts, request, self._turns)
        task = LaunchTask(launch.run)
        self._running[key] = (launch, task)
        task.task.add_done_callback(lambda _: self._forget(key, task))
        return launch, task

    def _forget(self, key: tuple[Username, str, bool, bool, str], task: LaunchTask) -> None:
        if key in self._running and self._running[key][1] is task:
            del self._running[key]

    async def _last_event(self, request: LaunchRequest, launch: Launch, task: LaunchTask) -> LaunchEvent:
        try:
            await task.result()
            return await self._ready(request, launch.result())
        except Exception as error:  # noqa: BLE001 - the stream's promise: it ends with ready or failed
            return failure(error, secrets.token_hex(6))

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
        async for batch in self._log(build_id, after, follow=follow):
            yield batch

    async def _log(self, build_id: BuildId, after: int, *, follow: bool) -> AsyncIterator[LogBatch]:
        end = None if follow else self._parts.builds.log_size(build_id)
        if end is not None and end <= after:
            return
        async with aclosing(self._parts.builds.watch_batches(build_id, after)) as batches:
            async for records in batches:
                if end is None or records[-1].id < end:
                    yield self._batch(build_id, records)
                    continue
                if until_end := tuple(record for record in records if record.id <= end):
                    yield LogBatch(build_id, until_end)
                return

    def _batch(self, build_id: BuildId, records: tuple[LogRecord, ...]) -> LogBatch:
        """The one batch of a tuple of records, as long as any listener holds it."""
        batch = self._batches.get(id(records))
        if batch is None or batch.records is not records:
            batch = self._batches[id(records)] = LogBatch(build_id, records)
        return batch

    async def cancel_build(self, person: Person, build_id: BuildId) -> None:
        """See `Launches.cancel_build`."""
        row = self._history.one(person, build_id).row
        if row.asked_by != person.name and not person.admin:
            raise NotAllowed("Only the person who asked for a build, or an admin, can cancel it.")
        for key, (_, task) in list(self._running.items()):
            if task.waits_for(build_id):
                self._forget(key, task)  # the next click is a new launch, not a listener of this one's end
        await self._parts.builds.cancel(build_id)


def _with(preview: Preview, **changes: Any) -> Preview:
    return replace(preview, **changes)


def _position(after: str | None) -> tuple[str, int] | None:
    """``<build id>:<byte offset>`` taken apart; None for anything else."""
    build, colon, offset = (after or "").rpartition(":")
    return (build, int(offset)) if colon and offset.isdigit() else None
