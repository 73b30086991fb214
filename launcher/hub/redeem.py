"""Shows a ticket to the launcher and receives, once, the plan of what to start."""

from __future__ import annotations

import json

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from launcher.errors import HubUnavailable, LauncherError, TicketInvalid
from launcher.models import LaunchPlan

REDEEM_PATH = "api/v1/tickets/redeem"
_SECONDS = 20


async def redeem(service_url: str, ticket: str, *, user: str, server_name: str) -> LaunchPlan:
    """The plan that this ticket stands for.

    ``service_url`` is the service's address as the Hub's process reaches it, with its prefix.
    Raises TicketInvalid for a ticket that is forged, expired, used or somebody else's, HubUnavailable when the
    launcher does not answer.
    """
    body = json.dumps({"ticket": ticket, "user": user, "server_name": server_name})
    request = HTTPRequest(
        service_url + REDEEM_PATH,
        method="POST",
        headers={"Content-Type": "application/json"},
        body=body,
        request_timeout=_SECONDS,
    )
    try:
        response = await AsyncHTTPClient().fetch(request, raise_error=False)
        answer = json.loads(response.body or b"null")
    except (HTTPClientError, OSError, ValueError) as error:
        raise _silent_launcher() from error
    if response.code == 200:  # noqa: PLR2004
        return LaunchPlan.from_json(answer)
    raise _refusal(answer)


def _silent_launcher() -> LauncherError:
    return HubUnavailable("The launcher does not answer.", hint="Try again in a moment.")


def _refusal(answer: object) -> LauncherError:
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict) or "message" not in error:
        return _silent_launcher()
    return TicketInvalid(str(error["message"]), hint=str(error.get("hint", "")))
