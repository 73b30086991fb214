"""``/documents/<provider>/<spec>``: what a repository says of itself, to read while its environment is built.

A document of its own, shown in a frame of the launch page: foreign words never become part of a page of ours.
"""

from __future__ import annotations

from launcher.errors import LauncherError, NotFound
from launcher.sources.base import spec_at
from launcher.web.documents import DOCUMENT_POLICY, render
from launcher.web.open_path import parse_open_path
from launcher.web.pages import NavigatedHandler


class DocumentsHandler(NavigatedHandler):
    """The frame's document."""

    async def get(self) -> None:
        """The README and the notebook that the link opens."""
        self.require_visitor()
        spec = spec_at(self.parts.sources, self.raw_tail("documents/").rstrip("/"))
        if self.parts.documents is None:
            raise NotFound("This launcher shows no documents.")
        found = await self.parts.documents.of(spec, parse_open_path(self.first_argument))
        documents = [(one.path, render(one.path, one.content) if one.content is not None else None) for one in found]
        self.render_page("documents.html", documents=documents, error=None)

    def render_error(self, error: LauncherError) -> None:
        """A frame holds no page of errors: one sentence. JSON for those who accept nothing else."""
        if "text/html" not in self.request.headers.get("Accept", "text/html"):
            return super().render_error(error)
        return self.render_page("documents.html", documents=[], error=error)

    def set_page_headers(self) -> None:
        """A sandbox without scripts and requests, which only pages of ours may frame."""
        super().set_page_headers()
        self.set_header("Content-Security-Policy", DOCUMENT_POLICY)
        self.set_header("X-Frame-Options", "SAMEORIGIN")
