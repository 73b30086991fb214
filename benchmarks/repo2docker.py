"""The peer of container measurements: stock repo2docker from PyPI, on the same engine and the same base image.

Its own build packs download conda from places that not every machine reaches, so its Dockerfile build pack does the
work: the repository brings a Dockerfile that installs the same packages from the same index.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from benchmarks.observe import Watch, kernel_answers, wait_for_200
from tests.support.hub import free_port
from tests.support.running import ROOT

PROGRAM = ROOT / ".cache" / "benchmark-repo2docker" / "bin" / "jupyter-repo2docker"
_TOKEN = "benchmark"  # the server listens on loopback for a second
_SHIM = '#!/bin/sh\n[ "$1 $2" = "buildx version" ] && exit 0\nexec {podman} "$@"\n'
"""Podman before 4.4 does not know ``buildx version``, the first thing repo2docker asks for."""

_CONFIG = """\
from repo2docker import contentproviders
c.Repo2Docker.content_providers = [contentproviders.Local, contentproviders.Git]
"""
"""Its other providers ask the internet for lists before they look at an address."""

DOCKERFILE = """\
FROM {base}
USER root
ENV PIP_INDEX_URL={index} PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /srv/conda
COPY requirements.txt /tmp/requirements.txt
RUN /srv/conda/bin/pip install --no-cache-dir jupyterlab notebook -r /tmp/requirements.txt
COPY --chown=1000:1000 . /home/jovyan
USER 1000
WORKDIR /home/jovyan
ENV PATH=/srv/conda/bin:/usr/local/bin:/usr/bin:/bin HOME=/home/jovyan
"""


class Podman:
    """The command line of the engine that the launcher uses, too."""

    def __init__(self, socket: str, variables: dict[str, str]) -> None:
        self._socket = socket
        self._variables = variables
        self._directory = tempfile.TemporaryDirectory(prefix="benchmark-repo2docker-")

    @cached_property
    def config(self) -> Path:
        """Settings of repo2docker, in a directory of its own."""
        path = Path(self._directory.name) / "config.py"
        path.write_text(_CONFIG)
        return path

    @cached_property
    def variables(self) -> dict[str, str]:
        """What makes podman, and repo2docker, use this engine."""
        shim = self.config.with_name("podman")
        podman = subprocess.run(["which", "podman"], check=True, capture_output=True, text=True).stdout.strip()
        shim.write_text(_SHIM.format(podman=podman))
        shim.chmod(0o755)
        path = os.pathsep.join([str(shim.parent), os.environ["PATH"]])
        # repo2docker takes the word podman in this variable for podman's command line.
        return {**self._variables, "PATH": path, "DOCKER_HOST": f"unix://{self._socket}"}

    def __call__(self, *arguments: str) -> str:
        """What a podman command says."""
        command = ["podman", *arguments]
        return subprocess.run(command, check=True, env=self.variables, capture_output=True, text=True).stdout.strip()

    @contextlib.contextmanager
    def server(self, image: str) -> Iterator[str]:
        """A Jupyter server in a container of an image, answering: its URL."""
        port = free_port()
        command = ["jupyter", "server", "--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={_TOKEN}"]
        container = self("run", "--detach", "--rm", "--network=host", image, *command, "--ServerApp.open_browser=False")
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_for_200(f"{url}api/status", {"Authorization": f"token {_TOKEN}"})
            yield url
        finally:
            self("rm", "--force", "--time=0", container)


def build(podman: Podman, repository: str, *, cached: bool) -> str:
    """Build a repository with repo2docker: the image's name. ``cached``: with the layers of earlier builds."""
    image = f"localhost/benchmark/{uuid.uuid4().hex}"
    command = [PROGRAM, "--no-run", "--user-id=1000", "--user-name=jovyan", f"--image-name={image}"]
    command.append(f"--config={podman.config}")
    options = ["--network=host", *([] if cached else ["--no-cache"])]
    command += [f"--DockerEngine.extra_buildx_build_args={option}" for option in options]
    done = subprocess.run([*command, repository], check=False, env=podman.variables, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"repo2docker: {(done.stdout + done.stderr)[-2000:]}")
    return image


def build_and_answer(podman: Podman, repository: str, *, cached: bool) -> dict[str, float]:
    """From a repository's address to a kernel that answers."""
    watch = Watch()
    image = build(podman, repository, cached=cached)
    watch.stamp("environment built")
    with podman.server(image) as url:
        watch.stamp("session answers")
        kernel_answers(url, _TOKEN)
        watch.stamp("kernel answers")
    return watch.stamps
