"""``launcher check``: what is missing on this machine or in a configuration, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from launcher.config import Settings
from launcher.config_files import load_configuration, read_settings, read_settings_of
from launcher.errors import LauncherError, OperatorError
from launcher.findings import Finding
from launcher.runtimes import runtime_findings, runtime_needs
from launcher.translations import translation_findings

_OLDEST_GIT = (2, 31)


def _git() -> Finding:
    hint = f"Install git {'.'.join(map(str, _OLDEST_GIT))} or newer with your distribution's package manager."
    program = shutil.which("git")
    if program is None:
        return Finding(good=False, what="git", hint=hint)
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = words[2] if len(words) > 2 else "0"  # noqa: PLR2004
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return Finding(good=numbers >= _OLDEST_GIT, what=f"git {version}", hint=hint)


def _proxy() -> Finding:
    found = shutil.which("configurable-http-proxy") is not None
    hint = "Install it with `npm install configurable-http-proxy` and put it on PATH; `scripts/up` does both."
    return Finding(good=found, what="configurable-http-proxy", hint=hint)


def _dask() -> Finding:
    good = importlib.util.find_spec("dask_gateway_server") is not None
    hint = "Install it into the hub's Python with `pip install 'jupyterhub-launcher[dask]'`, or switch Dask off."
    return Finding(good=good, what="dask-gateway-server", hint=hint)


def machine() -> Iterator[Finding]:
    """What every runtime needs of a machine."""
    yield Finding(good=sys.version_info >= (3, 11), what=f"Python {sys.version.split()[0]}", hint="Use 3.11 or newer.")
    probes: tuple[Callable[[], Finding], ...] = (_git, _proxy)
    for probe in probes:
        yield probe()


def require_machine(settings: Settings) -> None:
    """Raise OperatorError naming the first thing that is missing on this machine for a hub with these settings.

    What the launcher makes or starts by itself does not count.
    """
    for finding in (*machine(), *runtime_needs(settings), *([_dask()] if settings.dask else [])):
        if not finding.good:
            raise OperatorError(f"Missing on this machine: {finding.what}.", hint=finding.hint)


def _state(directory: Path) -> Finding:
    state = directory.expanduser()
    existing = next(path for path in (state, *state.absolute().parents) if os.path.lexists(path))
    good = os.access(existing, os.W_OK | os.X_OK) and os.path.isdir(existing)  # noqa: PTH112 - says no instead of raising
    return Finding(
        good=good, what=f"state directory {directory}", hint="Choose one that you may write to, with --state."
    )


def _idle_sessions(settings: Settings) -> Finding:
    """What ends them: something to know, never something missing."""
    if not settings.cullers:
        return Finding(good=True, what="idle sessions run until somebody stops them")
    seconds = [culler.idle_seconds for culler in settings.cullers]
    ends = " or ".join("as its own settings say" if one is None else f"after {one:.0f} seconds" for one in seconds)
    whose = "c.Launcher.cull_idle_after_seconds" if settings.cull_idle_after_seconds else "the hub's own culler"
    return Finding(good=True, what=f"idle sessions are ended by {whose}, {ends}")


def _configuration(path: Path) -> Iterator[Finding]:
    """Load a hub's configuration as the hub does, and look at what the launcher made of it."""
    try:
        config = load_configuration(path)
        settings = read_settings(config)
    except LauncherError as error:
        yield Finding(good=False, what=error.message.rstrip("."), hint=error.hint)
        return
    enabled: Settings | None = getattr(config.JupyterHub.get("spawner_class"), "launch_settings", None)
    hint = "Call `launcher.enable(c)` last, after spawner_class is set."
    yield Finding(good=enabled is not None, what="launcher.enable(c) is the last word on the spawner", hint=hint)
    if enabled is not None:
        yield _idle_sessions(enabled)
    if settings.dask is not None:
        yield _dask()
    yield from runtime_findings(settings)
    yield from translation_findings(settings.translations_directory)
    address = settings.public_url or config.JupyterHub.get("public_url")
    hint = "Set c.JupyterHub.public_url, so that links and badges do not depend on what a browser claims."
    yield Finding(good=bool(address), what="public address", hint=hint)


def check(*, config: Path | None, state: Path, runtime: str) -> int:
    """Print one line for each thing looked at; returns 0 when all is there, else 1.

    ``runtime``: which one is looked at without a configuration.
    """
    findings = [*machine(), _state(state)]
    if config is not None:
        findings += _configuration(config)
    else:
        findings += runtime_needs(read_settings_of(None, runtime=runtime, state_directory=str(state)))
    for finding in findings:
        print(finding)  # noqa: T201 - this is a report for a terminal
    return 0 if all(finding.good for finding in findings) else 1
