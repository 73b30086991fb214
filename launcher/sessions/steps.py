"""The steps that every start of a session has in common, a launch's and a regular session's."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.crashpoints import crash_point
from launcher.errors import BuildFailed, SessionStartFailed
from launcher.models import LaunchPlan, ServerName, Snapshot, Username
from launcher.sessions.base import LaunchEvent
from launcher.sessions.hub import HubClient
from launcher.sessions.parts import Environment, LaunchParts, Prepared
from launcher.sessions.tasks import Say
from launcher.store import BuildRow, EnvironmentRow


async def ready_environment(parts: LaunchParts, user: Username, prepared: Prepared, say: Say) -> Environment:
    """The environment: known and ready, or built now while listeners read the build's log."""
    builds = parts.builds
    found = await builds.ensure(prepared.key, prepared.recipe, prepared.snapshot, asked_by=user)
    message = "Found built image, launching...\n"
    if isinstance(found, BuildRow):
        message = "Built image, launching...\n"
        async for position in builds.positions(found.id):
            data = {"build_id": found.id, "queue_position": position}
            say(LaunchEvent("waiting", f"{builds.line.held or 'Waiting for build to start...'}\n", data))
        say(found.id)
        found = _built(parts, await builds.wait(found.id))
    environment = Environment.of(found)
    say(LaunchEvent("built", message, {"imageName": environment.reference}))
    return environment


def _built(parts: LaunchParts, row: BuildRow) -> EnvironmentRow:
    if (error := row.error) is not None:
        raise error
    environment = parts.store.environment(row.environment_key)
    if row.is_open or environment is None:
        raise BuildFailed("The launcher is being restarted.", hint="Open the launch link again: the build goes on.")
    return environment


def content_of(snapshot: Snapshot) -> dict[str, str]:
    """`LaunchPlan.content` of a commit's files."""
    resolved = snapshot.resolved
    return {
        "repository": str(snapshot.cache),
        "commit": snapshot.commit,
        "branch": resolved.ref_name or "",
        "identity": resolved.repository.id,
        "url": resolved.repository.url,
        "name": resolved.repository.name,
    }


async def start_server(
    parts: LaunchParts,
    hub: HubClient,
    plan: LaunchPlan,
    say: Say,
    *,
    dask: bool,
    remembered: Mapping[str, str] | None = None,
) -> str:
    """Start the server of a plan with a ticket; returns its URL path when it is ready.

    ``dask``: its token may ask for clusters. ``remembered``: options that the Hub keeps beside the ticket, for a start
    of its own that names none. Raises SessionStartFailed.
    """
    name = ServerName(plan.server_name)
    token, ticket = parts.signer.sign(plan.user, name, dask=dask)
    parts.store.issue_ticket(ticket.jti, plan, ticket.expires)
    crash_point("launch:ticket_issued")
    await hub.start(plan.user, name, {**(remembered or {}), "ticket": token})
    crash_point("launch:start_requested")
    await follow_start(hub, plan.user, name, say)
    server = await hub.server(plan.user, name)
    if server is None or not server.ready:
        raise SessionStartFailed("The session ended while it was starting.", hint="Open the launch link again.")
    return server.url


async def follow_start(hub: HubClient, user: str, name: ServerName, say: Say) -> None:
    """Pass on the Hub's progress messages until the server is ready. Raises SessionStartFailed."""
    async for event in hub.progress(user, name):
        message = str(event.get("message", "")).strip()
        if event.get("failed"):
            raise SessionStartFailed(
                message.removeprefix("Spawn failed:").strip() or "JupyterHub could not start the session.",
                hint="Open the launch link again; if it happens again, tell the people who run this hub.",
            )
        if message:
            say(LaunchEvent("launching", message + "\n"))
