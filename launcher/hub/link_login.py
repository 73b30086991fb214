"""Login for one machine and one person: a link with a key in it, or the key as password.

For ``launcher up`` only: whoever has the link is the admin. Any other authenticator goes into the operator's own
configuration file.
"""

from __future__ import annotations

import hmac
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from tornado import web
from traitlets import Unicode

LOGIN_PATH = "link-login"


class LinkAuthenticator(Authenticator):  # type: ignore[misc]
    """Lets one user in, by a key that `launcher up` prints as part of a link."""

    user = Unicode(help="The name of the one user.").tag(config=True)
    key = Unicode(help="The key; at least 32 characters.").tag(config=True)
    allow_all = True

    def is_key(self, key: str) -> bool:
        """Whether this is the key; takes the same time for every wrong one."""
        return bool(self.key) and hmac.compare_digest(key.encode(), self.key.encode())

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """The user's name for the right key, given as the password of the login form or by the link."""
        del handler
        matches = data.get("username") == self.user and self.is_key(data.get("password", ""))
        return self.user if matches else None

    def get_handlers(self, app: Any) -> list[tuple[str, Any]]:
        """The page behind the printed link."""
        return [*super().get_handlers(app), (f"/{LOGIN_PATH}", LinkLoginHandler)]


class LinkLoginHandler(BaseHandler):  # type: ignore[misc]
    """``GET /hub/link-login?key=…``: log in and go on to ``next``."""

    async def get(self) -> None:
        """Log in with the key of the link. 403 with a sentence when it is not the key."""
        key = self.get_argument("key", "")
        user = await self.login_user({"username": self.authenticator.user, "password": key})
        if user is None:
            raise web.HTTPError(403, "This login link is not the one that `launcher up` printed last.")
        self.redirect(self.get_next_url(user))
