"""``/build/<provider>/<spec>``: BinderHub's event stream. Every error after routing is 200 and a ``failed`` event."""

from __future__ import annotations

from launcher.sessions.base import LaunchRequest
from launcher.sources.base import spec_at
from launcher.web.base import Visitor, is_yes
from launcher.web.launch_stream import LaunchStreamHandler
from launcher.web.open_path import parse_open_path


class BuildHandler(LaunchStreamHandler):
    """The API that Binder clients call."""

    async def get(self) -> None:
        """Tell a launch from its start, or from ``Last-Event-ID``, to ``ready`` or ``failed``."""
        visitor = self.stream_visitor()
        spec_path = self.raw_tail("build/")
        confirmed = self.confirmed(visitor, spec_path)
        request = self._launch_request(visitor, spec_path, confirmed=confirmed)
        events = self.parts.launches.launch(request, after=self.after)
        await self.tell_start(visitor, events, open_path=request.open_path, wants_token=request.wants_token)

    def _launch_request(self, visitor: Visitor, spec_path: str, *, confirmed: bool) -> LaunchRequest:
        return LaunchRequest(
            person=visitor.person,
            hub_token=visitor.hub_token,
            spec=spec_at(self.parts.sources, spec_path.rstrip("/")),
            open_path=parse_open_path(self.first_argument),
            confirmed=confirmed,
            build_only=(self.first_argument("build_only") or "").lower() == "true",
            with_dask=is_yes(self.first_argument("dask")),
            size=self.first_argument("size") or "",
            wants_token=visitor.by_header,
            launch_host=self.public_origin + self.web.service_prefix,
            client_ip=self.request.remote_ip or "",
        )
