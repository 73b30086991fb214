"""The end of the Hub's OAuth login."""

from __future__ import annotations

from jupyterhub.services.auth import HubOAuthCallbackHandler

from launcher.web.pages import PageHandler


class OAuthCallbackHandler(PageHandler, HubOAuthCallbackHandler):  # type: ignore[misc]  # jupyterhub has no types
    """The Hub's own handler, with our error pages."""
