"""B9 to B12: the container runtime, beside stock repo2docker, plain ``podman run``, and the process runtime."""

from __future__ import annotations

import contextlib
import fcntl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TextIO

from benchmarks import repo2docker
from benchmarks.clicks import click_launcher
from benchmarks.observe import Hub, Person, Watch, kernel_answers
from benchmarks.repo2docker import Podman
from benchmarks.rounds import Contestant, interleave
from benchmarks.stage import NOTEBOOK, PEOPLE, SCIENCE, WATCHER_NAMES, Stage
from benchmarks.tables import Measurement
from launcher.engine.base_image import base_image_name
from tests.support.engine import SETTINGS, STATE_DIRECTORY, own_engine
from tests.support.git_server import commit
from tests.support.running import RunningLauncher, running_launcher

LAUNCHER, PROCESS, STOCK, PLAIN = "launcher", "launcher, processes", "repo2docker", "podman run"
_MEBIBYTE = 2**20
_HELD: list[TextIO] = []
_FILES = {"requirements.txt": SCIENCE, "index.ipynb": NOTEBOOK % 0}


def _engine() -> Podman:
    """The engine of the tests, with the base image that scripts/setup-tests made; no test stops it while we run."""
    lock = (STATE_DIRECTORY / "users.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    _HELD.append(lock)
    address = own_engine()
    if address.own is None:
        raise RuntimeError("the engine of the tests is not our own")
    return Podman(str(address.socket), address.own.variables())


@contextlib.contextmanager
def _launcher(stage: Stage, podman: Podman | None) -> Iterator[tuple[RunningLauncher, Hub]]:
    """A launcher with an empty state, on the container runtime when there is an engine."""
    with tempfile.TemporaryDirectory(prefix="benchmark-containers-") as name:
        config = Path(name) / "people.py"
        config.write_text(PEOPLE)
        arguments = [*stage.launcher_arguments, "--config", str(config)]
        if podman is not None:
            arguments += ["--runtime", "container"]
            with config.open("a") as file:
                file.write(f"c.LauncherContainers.engine = {podman.variables['DOCKER_HOST']!r}\n")
        with running_launcher(Path(name) / "state", *arguments, environment=stage.variables) as up:
            hub = Hub(up.url + "/", up.token)
            try:
                yield up, hub
            finally:
                hub.stop_everything()


def _click(hub: Hub, person: Person, spec: str) -> dict[str, float]:
    watch = Watch()
    url = click_launcher(hub, person, spec, watch)
    kernel_answers(url, person.token)
    watch.stamp("kernel answers")
    return {"session answers": watch.stamps["answers"], "kernel answers": watch.stamps["kernel answers"]}


def _repository(stage: Stage, name: str) -> tuple[Path, str]:
    """One repository for both: repo2docker finds a Dockerfile of its own beside it, in ``<name>-docker``."""
    docker = repo2docker.DOCKERFILE.format(base=base_image_name(SETTINGS), index=stage.index.url)
    stage.repository(f"{name}-docker", {**_FILES, "Dockerfile": docker})
    return stage.repository(name, _FILES)


def unseen_in_container(stage: Stage, repeats: int) -> Measurement:
    """B9: nothing but the base image is there; a kernel answers."""
    result = Measurement("B9", "container: unseen repository (numpy, pandas, matplotlib) until a kernel answers 1+1")
    podman = _engine()
    _, spec = _repository(stage, "b9")

    def ours(_turn: int) -> dict[str, float]:
        with _launcher(stage, podman) as (_, hub):
            person = hub.person(WATCHER_NAMES[0])
            hub.service("").raise_for_status()
            return _click(hub, person, spec)

    address = stage.git.url("b9-docker")
    stock: Contestant = lambda _turn: repo2docker.build_and_answer(podman, address, cached=False)  # noqa: E731
    interleave(result, {LAUNCHER: ours, STOCK: stock}, repeats, after=lambda: _forget(podman))
    result.notes += [
        "repo2docker builds with its Dockerfile build pack: pip, JupyterLab and the packages on the same base image.",
        "Its conda build packs download more than that; they are not here because not every machine reaches conda.",
        "Caches of wheels are empty; the launcher's hub runs, its base image holds the Jupyter server.",
    ]
    return result


def notebook_in_container(stage: Stage, repeats: int) -> Measurement:
    """B10: upstream changes a notebook; repo2docker has every layer but the last of the build before."""
    result = Measurement("B10", "container: notebook-only commit until a kernel answers 1+1")
    podman = _engine()
    path, spec = _repository(stage, "b10")
    docker = stage.git.directory / "b10-docker"
    repo2docker.build(podman, stage.git.url("b10-docker"), cached=True)
    with _launcher(stage, podman) as (_, hub):
        person = hub.person(WATCHER_NAMES[0])
        _click(hub, person, spec)

        def ours(turn: int) -> dict[str, float]:
            commit(path, {"index.ipynb": NOTEBOOK % (turn + 1)}, f"Round {turn}")
            return _click(hub, person, spec)

        def stock(turn: int) -> dict[str, float]:
            commit(docker, {"index.ipynb": NOTEBOOK % (turn + 1)}, f"Round {turn}")
            return repo2docker.build_and_answer(podman, stage.git.url("b10-docker"), cached=True)

        hub.stop_everything()
        interleave(result, {LAUNCHER: ours, STOCK: stock}, repeats, after=hub.stop_everything)
    _forget(podman)
    return result


def start_in_container(stage: Stage, repeats: int, bursts: int, people: int) -> Measurement:
    """B11: a stopped session, beside ``podman run`` of nothing and of a server, and the process runtime."""
    result = Measurement("B11", "container: click on a stopped session until it answers; podman run beside it")
    podman = _engine()
    base = base_image_name(SETTINGS)
    _, spec = stage.repository("b11", {"index.ipynb": NOTEBOOK % 0})

    def nothing(_turn: int) -> dict[str, float]:
        began = time.monotonic()
        podman("run", "--rm", "--network=none", base, "/bin/true")
        return {"a program that does nothing": time.monotonic() - began}

    def server(_turn: int) -> dict[str, float]:
        began = time.monotonic()
        with podman.server(base):
            return {"session answers": time.monotonic() - began}

    with _launcher(stage, podman) as (_, containers), _launcher(stage, None) as (_, processes):
        hubs = {LAUNCHER: containers, PROCESS: processes}
        crowd = {name: [hub.person(watcher) for watcher in WATCHER_NAMES[:people]] for name, hub in hubs.items()}
        for name, hub in hubs.items():
            for person in crowd[name]:
                _answers(hub, person, spec)
                hub.stop_everything()

        def stop() -> None:
            for hub in hubs.values():
                hub.stop_everything()

        def single(name: str) -> Contestant:
            return lambda turn: _answers(hubs[name], crowd[name][turn % people], spec)

        contestants = {LAUNCHER: single(LAUNCHER), PROCESS: single(PROCESS)}
        interleave(result, {**contestants, PLAIN: nothing, f"{PLAIN}, server": server}, repeats, after=stop)
        many = {name: _together(hubs[name], crowd[name], spec) for name in hubs}
        interleave(result, many, bursts, after=stop)
    result.notes += [
        "podman run, server: Jupyter Server of the base image in a container with the host's network, without a hub.",
        "At once: one sample is one burst of clicks; the last is when everybody has a session.",
    ]
    return result


def _answers(hub: Hub, person: Person, spec: str) -> dict[str, float]:
    watch = Watch()
    click_launcher(hub, person, spec, watch)
    return {"session answers": watch.stamps["answers"]}


def _together(hub: Hub, people: list[Person], spec: str) -> Contestant:
    def sample(_turn: int) -> dict[str, float]:
        start = Barrier(len(people))

        def one(person: Person) -> float:
            start.wait()
            return _answers(hub, person, spec)["session answers"]

        with ThreadPoolExecutor(len(people)) as pool:
            seconds = list(pool.map(one, people))
        return {
            f"{len(people)} at once, median": statistics.median(seconds),
            f"{len(people)} at once, last": max(seconds),
        }

    return sample


def bytes_per_environment(stage: Stage, repeats: int) -> Measurement:
    """B12: what one more environment adds to the disk: one package in it that the ones before do not have."""
    result = Measurement("B12", "container: disk that one more environment takes (pandas, and a small package)")
    quantity = "MiB for one more"
    result.units[quantity] = "MiB"
    podman = _engine()
    more = ["humanize", "jinja2", "pyyaml", "requests", "packaging"]
    docker = repo2docker.DOCKERFILE.format(base=base_image_name(SETTINGS), index=stage.index.url)

    with _launcher(stage, podman) as (up, _):

        def ours(turn: int) -> dict[str, float]:
            files = {"requirements.txt": f"pandas\n{more[turn % len(more)]}\n# {turn}\n"}
            _, spec = stage.repository(f"b12-{turn}", files)
            before = _taken() + _below(up.state)
            for event in up.stream(spec, build_only="true"):
                if event.get("phase") == "failed":
                    raise RuntimeError(str(event))
            return {quantity: (_taken() + _below(up.state) - before) / _MEBIBYTE}

        def stock(turn: int) -> dict[str, float]:
            files = {"requirements.txt": f"pandas\n{more[turn % len(more)]}\n# {turn}\n", "Dockerfile": docker}
            stage.repository(f"b12-docker-{turn}", files)
            before = _taken()
            repo2docker.build(podman, stage.git.url(f"b12-docker-{turn}"), cached=True)
            return {quantity: (_taken() - before) / _MEBIBYTE}

        ours(len(more) * 1000)  # fills the cache of wheels
        interleave(result, {LAUNCHER: ours, STOCK: stock}, repeats)
    _forget(podman)
    result.notes.append("Of the launcher: its state directory (wheels, builds) and the engine's storage together.")
    return result


def _taken() -> int:
    """Bytes in the engine's storage."""
    return _below(STATE_DIRECTORY / "engine" / "storage")


def _below(directory: Path) -> int:
    """Bytes on disk below a directory, everything once."""
    done = subprocess.run(["du", "-s", "-B1", directory], check=False, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(f"du: {done.stderr}")
    return int(done.stdout.split()[0])


def _forget(podman: Podman) -> None:
    """Remove what measurements left in the engine; the base image stays."""
    listed = podman("images", "--format", "{{.ID}} {{.Repository}}")
    for identifier, repository in (line.split() for line in listed.splitlines()):
        if repository.startswith(("localhost/benchmark/", "<none>")):
            with contextlib.suppress(subprocess.CalledProcessError):  # below another one, and goes with it
                podman("rmi", identifier)
