"""Many watchers of one event stream in a process of their own, on bare sockets so that they cost little.

Reads one JSON line ``{"host", "port", "path", "tokens", "count"}``; writes ``connected`` when all have a 200; reads
``start`` and ``stop``; writes one JSON line with the lag of each line that was printed and received between the two.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any

_AT_ONCE = 20  # connections being opened
_SAMPLED = 100  # watchers whose lines are read; of the others only the bytes are counted
_LINE = re.compile(rb"(\d{10}\.\d{6}) line (\d{7})")


class Watcher(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, *, sampled: bool) -> None:
        self.request = request
        self.sampled = sampled
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.head = b""
        self.chunks: list[tuple[float, bytes]] = []
        self.received = 0
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        """Ask."""
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Keep what came and when."""
        if not self.answered.done():
            self.head += data
            if b"\r\n" in self.head:
                status = self.head.split(b"\r\n", 1)[0]
                if b" 200 " in status:
                    self.answered.set_result(None)
                else:
                    self.answered.set_exception(RuntimeError(self.head[:300].decode(errors="replace")))
            return
        self.received += len(data)
        if self.sampled:
            self.chunks.append((time.time(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        """The server ended it."""
        self.lost = True
        if not self.answered.done():
            self.answered.set_exception(exc or ConnectionError("closed before an answer"))


async def connect(order: dict[str, Any]) -> list[Watcher]:
    """All watchers, answered with 200."""
    slots = asyncio.Semaphore(_AT_ONCE)
    step = max(1, order["count"] // _SAMPLED)

    async def one(number: int) -> Watcher:
        token = order["tokens"][number % len(order["tokens"])]
        lines = [
            f"GET {order['path']} HTTP/1.1",
            f"Host: {order['host']}:{order['port']}",
            "Accept: text/event-stream",
            f"Authorization: token {token}",
            "",
            "",
        ]
        async with slots:
            watcher = Watcher("\r\n".join(lines).encode(), sampled=number % step == 0)
            await asyncio.get_running_loop().create_connection(lambda: watcher, order["host"], order["port"])
            await watcher.answered
        return watcher

    return list(await asyncio.gather(*(one(number) for number in range(order["count"]))))


def lags(watchers: list[Watcher], start: float, stop: float) -> dict[str, Any]:
    """Seconds from the printing to the arrival of each sampled line that was printed in the window."""
    found: list[float] = []
    for watcher in watchers:
        if not watcher.sampled:
            continue
        rest = b""
        for arrived, data in watcher.chunks:
            rest += data
            end = 0
            for match in _LINE.finditer(rest):
                end = match.end()
                if start <= (printed := float(match[1])) <= stop:
                    found.append(arrived - printed)
            rest = rest[end:][-200:] if end else rest[-4096:]
    return {
        "lags": found,
        "sampled": sum(watcher.sampled for watcher in watchers),
        "lost": sum(watcher.lost for watcher in watchers),
        "silent": sum(watcher.received == 0 for watcher in watchers),
        "bytes": sum(watcher.received for watcher in watchers),
    }


async def main() -> None:
    """Follow the orders on stdin."""
    loop = asyncio.get_running_loop()
    order = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    watchers = await connect(order)
    print("connected", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    start = time.time()
    for watcher in watchers:
        watcher.chunks.clear()
        watcher.received = 0
    await loop.run_in_executor(None, sys.stdin.readline)
    stop = time.time()
    await asyncio.sleep(order["patience"])  # what was printed in the window may still be under way
    print(json.dumps(lags(watchers, start, stop)), flush=True)
    for watcher in watchers:
        watcher.transport.abort()


if __name__ == "__main__":
    asyncio.run(main())
