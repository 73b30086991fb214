"""A real scheduler with its dashboard, and one worker, for the dashboards' guard; prints its port. Run as a program."""

from __future__ import annotations

import asyncio
import sys

from distributed import Client, Scheduler, Worker
from tornado.web import HTTPError, RequestHandler


class Question(RequestHandler):
    """What a scheduler of ours answers about its dashboard."""

    def get(self) -> None:
        self.finish({"ready": True})


async def main(token: str) -> None:
    local = {"host": "127.0.0.1", "protocol": "tcp"}
    async with Scheduler(**local, port=0, dashboard_address="127.0.0.1:0", dashboard=True) as scheduler:
        scheduler.http_application.add_handlers(r".*", [(r"/launcher/dashboard", Question)])
        guard_requests(scheduler.http_application, token)
        worker = Worker(scheduler.address, host="127.0.0.1", dashboard=False, nthreads=1)
        async with worker, Client(scheduler.address, asynchronous=True) as client:
            await client.submit(lambda number: number + 1, 1, key="a/task with: signs")
            sys.stdout.write(f"{scheduler.http_server.port}\n")
            sys.stdout.flush()
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def guard_requests(application, token: str) -> None:
    """Refuse every request without the cluster's token."""
    inner = application.find_handler

    def find_handler(request, **options):
        if request.headers.get("Authorization") != f"token {token}":
            raise HTTPError(403)
        return inner(request, **options)

    application.find_handler = find_handler


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
