"""Shows a ticket to the launcher and receives, once, the plan of what to start."""

from __future__ import annotations

import hmac
import json

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from launcher.errors import LauncherError, TicketInvalid
from launcher.models import LaunchPlan
from launcher.sealed import silent_launcher
from launcher.tickets import SEAL_HEADER, TicketSigner

REDEEM_PATH = "api/v1/tickets/redeem"
_SECONDS = 20
_LONGEST_TICKET = 4096


async def redeem(service_url: str, ticket: str, *, user: str, server_name: str, signer: TicketSigner) -> LaunchPlan:
    """The plan that this ticket stands for.

    ``service_url`` is the service's address as the Hub's process reaches it, with its prefix.
    Raises TicketInvalid for a ticket that is forged, expired, used or somebody else's, HubUnavailable when the
    launcher does not answer, or somebody else does in its place.
    """
    if len(ticket) > _LONGEST_TICKET:
        raise TicketInvalid("This start request was not made by the launcher.", hint="Open the launch link again.")
    body = json.dumps({"ticket": ticket, "user": user, "server_name": server_name})
    request = HTTPRequest(
        service_url + REDEEM_PATH,
        method="POST",
        headers={"Content-Type": "application/json"},
        body=body,
        request_timeout=_SECONDS,
        follow_redirects=False,  # whoever has taken the port does not choose whom the Hub speaks to
    )
    try:
        response = await AsyncHTTPClient().fetch(request, raise_error=False)
        answer = json.loads(response.body or b"null")
    except (HTTPClientError, OSError, ValueError) as error:
        raise silent_launcher() from error
    if response.code != 200:  # noqa: PLR2004
        raise _refusal(answer)
    if not hmac.compare_digest(
        response.headers.get(SEAL_HEADER, "").encode(), signer.seal(ticket, response.body).encode()
    ):
        raise silent_launcher()
    return LaunchPlan.from_json(answer)


def _refusal(answer: object) -> LauncherError:
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict) or "message" not in error:
        return silent_launcher()
    return TicketInvalid(str(error["message"]), hint=str(error.get("hint", "")))
