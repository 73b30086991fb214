"""Launches that follow a script: what they say is decided by the test, what they were asked is kept for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from launcher.errors import BuildNotFound, LauncherError, ProviderUnknown, SourceUnavailable, SpecInvalid
from launcher.models import (
    BuildId,
    EnvironmentKey,
    EnvironmentStatus,
    HomeKind,
    Person,
    Recipe,
    RecipeKind,
    Repository,
    RepositoryId,
    Resolved,
    ServerName,
    Snapshot,
    Spec,
    Trust,
)
from launcher.policy.sizes import MachineSizes
from launcher.sessions.base import LaunchEvent, LaunchRequest, LogBatch, Preview, events_of

COMMIT = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"
READY = LaunchEvent(
    "ready",
    "server running at /user/someone/gh-u-r-abc123/\n",
    {
        "url": "/user/someone/gh-u-r-abc123/",
        "token": "short-lived-token",
        "image": "env:1a2b",
        "repo_url": "https://github.com/u/r",
        "binder_ref_url": f"https://github.com/u/r/tree/{COMMIT}",
        "binder_launch_host": "https://hub/services/binder/",
        "binder_request": "v2/gh/u/r/HEAD",
        "binder_persistent_request": f"v2/gh/u/r/{COMMIT}",
        "binder_client_ip": "127.0.0.1",
    },
)
QUICK = (
    LaunchEvent("built", "Found built image, launching...\n", {"imageName": "env:1a2b"}),
    LaunchEvent("launching", "Launching server...\n"),
    READY,
)
BUILD = (
    LaunchEvent("waiting", "Waiting for build to start...\n", {"queue_position": 2, "build_id": "b-1"}),
    LaunchEvent("fetching", "Cloning into r\n", {"build_id": "b-1"}, id="b-1:15"),
    LaunchEvent("building", "Collecting numpy\n", {"build_id": "b-1"}, id="b-1:32"),
    LaunchEvent("building", "Installed 12 packages\n", {"build_id": "b-1"}, id="b-1:54"),
    LaunchEvent("built", "Built image, launching...\n", {"imageName": "env:1a2b"}),
    LaunchEvent("launching", "Launching server...\n"),
    READY,
)


class ScriptedSources:
    """Knows the providers ``gh`` (``user/repo/ref``), ``git`` (``<url>/<ref>``) and ``zenodo`` (anything)."""

    def parse(self, provider: str, raw: str) -> Spec:
        if provider not in {"gh", "git", "zenodo"}:
            raise ProviderUnknown(f"No provider found for prefix {provider}")
        if provider == "gh" and len(raw.split("/")) < 3:
            raise SpecInvalid(
                f'Spec is not of the form "user/repo/ref", provided: "{raw}". Did you mean "{raw}/HEAD"?',
                hint="Add a branch, tag or commit.",
            )
        return Spec(provider, raw)

    def repository(self, spec: Spec) -> Repository:
        parts = spec.raw.split("/")
        name = parts[1] if spec.provider == "gh" else "repository"
        request = re.search(r"refs/(pull/\d+)/head$", spec.raw)
        return Repository(
            RepositoryId(f"{spec.provider}:{spec.raw}" + (f"#{request[1]}" if request else "")),
            spec.provider,
            spec.raw,
            name,
            f"https://example.org/{name}",
        )

    async def resolve(self, spec: Spec) -> Resolved:
        return Resolved(
            spec,
            self.repository(spec),
            COMMIT,
            "refs/heads/main",
            f"{spec.provider}/u/r/{COMMIT}",
            f"https://example.org/tree/{COMMIT}",
        )

    branch: str | None = None
    """The one branch that addresses of pages may name, when its repository answers."""

    async def longest_ref(self, spec: Spec, path: str) -> str | None:
        if self.branch == "unreachable":
            raise SourceUnavailable("The repository's host did not answer as a git server.")
        return self.branch if self.branch and path.startswith(self.branch) else None

    async def fetch(self, resolved: Resolved) -> Snapshot:
        raise AssertionError("the web never fetches")

    def describe(self) -> list[dict[str, object]]:
        return [
            _provider("gh", "GitHub", "GitHub repository name or URL", "^(https?://github.com/)?(?<repo>.*[^/])/?$"),
            _provider("git", "Git", "Arbitrary git repository URL", None, encode=True),
            _provider("zenodo", "Zenodo DOI", "Zenodo DOI", None, ref=False),
        ]


def _provider(
    name: str, display: str, label: str, detect: str | None, *, encode: bool = False, ref: bool = True
) -> dict[str, object]:
    return {
        "displayName": display,
        "id": name,
        "spec": {"validateRegex": ".+"},
        **({"detect": {"regex": detect}} if detect else {}),
        "repo": {"label": label, "placeholder": "u/r", "urlEncode": encode},
        "ref": {"enabled": ref, "default": "HEAD"} if ref else {"enabled": False},
    }


@dataclass
class ScriptedLaunches:
    """Set ``script``, ``trust`` and so on before asking; read ``requests``, ``closed`` and so on after."""

    script: tuple[LaunchEvent | LogBatch, ...] = QUICK
    trust: Trust = Trust.TRUSTED
    problem: str | None = None
    environment: EnvironmentStatus | None = EnvironmentStatus.READY
    preview_error: LauncherError | None = None
    dask_reason: str | None = None
    """None: a hub without Dask. "": this person's session has it."""
    dask_choice: bool = False
    sizes: MachineSizes = field(default_factory=MachineSizes)
    running: str | None = None
    pause_after: int | None = None
    """Stop after this many events until ``go_on`` is set."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[LaunchRequest] = field(default_factory=list)
    afters: list[str | None] = field(default_factory=list)
    previews: list[Spec] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    told: int = 0
    closed: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    async def preview(
        self, person: Person, hub_token: str, spec: Spec, *, with_dask: bool = False, size: str = ""
    ) -> Preview:
        self.previews.append(spec)
        if self.preview_error is not None:
            raise self.preview_error
        home = HomeKind.PROJECT if self.trust is Trust.UNKNOWN else HomeKind.PERSONAL
        return Preview(
            resolved=await ScriptedSources().resolve(spec),
            trust=self.trust,
            home=home,
            recipe=Recipe(RecipeKind.REQUIREMENTS, main="requirements.txt", files={"requirements.txt": "0" * 40}),
            key=EnvironmentKey("f" * 64),
            environment=self.environment,
            server_name=ServerName("gh-u-r-abc123"),
            running=self.running,
            problem=self.problem,
            dask=None if self.dask_reason is None else not self.dask_reason,
            dask_reason=self.dask_reason or "",
            dask_choice=self.dask_choice,
            dask_added=with_dask and home is HomeKind.PERSONAL,
            sizes=self.sizes.offered(person),
            size=self.sizes.choose(size, person),
        )

    def can_choose_dask(self, person: Person) -> bool:
        return self.dask_choice

    async def launch(
        self, request: LaunchRequest, *, after: str | None = None
    ) -> AsyncIterator[LaunchEvent | LogBatch]:
        self.requests.append(request)
        self.afters.append(after)
        try:
            for number, event in enumerate(self.script):
                if self.pause_after is not None and number >= self.pause_after:
                    await self.go_on.wait()
                self.told += 1
                yield event
        finally:
            self.closed += 1

    async def build_log(
        self, person: Person, build_id: BuildId, *, after: int = 0, follow: bool = True, shared: bool = False
    ) -> AsyncIterator[LaunchEvent | LogBatch]:
        if build_id != "b-1":
            raise BuildNotFound("There is no such build.")
        for event in (event for said in self.script for event in events_of(said)):
            if event.id is not None and int(event.id.rpartition(":")[2]) > after:
                yield event

    async def cancel_build(self, person: Person, build_id: BuildId) -> None:
        if build_id != "b-1":
            raise BuildNotFound("There is no such build.")
        self.cancelled.append(build_id)
