"""What the pages share that show how a start goes on, with a script or without: the launch page and a new session's."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from launcher.errors import BuildTokenInvalid
from launcher.sessions.base import LaunchEvent
from launcher.web.pages import NavigatedHandler
from launcher.web.tokens import TokenSubject


class ProgressHandler(NavigatedHandler):
    """A page whose script follows an event stream with the page's own build token.

    ``subject`` is what a token is bound to besides person and origin: the spec of a launch as in its address, or the
    choices of a new session.
    """

    def is_confirmed(self, subject: str) -> bool:
        """Whether this address carries a build token of this person's own click. An old one asks again."""
        try:
            token = self.first_argument("build_token")
            return bool(token) and self.tokens.verify(str(token), self._bound_to(subject))
        except BuildTokenInvalid:
            return False

    def issue_token(self, subject: str, *, confirmed: bool) -> str:
        """A token for this person and page. ``confirmed``: they said yes."""
        return self.tokens.issue(self._bound_to(subject), confirmed=confirmed)

    def _bound_to(self, subject: str) -> TokenSubject:
        return self.token_subject(subject, self.require_visitor().person)

    def page_of_progress(self, name: str, *, subject: str, token: str, events: str, again: str) -> dict[str, Any]:
        """What the script is told. events: path and query of the stream. again: where a failed start begins anew."""
        prefix = self.web.service_prefix
        return {
            "name": name,
            "buildToken": token,
            "xsrfToken": self.xsrf_for_forms(),
            "specPath": subject,
            "eventsUrl": prefix + events,
            "renewUrl": f"{prefix}api/v1/build-token",
            "buildsUrl": f"{prefix}api/v1/builds/",
            "errorsUrl": f"{prefix}errors",
            "hubBase": self.web.hub_base_url,
            "again": again,
            "home": prefix,
        }

    def keep_address_secret(self) -> None:
        """The address holds a token: what the page leads to must not read it."""
        self.set_header("Referrer-Policy", "no-referrer")

    def session_path(self, event: LaunchEvent, open_path: str = "") -> str:
        """The URL path of a session that is ready, always on this host and below the Hub."""
        path = urlsplit(str(event.data.get("url", ""))).path
        if not path.startswith(self.web.hub_base_url) or path.startswith("//"):
            path = self.web.hub_base_url
            open_path = "hub/home"
        return path.rstrip("/") + "/" + open_path
