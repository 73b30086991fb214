"""A private registry on loopback for tests: Debian's docker-registry, with TLS of its own and a password."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.hub import free_port
from tests.support.running import eventually

USER, PASSWORD = "launcher", "a password of tests"
_HASH = "launcher:$2b$04$Y457fp1d1sv4y3pUyHINPusf3coVl/jojTP3bwLgdalK666qfOybO"
_CONFIG = """
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {data}}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {certificate}, key: {key}}}}}
auth: {{htpasswd: {{realm: launcher, path: {passwords}}}}}
"""


@dataclass
class RunningRegistry:
    """A registry that answers at ``host``; ``certificate`` is its own authority."""

    directory: Path
    host: str
    certificate: Path

    def login(self, name: str, password: str = PASSWORD) -> Path:
        """A file as `podman login` makes it."""
        path = self.directory / name
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        path.write_text(json.dumps({"auths": {self.host: {"auth": auth}}}))
        return path

    def ask(self, path: str, method: str = "GET", data: bytes | None = None, content: str = "") -> tuple[int, bytes]:
        """Ask the registry itself, past any engine: status and body."""
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        headers = {"Authorization": f"Basic {auth}", "Accept": accept, **({"Content-Type": content} if content else {})}
        request = urllib.request.Request(f"https://{self.host}/v2/{path}", data, headers, method=method)
        context = ssl.create_default_context(cafile=self.certificate)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@contextlib.contextmanager
def running_registry(directory: Path) -> Iterator[RunningRegistry]:
    """A registry for the length of the block; skips the test when it is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (Debian: docker-registry)")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    passwords, config = directory / "passwords", directory / "config.yml"
    passwords.write_text(_HASH + "\n")
    places = {"data": directory / "data", "port": port, "certificate": certificate, "key": key}
    config.write_text(_CONFIG.format(passwords=passwords, **places))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        eventually(lambda: process.poll() is None and _listens(port), what="the registry")
        yield RunningRegistry(directory, f"127.0.0.1:{port}", certificate)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
