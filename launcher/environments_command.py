"""``launcher environments``: what environments there are and take, for operators at a terminal.

It works on the rows, so it may be used while the launcher runs; what only one process may do is left to that one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from launcher.builds import BuildLogs, BuildQueue
from launcher.config import Settings
from launcher.config_files import read_settings
from launcher.errors import ConfigurationInvalid, EnvironmentNotFound, StateUnusable
from launcher.models import EnvironmentKey
from launcher.retention.catalogue import KnownEnvironment, ask_removal
from launcher.retention.collector import Collector, Plan
from launcher.retention.parts import RetentionParts
from launcher.retention.policy import RetentionPolicy
from launcher.runtimes import environment_users, make_builder
from launcher.store import ListedEnvironment, StateLock, Store

_PAGE = 500
_SHORTEST = 6  # digits of a key that name it


@dataclass(frozen=True)
class EnvironmentsOptions:
    """The command line of ``launcher environments``."""

    action: str
    keys: tuple[str, ...]
    config: Path | None
    state: Path
    runtime: str
    search: str
    dry_run: bool
    json: bool


def environments(options: EnvironmentsOptions, say: Callable[[str], None]) -> int:
    """Run the command; returns the exit status. Raises LauncherError with words for the operator."""
    if options.action in {"pin", "unpin", "remove"} and not options.keys:
        raise ConfigurationInvalid(f"`launcher environments {options.action}` needs at least one key.")
    settings = _settings(options)
    if not settings.database_url and not (settings.state / "launcher.sqlite").exists():
        raise StateUnusable(
            "There is no launcher's database in this state directory.", hint="Name another with --state or --config."
        )
    with Store.open(settings.store_url) as store:
        asyncio.run(_Command(settings, store, options, say).run())
    return 0


def _settings(options: EnvironmentsOptions) -> Settings:
    if options.config is None:
        return read_settings(Config({"Launcher": {"state_directory": str(options.state), "runtime": options.runtime}}))
    if not options.config.is_file():
        raise ConfigurationInvalid(f"{options.config} is not a file.", hint="Give --config a jupyterhub_config.py.")
    loader = PyFileConfigLoader(options.config.name, path=str(options.config.parent.resolve()))
    return read_settings(loader.load_config())


class _Command:
    """One run of the command."""

    def __init__(
        self, settings: Settings, store: Store, options: EnvironmentsOptions, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._store = store
        self._options = options
        self._say = say

    async def run(self) -> None:
        """Do what the options say."""
        builder = make_builder(self._settings)
        logs = BuildLogs(self._settings.state / "logs")
        self._collector = Collector(
            RetentionParts(
                self._store,
                builder,
                BuildQueue(self._store, builder, logs),  # never started: it builds nothing
                logs,
            ),
            policy=RetentionPolicy.of(self._settings),
            users=environment_users(self._settings),
        )
        if self._options.action == "list":
            await self._list()
        elif self._options.action == "collect":
            await self._collect()
        elif self._options.action == "remove":
            await self._remove([self._key(text) for text in self._options.keys])
        else:
            pinned = self._options.action == "pin"
            for text in self._options.keys:
                self._store.pin_environment(self._key(text), pinned=pinned)

    async def _list(self) -> None:
        if self._store.unmeasured_artefacts():
            await self._collector.measure()
        in_use = await self._collector.in_use()
        found = [KnownEnvironment(listed, listed.row.reference in in_use) for listed in self._all(self._options.search)]
        if self._options.json:
            self._say(json.dumps([environment.to_json() for environment in found], indent=1))
            return
        self._say(f"{'KEY':12}  {'LAST USED':16}  {'OWN':>10}  {'SHARED':>10}  {'STATE':8}  FROM")
        for environment in found:
            self._say(_line(environment))

    async def _collect(self) -> None:
        if self._options.dry_run:
            self._tell(await self._collector.plan(at_once=True), "would go")
            return
        with self._alone() as alone:
            if alone:
                self._tell(await self._collector.collect(at_once=True), "removed")
                return
        plan = await self._collector.plan()
        for doomed in plan.environments:
            for row in self._store.environments_with_reference(doomed.reference):
                self._store.ask_removal(row.key)
        self._tell(plan, "will be removed by the launcher that runs")

    async def _remove(self, keys: Sequence[EnvironmentKey]) -> None:
        for key in keys:
            if not self._options.dry_run:
                await ask_removal(self._store, self._collector, key)
            self._say(f"{key[:12]} goes")
        with self._alone() as alone:
            if self._options.dry_run or not keys:
                return
            if not alone:
                self._say("The launcher that runs removes them within a minute.")
                return
            for key in keys:
                await self._collector.remove(key)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no launcher runs on this state; none starts inside the block then."""
        lock = StateLock(self._settings.state)
        try:
            lock.acquire()
        except StateUnusable:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _tell(self, plan: Plan, what: str) -> None:
        for doomed in plan.environments:
            self._say(f"{doomed.reference[:20]:20}  {_size(doomed.own_bytes):>10}  {doomed.reason.value}")
        self._say(f"{len(plan.environments)} environments and {len(plan.builds)} builds of the history {what}.")

    def _all(self, search: str) -> Iterator[ListedEnvironment]:
        after = None
        while page := self._store.environments_page(search=search, after=after, limit=_PAGE):
            yield from page
            after = (page[-1].row.last_used, page[-1].row.key)

    def _key(self, text: str) -> EnvironmentKey:
        """The one environment whose key begins so. Raises EnvironmentNotFound."""
        found = [one.row.key for one in self._all(text) if one.row.key.startswith(text.lower())]
        if len(text) < _SHORTEST or len(found) != 1:
            raise EnvironmentNotFound(
                f"{len(found)} environments have a key that begins with {text!r}.",
                hint=f"Give at least {_SHORTEST} digits of a key that `launcher environments` lists.",
            )
        return found[0]


def _line(environment: KnownEnvironment) -> str:
    row = environment.row
    state = "in use" if environment.in_use else "pinned" if row.pinned else row.status.value
    return (
        f"{row.key[:12]}  {row.last_used:%Y-%m-%d %H:%M}  {_size(row.own_bytes):>10}  {_size(row.shared_bytes):>10}  "
        f"{state:8}  {environment.listed.spec or row.summary}"
    )


def _size(value: int | None) -> str:
    return "?" if value is None else f"{value / 2**20:,.1f} MiB"
