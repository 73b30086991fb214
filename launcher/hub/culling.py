"""How idle sessions are ended on a hub: reading an operator's jupyterhub-idle-culler, or adding one.

Facts: github.com/jupyterhub/jupyterhub-idle-culler, version 2.0, its README and its options.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from launcher.policy.culling import Culler

SERVICE = "launcher-idle-culler"
_SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
_PROGRAM = re.compile(r"jupyterhub[_-]idle[_-]culler|cull_idle_servers")
_NAME = re.compile(r"idle[_-]?cull|cull[_-]?idle")
_OPTION = re.compile(r"--?(?:IdleCuller\.)?([A-Za-z][A-Za-z_-]*)(?:=(.*))?", re.DOTALL)
_NO = frozenset({"false", "0"})
_IDLE_SECONDS = "600"  # what a culler does that is told nothing
_OWN_FILE = "idle_culler_config.py"  # read by it when it is there
_LOOKS = 10  # times in the time that a session may be idle
_SELDOMEST_SECONDS, _OFTENEST_SECONDS = 300, 5


def cullers_of(services: Iterable[Mapping[str, Any]]) -> tuple[Culler, ...]:
    """The cullers among the services of a hub, ours left out."""
    found = (_culler(service) for service in services if service.get("name") != SERVICE)
    return tuple(culler for culler in found if culler is not None)


def own_culler(seconds: int) -> Culler:
    """The culler that `culler_service` is."""
    return Culler(idle_seconds=float(seconds))


def culler_service(seconds: int) -> dict[str, Any]:
    """A culler as a service of the Hub: ends sessions that were idle for so long."""
    every = max(_OFTENEST_SECONDS, min(seconds // _LOOKS, _SELDOMEST_SECONDS))
    # no file of settings: it would be one that happens to lie in the hub's working directory
    options = [f"--timeout={seconds}", f"--cull-every={every}", "--config="]
    return {"name": SERVICE, "command": [sys.executable, "-m", "jupyterhub_idle_culler", *options], "display": False}


def culler_role() -> dict[str, Any]:
    """What that service must be allowed: to see when servers were used, and to stop them."""
    return {"name": SERVICE, "description": "Ends idle sessions", "scopes": [*_SCOPES], "services": [SERVICE]}


def _culler(service: Mapping[str, Any]) -> Culler | None:
    """What a service ends; None when it is no culler."""
    command = service.get("command") or ()
    words = [command] if isinstance(command, str) else [str(word) for word in command]
    at = next((n for n, word in enumerate(words) if _PROGRAM.fullmatch(PurePath(word).stem)), None)
    if at is not None:
        return _told(_options(words[at + 1 :]), Path(str(service.get("cwd") or ".")))
    named = _NAME.search(str(service.get("name", "")))
    return Culler(idle_seconds=None) if named or any(_PROGRAM.search(word) for word in words) else None


def _told(options: Mapping[str, str], directory: Path) -> Culler:
    """What a culler does that was started with these options."""
    in_file = bool(options.get("config")) or ("config" not in options and (directory / _OWN_FILE).exists())
    named = options.get("timeout", _IDLE_SECONDS)
    return Culler(
        idle_seconds=None if in_file else _seconds(named),  # a file may decide it with code
        max_age_seconds=_seconds(options.get("max-age", "")) or None,
        default_servers=options.get("cull-default-servers", "").lower() not in _NO,
        named_servers=options.get("cull-named-servers", "").lower() not in _NO,
    )


def _options(words: Sequence[str]) -> dict[str, str]:
    """``--name=value`` and ``--name value``, with hyphens in every name."""
    found: dict[str, str] = {}
    waiting = ""
    for word in words:
        option = _OPTION.fullmatch(word)
        if option is not None:
            name = option[1].replace("_", "-")
            found[name], waiting = option[2] or "", "" if option[2] is not None else name
        elif waiting:
            found[waiting], waiting = word, ""
    return found


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
