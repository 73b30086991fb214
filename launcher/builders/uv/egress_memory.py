"""What the egress proxy keeps in memory of what strangers send through it: little, whoever does not read.

proxy.py reads from one end whatever the other end takes, and keeps requests until they are whole. Here an end is not
read while the other has not taken what came before, and requests have a limit. Only the proxy's process imports this.
"""

from __future__ import annotations

import selectors
import threading
from typing import Any

from proxy.http.handler import HttpProtocolHandler

MOST_ON_THE_WAY = 256 * 1024
"""Bytes of one direction of one connection that the other end has not taken; one read more is possible."""
MOST_REQUEST_BYTES = 64 * 2**20
"""Of one plain request; what is sent through a tunnel has no limit."""
MOST_REQUESTS_BYTES = 256 * 2**20
"""Of all plain requests of this process together, until they are passed on, beyond what each may have in any case."""
ALWAYS_BYTES = 16 * 2**10
"""What every request may have: enough to ask. Else a few who never end their large requests would shut out the rest."""
_TOO_LARGE = memoryview(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")


class _Room:
    """A number of bytes that all connections share. For use by several threads."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        with self._lock:
            self._left += size


_room = _Room(MOST_REQUESTS_BYTES)


class BoundedHandler(HttpProtocolHandler):
    """proxy.py's handler of one connection, bounded."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._taken = 0

    async def get_events(self) -> dict[int, int]:
        """What to wait for next."""
        events: dict[int, int] = await super().get_events()
        upstream = getattr(self.plugin, "upstream", None)
        if not _waiting(upstream) and self._is_between_requests():
            self._give_back()
        if _waiting(upstream) > MOST_ON_THE_WAY:
            _do_not_read(events, self.work)
        if upstream is not None and not upstream.closed and _waiting(self.work) > MOST_ON_THE_WAY:
            _do_not_read(events, upstream)
        return events

    def handle_data(self, data: memoryview) -> bool | None:
        """Take what the client says; True ends the connection."""
        if data is not None and not self._is_tunnel() and not self._take(len(data)):
            self.work.queue(_TOO_LARGE)
            return True
        result: bool | None = super().handle_data(data)
        if self.request.is_complete:
            self.request.body = None  # passed on, and not asked for again
        return result

    def shutdown(self) -> None:
        """End the connection."""
        self._give_back()
        super().shutdown()

    def _is_tunnel(self) -> bool:
        return bool(self.request.is_complete and self.request.is_https_tunnel)

    def _is_between_requests(self) -> bool:
        """Whether nothing is kept of a request that is not whole, be it the first or one after it."""
        following = getattr(self.plugin, "pipeline_request", None)
        return bool(self.request.is_complete and (following is None or following.is_complete))

    def _take(self, size: int) -> bool:
        taken = self._taken + size
        if taken > MOST_REQUEST_BYTES or not _room.take(_shared(taken) - _shared(self._taken)):
            return False
        self._taken = taken
        return True

    def _give_back(self) -> None:
        _room.give_back(_shared(self._taken))
        self._taken = 0


def _shared(taken: int) -> int:
    """How much of a request's bytes is in the room of all."""
    return max(0, taken - ALWAYS_BYTES)


def _waiting(connection: Any) -> int:
    """Bytes that a connection has still to take."""
    return 0 if connection is None else sum(map(len, connection.buffer))


def _do_not_read(events: dict[int, int], connection: Any) -> None:
    file = connection.connection.fileno()
    events[file] = events.get(file, 0) & ~selectors.EVENT_READ
    if not events[file]:
        del events[file]
