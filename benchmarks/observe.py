"""The outside observer: what a client sees of a server, a kernel, a hub and a family of processes. Trusts no log."""

from __future__ import annotations

import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import requests
import websocket


class Watch:
    """A stop watch: ``stamp`` keeps the seconds since it was made, once for each name."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.stamps: dict[str, float] = {}

    def stamp(self, name: str) -> None:
        """Keep the time."""
        self.stamps[name] = time.monotonic() - self._began


def wait_for_200(url: str, headers: dict[str, str], *, seconds: float = 120) -> None:
    """Ask every 10 ms until the answer is 200: for servers that nobody announces. TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if requests.get(url, headers=headers, timeout=30).status_code == requests.codes.ok:
                return
        except requests.ConnectionError:
            pass  # nobody listens yet: that is what we wait for
        time.sleep(0.01)
    raise TimeoutError(f"no 200 within {seconds} s")


def kernel_answers(url: str, token: str, *, seconds: float = 120) -> str:
    """Start a default kernel on a Jupyter server, run ``1+1``, return at its execute_reply; gives the kernel's id."""
    headers = {"Authorization": f"token {token}"}
    made = requests.post(f"{url}api/kernels", headers=headers, json={}, timeout=seconds)
    made.raise_for_status()
    kernel = str(made.json()["id"])
    address = f"ws{url.removeprefix('http')}api/kernels/{kernel}/channels"
    channel = websocket.create_connection(address, header=headers, timeout=seconds)
    message = uuid.uuid4().hex
    header = {"msg_id": message, "msg_type": "execute_request", "session": uuid.uuid4().hex, "username": ""}
    content = {"code": "1+1", "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    request = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "content": content}
    try:
        channel.send(json.dumps({**request, "channel": "shell"}))
        while True:
            answer = json.loads(channel.recv())
            if answer["msg_type"] == "execute_reply" and answer["parent_header"].get("msg_id") == message:
                if answer["content"]["status"] != "ok":
                    raise RuntimeError(f"1+1 failed: {answer['content'].get('evalue')}")
                return kernel
    finally:
        channel.close()


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process and everything below it: shared pages are counted once, by shares."""
    total = 0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        try:
            with Path(f"/proc/{process.pid}/smaps_rollup").open() as lines:
                total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # it ended while we looked
    return total


def cpu_seconds(pid: int) -> float:
    """CPU time of one process so far, user and system."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@dataclass
class Person:
    """A person of a hub: a browser with the hub's cookies, and an API token for what browsers do by websocket."""

    name: str
    token: str
    browser: requests.Session = field(repr=False)


@dataclass
class Hub:
    """A running hub with DummyAuthenticator, seen from outside. ``url`` ends with a slash."""

    url: str
    admin_token: str

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """The Hub's API as an administrator."""
        headers = {"Authorization": f"token {self.admin_token}"}
        return requests.request(method, f"{self.url}hub/api{path}", headers=headers, timeout=120, **options)

    def service(self, path: str, **options: Any) -> requests.Response:
        """The launcher's own API as an administrator."""
        headers = {"Authorization": f"token {self.admin_token}"}
        return requests.get(f"{self.url}services/binder/{path}", headers=headers, timeout=120, **options)

    def person(self, name: str) -> Person:
        """A person who is logged in."""
        self.api("POST", f"/users/{name}")
        made = self.api("POST", f"/users/{name}/tokens", json={"note": "benchmark"})
        made.raise_for_status()
        browser = requests.Session()
        browser.get(f"{self.url}hub/login", timeout=60).raise_for_status()
        form = {"username": name, "password": "any", "_xsrf": self.xsrf(browser)}
        browser.post(f"{self.url}hub/login", data=form, allow_redirects=False, timeout=60).raise_for_status()
        return Person(name, str(made.json()["token"]), browser)

    def xsrf(self, browser: requests.Session) -> str:
        """The XSRF cookie of the Hub's own pages."""
        return next(str(cookie.value) for cookie in browser.cookies if cookie.name == "_xsrf" and "hub" in cookie.path)

    def servers(self, name: str) -> dict[str, Any]:
        """A person's running servers, with the spawner's state."""
        return dict(self.api("GET", f"/users/{name}").json()["servers"])

    def _stop(self, name: str, server: dict[str, Any]) -> None:
        if not server["pending"]:
            end = f"servers/{server['name']}" if server["name"] else "server"
            self.api("DELETE", f"/users/{name}/{end}")

    def stop_everything(self) -> None:
        """Stop every session of everybody and wait until the hub knows of none."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            users = self.api("GET", "/users?state=active").json()
            busy = [(user["name"], server) for user in users for server in user["servers"].values()]
            if not busy:
                return
            with ThreadPoolExecutor(10) as pool:
                list(pool.map(self._stop, *zip(*busy, strict=True)))
            time.sleep(0.05)
        raise TimeoutError("sessions did not stop")


def events(answer: requests.Response) -> Any:
    """The JSON of each event of a stream."""
    for line in answer.iter_lines(decode_unicode=True):
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def page_config(html: str) -> dict[str, Any]:
    """What the launcher's progress page tells its script."""
    found = re.search(r'id="data-launch">(\{.*?\})</script>', html, re.DOTALL)
    if found is None:
        raise RuntimeError(f"not a progress page: {html[:300]}")
    return dict(json.loads(found[1]))
