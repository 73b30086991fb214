"""A real JupyterHub with a real proxy for tests, on 127.0.0.1, in a directory of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

_REPOSITORY = Path(__file__).resolve().parents[2]
_START_SECONDS = 120
_ADMIN_TOKEN = "test-admin-token-0123456789abcdef"

_CONFIG = """
c.JupyterHub.bind_url = {bind_url!r}
c.JupyterHub.hub_bind_url = {hub_bind_url!r}
c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "cookie_secret"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = {proxy_api_url!r}
c.JupyterHub.services = [{{"name": "test-admin", "api_token": {admin_token!r}}}]
c.JupyterHub.load_roles = [{{"name": "test-admin-role", "services": ["test-admin"],
                            "scopes": ["admin:users", "tokens", "admin:servers", "groups", "admin:groups"]}}]
{extra}
"""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def find_proxy() -> str | None:
    """The configurable-http-proxy of this checkout or of PATH; None when there is none."""
    ours = _REPOSITORY / ".tools" / "node_modules" / ".bin" / "configurable-http-proxy"
    return str(ours) if ours.exists() else shutil.which("configurable-http-proxy")


class RunningHub:
    """JupyterHub as a subprocess, with DummyAuthenticator (any password), as a context manager.

    ``config_text`` is appended to the configuration: append to ``c.JupyterHub.services`` and ``load_roles``, do not
    replace them. Services with a ``url`` must listen before the hub starts: it waits a minute for them. ``port`` 0
    takes a free one. ``python`` runs the hub: another virtual environment, another version.
    """

    def __init__(
        self, config_text: str = "", *, port: int = 0, base_url: str = "/", python: str = sys.executable
    ) -> None:
        self.port = port or free_port()
        self.hub_port = free_port()
        self.base_url = base_url
        self.url = f"http://127.0.0.1:{self.port}{base_url}"
        self.hub_api_url = f"http://127.0.0.1:{self.hub_port}{base_url}hub/api"
        self._config_text = config_text
        self._python = python
        self._directory = Path(tempfile.mkdtemp(prefix="hub-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def log(self) -> str:
        """What the hub has said."""
        return (self._directory / "hub.log").read_text(errors="replace")

    def start(self) -> None:
        """Start and wait until the hub answers through its proxy."""
        proxy = find_proxy()
        if proxy is None:
            raise RuntimeError("configurable-http-proxy is not installed in .tools or on PATH")
        (self._directory / "config.py").write_text(
            _CONFIG.format(
                bind_url=self.url,
                hub_bind_url=f"http://127.0.0.1:{self.hub_port}",
                proxy=proxy,
                proxy_api_url=f"http://127.0.0.1:{free_port()}",
                admin_token=_ADMIN_TOKEN,
                extra=self._config_text,
            )
        )
        with (self._directory / "hub.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "jupyterhub", "-f", "config.py"],
                cwd=self._directory,
                env=_clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"JupyterHub ended at start:\n{self.log[-4000:]}")
            try:
                if requests.get(f"{self.url}hub/api/", timeout=2).status_code == 200:
                    return
            except (requests.ConnectionError, requests.Timeout):
                pass  # not yet
            time.sleep(0.05)  # between two looks at an observable, until the deadline
        raise RuntimeError(f"JupyterHub did not answer in {_START_SECONDS} s:\n{self.log[-4000:]}")

    def stop(self) -> None:
        """End the hub and, with it, its proxy: by the process group that we made."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Ask the Hub's API as an administrator."""
        headers = {"Authorization": f"token {_ADMIN_TOKEN}"}
        return requests.request(method, f"{self.url}hub/api{path}", headers=headers, timeout=30, **options)

    def token_for(self, user: str, scopes: list[str] | None = None) -> str:
        """A new API token of the user, who is made when missing; ``scopes`` None: all that the user may do."""
        created = self.api("POST", f"/users/{user}")
        assert created.status_code in {201, 409}, created.text
        body: dict[str, Any] = {"note": "test"} if scopes is None else {"note": "test", "scopes": scopes}
        answer = self.api("POST", f"/users/{user}/tokens", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def login_session(self, user: str) -> requests.Session:
        """A session with the cookies of a user who logged in on the Hub's login page."""
        session = requests.Session()
        login = f"{self.url}hub/login"
        session.get(login, timeout=30).raise_for_status()
        xsrf = next(cookie.value for cookie in session.cookies if cookie.name == "_xsrf")
        answer = session.post(
            login,
            data={"username": user, "password": "any", "_xsrf": xsrf},
            allow_redirects=False,
            timeout=30,
        )
        assert answer.status_code == 302, answer.text
        return session


def _clean_environment() -> dict[str, str]:
    """Our environment without what another hub may have put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTERHUB_", "CONFIGPROXY_"))}
