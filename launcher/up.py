"""``launcher up``: a JupyterHub with the launcher on, on this machine, from nothing."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

from launcher.check import require_machine
from launcher.config import Settings
from launcher.config_files import read_settings_of
from launcher.dask.proxy import stop_proxy
from launcher.errors import ConfigurationInvalid, OperatorError, StateUnusable
from launcher.hub.embedded import ADDRESS, HUB_DATABASE, UP_VARIABLE
from launcher.hub.link_login import LOGIN_PATH
from launcher.ports import free_port, is_free, kept_ports
from launcher.runtimes import make_clusters, make_ready
from launcher.store import StateLock, Store
from launcher.supervise import end_with_parent
from launcher.tickets import kept_secret

USER = "admin"
EXAMPLES = Path(__file__).parent / "examples"
_START_SECONDS = 120
_STOP_SECONDS = 30
_LOG_TAIL = 4000


@dataclass(frozen=True)
class UpOptions:
    """The command line of ``launcher up``."""

    directories: tuple[Path, ...]
    port: int
    state: Path
    config: Path | None
    runtime: str
    dask: bool
    trust: tuple[str, ...]
    allow_hosts: tuple[str, ...]
    json: bool


def up(options: UpOptions) -> int:
    """Start the hub, say when it is ready, wait for Ctrl-C, stop every child. Returns the exit status.

    Raises OperatorError when something is missing or the port is taken; nothing runs then.
    """
    state = _prepare_state(options.state)
    _require_usable(state)
    port = _port(options.port)
    facts = _facts(options, state, port)
    settings = read_settings_of(options.config, **facts["launcher"])
    require_machine(settings)
    end_runtime = make_ready(settings, _say)
    log = state / "logs" / "hub.log"
    (state / ADDRESS).unlink(missing_ok=True)
    process = _start_hub(facts, log)
    stopped: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        stopped.append(number)
        _ask_to_stop(process)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        if not _wait_until_ready(process, facts) and not stopped:
            raise _reason(log)
        if not stopped:
            _announce(options, facts, log)
        process.wait()
    finally:
        _stop(process)
        if options.dask and stopped:  # clusters outlive a hub that was killed, like the sessions they belong to
            asyncio.run(_end_clusters(settings))
        end_runtime()
    return 0 if stopped else 1


def _say(text: str, stream: TextIO = sys.stderr) -> None:
    print(text, file=stream, flush=True)


def _prepare_state(directory: Path) -> Path:
    """The state directory, made when new. Raises StateUnusable when we cannot write there."""
    state = directory.expanduser().absolute()
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for private in ("secrets", "logs"):
            (state / private).mkdir(exist_ok=True, mode=0o700)
        # Made here, because JupyterHub would let everybody on the machine read it.
        (state / HUB_DATABASE).touch(mode=0o600)
        probe = state / ".writable"
        probe.write_bytes(b"1")
        probe.unlink()
    except OSError as error:
        raise StateUnusable(
            f"The state directory {directory} cannot be written: {error.strerror}.",
            hint="Choose another one with --state, or free some space.",
        ) from error
    return state


def _require_usable(state: Path) -> None:
    """Open and close what the service will open, so that a refusal is said here and not in a log.

    Raises StateUnusable: another launcher runs on this state, a newer one wrote it, it is damaged or full.
    """
    with StateLock(state):
        Store.open(f"sqlite:///{state / 'launcher.sqlite'}").close()


def _port(wanted: int) -> int:
    """The hub's port. Raises ConfigurationInvalid when it is taken or not a port."""
    if wanted == 0:
        return free_port()
    if not is_free(wanted):
        raise ConfigurationInvalid(
            f"Port {wanted} cannot be used.", hint="Choose another with --port, or --port 0 for a free one."
        )
    return wanted


def _directories(options: UpOptions) -> list[str]:
    """The local repositories: the examples and what the command line names, absolute."""
    names = ["first-click", *(["zarr-with-dask"] if options.dask else [])]
    found = [str(EXAMPLES / name) for name in names]
    for directory in options.directories:
        if not directory.is_dir():
            raise ConfigurationInvalid(
                f"{directory} is not a directory.", hint="Name a directory with a repository in it."
            )
        found.append(str(directory.resolve()))
    return found


