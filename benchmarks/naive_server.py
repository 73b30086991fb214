"""The peer of B5: an event stream as it is written first, with tornado. One write per line and watcher, no coalescing.

``python -m benchmarks.naive_server RATE SECONDS`` prints its port, then sends the lines of `lines.py` at GET /events.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tornado.httpserver import HTTPServer
from tornado.iostream import StreamClosedError
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

LINES = Path(__file__).with_name("lines.py")


class Events(RequestHandler):
    """Stays open and is written to."""

    watchers: set[Events] = set()  # noqa: RUF012 - shared by all on purpose
    over = asyncio.Event()

    async def get(self) -> None:
        """The stream, to its end."""
        self.set_header("Content-Type", "text/event-stream")
        self.flush()
        self.watchers.add(self)
        await self.over.wait()

    def tell(self, line: str) -> None:
        """One event."""
        self.write(f"data: {json.dumps({'phase': 'building', 'message': line})}\n\n")
        self.flush()

    def on_connection_close(self) -> None:
        """The watcher has gone."""
        self.watchers.discard(self)


async def main(rate: str, seconds: str) -> None:
    """Serve until the lines end."""
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([("/events", Events)])).add_sockets(sockets)
    print(sockets[0].getsockname()[1], flush=True)
    command = [sys.executable, "-u", str(LINES), rate, seconds]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        while line := await process.stdout.readline():  # type: ignore[union-attr]
            for watcher in tuple(Events.watchers):
                try:
                    watcher.tell(line.decode())
                except StreamClosedError:
                    Events.watchers.discard(watcher)
    finally:
        if process.returncode is None:
            process.kill()
        Events.over.set()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
