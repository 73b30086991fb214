"""Badges, legacy links and the home page's form: addresses that lead to a launch page and start nothing."""

from __future__ import annotations

import mimetypes
import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode

from tornado.web import StaticFileHandler, authenticated

from launcher.errors import SpecInvalid
from launcher.publish.links import Interface, open_query
from launcher.sources.pasted import Pasted, find_pasted
from launcher.web.assets import BUILT
from launcher.web.base import BaseHandler, is_yes, public_error
from launcher.web.headers import SECURITY_HEADERS
from launcher.web.pages import NavigatedHandler

_AN_HOUR = "public, max-age=3600"
_NAME_ALONE = re.compile(r"(?!10\.)[^\s:@]+")  # not an address and not a DOI
_WITH_NAMES = frozenset({"gist", "gl", "hydroshare"})


class LegacyRedirectHandler(BaseHandler):
    """``/repo/<user>/<repo>[/<path>]``, the form of links before BinderHub's version 2."""

    identifies = False

    async def get(self) -> None:
        """302 to the launch page."""
        user, repository, *path = self.raw_tail("repo/").split("/", 2)
        target = f"{self.web.service_prefix}v2/gh/{user}/{repository}/master"
        inside = unquote(path[0]) if path else ""
        self.redirect(f"{target}?urlpath=%2F{quote(inside, safe='')}" if inside else target)


class FileHandler(StaticFileHandler):
    """Files of ours, for any page (badges are shown everywhere), with safe headers."""

    def set_default_headers(self) -> None:
        """Safe headers on every answer."""
        for name, value in SECURITY_HEADERS.items():
            self.set_header(name, value)
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Tornado's hook: of a built file, the compressed one for those who can read it."""
        path = super().validate_absolute_path(root, absolute_path)
        compressed = f"{path}.gz"
        if path is None or not Path(compressed).exists():
            return path
        self.set_header("Vary", "Accept-Encoding")
        if "gzip" not in self.request.headers.get("Accept-Encoding", ""):
            return path
        self.set_header("Content-Encoding", "gzip")
        return super().validate_absolute_path(root, compressed)

    def get_content_type(self) -> str:
        """What the file is, compressed or not."""
        return mimetypes.guess_type(str(self.absolute_path).removesuffix(".gz"))[0] or "application/octet-stream"

    def set_extra_headers(self, path: str) -> None:
        """Files are cached for an hour; those whose name says what is in them, for ever."""
        built = path.startswith(f"{BUILT}/assets/")
        self.set_header("Cache-Control", "public, max-age=31536000, immutable" if built else _AN_HOUR)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """The one shape of errors."""
        del kwargs
        error = public_error(status_code, None)
        self.set_status(error.http_status)
        self.finish({"error": {**error.to_dict(), "id": secrets.token_hex(6)}})


class GoHandler(NavigatedHandler):
    """``/go``: the home page's form."""

    @authenticated
    async def get(self) -> None:
        """302 to the launch page of what was typed."""
        typed = (self.first_argument("repository") or "").strip()
        if not typed:
            raise SpecInvalid("There is no repository in the form.", hint="Type a repository or its address.")
        ref, path = ((self.first_argument(name) or "").strip() for name in ("ref", "path"))
        named = _named(self.first_argument("provider") or "", typed, ref)
        pasted = named or (await find_pasted(self.parts.sources, typed, ref=ref)).pasted
        is_file = bool(path) or pasted.is_file
        query = open_query(Interface.LAB, path or pasted.path, is_file=is_file)
        query |= {"dask": "1"} if is_yes(self.first_argument("dask")) else {}
        target = f"{self.web.service_prefix}v2/{pasted.spec()}"
        self.redirect(f"{target}?{urlencode(query, quote_via=quote, safe='')}" if query else target)


def _named(provider: str, typed: str, ref: str) -> Pasted | None:
    """The repository of a name alone, which is one at the provider that was chosen; None for what is an address."""
    is_name = provider in _WITH_NAMES and _NAME_ALONE.fullmatch(typed)
    return Pasted(provider, typed.strip("/"), ref) if is_name else None