def _facts(options: UpOptions, state: Path, port: int) -> dict[str, Any]:
    """All that the hub's configuration file must know, as JSON values."""
    if options.config is not None and not options.config.is_file():
        raise ConfigurationInvalid(f"{options.config} is not a file.", hint="Give --config a jupyterhub_config.py.")
    url = f"http://127.0.0.1:{port}"
    server = Path(os.environ.get("LAUNCHER_SERVER_ENVIRONMENT") or state / "server-environment")
    return {
        "state": str(state),
        "bind_url": url,
        "public_url": url,
        **kept_ports(state / "ports.json", ("hub_port", "proxy_api_port")),
        "proxy_command": [shutil.which("configurable-http-proxy")],
        "user": USER,
        "login_key": kept_secret(state / "secrets" / "login-key"),
        "api_token": kept_secret(state / "secrets" / "api-token"),
        "config": str(options.config.resolve()) if options.config else "",
        "launcher": {
            "runtime": options.runtime,
            "state_directory": str(state),
            "server_environment": str(server),
            "homes_directory": str(state / "homes"),
            "trusted_repositories": ["local/*", *options.trust],
            "allow_hosts": list(options.allow_hosts),
            "local_directories": _directories(options),
            "dask": options.dask,
        },
    }


def _start_hub(facts: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
    from launcher.hub import embedded

    command = [sys.executable, "-m", "jupyterhub", "--config", embedded.__file__]
    environment = {**os.environ, UP_VARIABLE: json.dumps(facts), "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - one thread at this point
        )


def _addresses(facts: dict[str, Any]) -> tuple[str, str]:
    """Where hub and service are once the configuration was read, with a slash at the end. OSError before that."""
    where = json.loads((Path(str(facts["state"])) / ADDRESS).read_bytes())
    hub = f"{facts['public_url']}{where['base_url'].rstrip('/')}/"
    return hub, f"{hub}services/{where['service_name']}/"


def _wait_until_ready(process: subprocess.Popen[bytes], facts: dict[str, Any]) -> bool:
    """Wait for hub, proxy and launcher together; False when the hub ends or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            _, service = _addresses(facts)
            with urllib.request.urlopen(f"{service}health", timeout=5) as answer:  # noqa: S310 - loopback
                if answer.status == 200:  # noqa: PLR2004
                    return True
        except (OSError, ValueError):  # nobody answers yet, or the hub has not said where it will
            time.sleep(0.1)
    return False


def _reason(log: Path) -> OperatorError:
    """Why the hub did not start: our own sentence when there is one, else the hub's last words."""
    text = log.read_text(errors="replace")
    ours = re.findall(r"^launcher\.errors\.\w+: (.+)$", text, re.MULTILINE)
    if ours:
        return ConfigurationInvalid(
            ours[-1], hint=f"`launcher check` looks at a configuration; the hub's log is {log}."
        )
    _say(text[-_LOG_TAIL:])
    return OperatorError("The hub did not start.", hint="Its own last words are above.")


def _announce(options: UpOptions, facts: dict[str, Any], log: Path) -> None:
    """Tell people, or scripts, how to come in."""
    hub, service = _addresses(facts)
    url, user = hub.rstrip("/"), facts["user"]
    if options.json:
        _say(json.dumps({"url": url, "user": user, "token": facts["api_token"]}), sys.stdout)
    login = f"{url}/hub/{LOGIN_PATH}?key={facts['login_key']}&next={quote(urlsplit(url).path + '/hub/home', safe='')}"
    _say(f"\nThe hub is ready. Log in as {user} with this link:\n\n  {login}\n")
    launcher = facts["launcher"]
    directories = launcher["local_directories"] if isinstance(launcher, dict) else []
    for directory in directories:
        spec = f"local/{quote(str(directory), safe='')}/worktree"
        _say(f"  Launch {Path(directory).name}: {service}v2/{spec}")
    _say(f"\nThe hub's log is {log}. Ctrl-C stops everything; files and environments stay.")


async def _end_clusters(settings: Settings) -> None:
    """End what outlives a gateway on purpose: its clusters belong to sessions, and those have ended."""
    clusters = make_clusters(settings)
    await clusters.setup(lambda _: None)
    await asyncio.gather(*(clusters.stop_cluster(name) for name in await clusters.clusters()))
    await clusters.close()
    stop_proxy(settings.state / "dask")


def _ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the hub, which stops proxy, service and sessions; what does not listen is killed with its group."""
    _ask_to_stop(process)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
