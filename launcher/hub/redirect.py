"""``JupyterHub.user_redirect_hook``: nbgitpuller links, which may name an environment.

A link without ``environment`` keeps its meaning. One with ``environment=<provider>/<spec>`` becomes a launch of that
environment whose session then pulls the files: ``/hub/user-redirect/git-pull?repo=…&environment=gh/org/env/main``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

ENVIRONMENT_PARAMETER = "environment"
_PULL_PATH = "git-pull"

Hook = Callable[[str, Any, Any, str], Awaitable[str | None]]


def redirect_hook(service_name: str, earlier: Any = None) -> Hook:
    """A hook that handles pull links naming an environment and leaves everything else to ``earlier`` or the Hub."""

    async def hook(path: str, request: Any, user: Any, base_url: str) -> str | None:
        target = launch_path(path, request.query)
        if target is not None:
            return f"{base_url.removesuffix('hub/')}services/{service_name}/{target}"
        if earlier is None:
            return None
        answer = earlier(path, request, user, base_url)
        return await answer if isawaitable(answer) else answer  # type: ignore[no-any-return]

    hook.launcher_hook = True  # type: ignore[attr-defined]
    return hook


def launch_path(path: str, query: str) -> str | None:
    """``v2/<spec>?urlpath=git-pull…`` for a pull link that names an environment, else None."""
    if path.strip("/") != _PULL_PATH:
        return None
    pairs = parse_qsl(query, keep_blank_values=True)
    environment = next((value for name, value in pairs if name == ENVIRONMENT_PARAMETER), None)
    if not environment:
        return None
    rest = urlencode([(name, value) for name, value in pairs if name != ENVIRONMENT_PARAMETER])
    return f"v2/{quote(environment, safe='/%:@')}?{urlencode({'urlpath': f'{_PULL_PATH}?{rest}'})}"
