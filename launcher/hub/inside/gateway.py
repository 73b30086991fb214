"""Dask-Gateway's REST API as this session may use it: with the session's token, about this person's clusters."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Mapping
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

ANSWER_SECONDS = 40  # the gateway itself holds a waiting question for 20 seconds
START_SECONDS = 90
_AT_ONCE = 30
_LARGEST_ANSWER = 4 * 1024 * 1024
_UNREACHABLE = "Dask does not answer at the moment. Clusters that run go on running; try again in a minute."


class GatewayProblem(Exception):
    """A request that the gateway refused or could not serve. Its text is a sentence for the person.

    status: of the HTTP answer that tells about it.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Gateway:
    """One gateway. Every method raises GatewayProblem."""

    def __init__(self, address: str, *, token: str, user: str, public_path: str, proxy_address: str) -> None:
        self._address = address.rstrip("/")
        self._token = token
        self._user = user
        self.public_path = public_path
        self._proxy_address = proxy_address.rstrip("/")
        # A client of our own: waiting for clusters must not use up the connections that ask the Hub who somebody is.
        self._client: AsyncHTTPClient | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Gateway:
        """The gateway that the session's variables name; KeyError when they name none."""
        address = environment["DASK_GATEWAY__ADDRESS"]
        path = environment.get("DASK_GATEWAY__PUBLIC_ADDRESS") or address
        return cls(
            address,
            token=environment.get("JUPYTERHUB_API_TOKEN", ""),
            user=environment.get("JUPYTERHUB_USER", ""),
            public_path=urlsplit(path).path.rstrip("/"),
            proxy_address=environment.get("DASK_GATEWAY__PROXY_ADDRESS", ""),
        )

    def scheduler_address(self, cluster: str) -> str:
        """What clients in the session connect to."""
        return f"{self._proxy_address}/{cluster}"

    async def clusters(self) -> list[dict[str, Any]]:
        """The person's clusters, the newest first, those that ended a short time ago too."""
        answer = await self._ask("GET", "/api/v1/launcher/clusters")
        return [cluster for cluster in answer["clusters"] if cluster["user"] == self._user]

    async def create(self) -> str:
        """Ask for a cluster as the session's `Gateway().new_cluster()` does without arguments; its name."""
        return str((await self._ask("POST", "/api/v1/clusters/", {}))["name"])

    async def wait_until_it_runs(self, cluster: str) -> None:
        """Return when the cluster runs. The problem is why it ended instead."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            status = (await self._ask("GET", f"/api/v1/clusters/{cluster}?wait"))["status"]
            if status == "RUNNING":
                return
            if status != "PENDING":
                reasons = [one["reason"] for one in await self.clusters() if one["name"] == cluster]
                raise GatewayProblem(409, "".join(reasons) or "The cluster ended before it was ready.")
        raise GatewayProblem(
            504,
            f"The cluster has not started within {START_SECONDS} seconds. It stays in the list: wait, or shut it down.",
        )

    async def scale(self, cluster: str, count: int) -> None:
        """Ask for a number of workers."""
        await self._ask("POST", f"/api/v1/clusters/{cluster}/scale", {"count": count})

    async def adapt(self, cluster: str, minimum: int, maximum: int) -> None:
        """Let the number of workers follow the work."""
        body = {"minimum": minimum, "maximum": maximum, "active": True}
        await self._ask("POST", f"/api/v1/clusters/{cluster}/adapt", body)

    async def stop(self, cluster: str) -> None:
        """End a cluster."""
        await self._ask("DELETE", f"/api/v1/launcher/clusters/{cluster}")

    async def plots(self, cluster: str) -> dict[str, str] | None:
        """The plots of a cluster's dashboard, title -> path; None when it has none that answers."""
        try:
            answer = await self._ask("GET", f"/clusters/{cluster}/individual-plots.json")
        except GatewayProblem:
            return None
        return answer if isinstance(answer, dict) else None

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON of an answer, None when it is empty."""
        request = HTTPRequest(
            self._address + path,
            method=method,
            headers={"Authorization": f"token {self._token}", "Content-Type": "application/json"},
            body=None if body is None else json.dumps(body),
            request_timeout=ANSWER_SECONDS,
            follow_redirects=False,  # nobody else gets the token
        )
        try:
            answer = await self._http().fetch(request, raise_error=False)
            content = json.loads(answer.body) if answer.body else None
        except (OSError, HTTPClientError, ValueError) as error:  # not there, not in time, not JSON
            raise GatewayProblem(503, _UNREACHABLE) from error
        if answer.code < 300:  # noqa: PLR2004 - every code of success
            return content
        sentence = content.get("error") if isinstance(content, dict) else None
        if answer.code >= 500 or not sentence:  # noqa: PLR2004 - a fault of the gateway
            raise GatewayProblem(503, str(sentence or _UNREACHABLE))
        raise GatewayProblem(403 if answer.code == 401 else answer.code, str(sentence))  # noqa: PLR2004 - "who are you"

    def _http(self) -> AsyncHTTPClient:
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(
                force_instance=True, max_clients=_AT_ONCE, max_body_size=_LARGEST_ANSWER
            )
        return self._client
