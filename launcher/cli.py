"""The ``launcher`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.errors import LauncherError

DEFAULT_PORT = 8000
RUNTIMES = ("process", "container")
DEFAULT_STATE = Path("~/.local/share/jupyterhub-launcher")


def parser() -> argparse.ArgumentParser:
    """The command line, with every word of its help."""
    root = argparse.ArgumentParser(prog="launcher", description="Binder as a feature flag on any JupyterHub.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands.add_parser("up", help="start a hub with the launcher on, on this machine"))
    check = commands.add_parser("check", help="say what is missing on this machine or in a configuration")
    check.add_argument("--config", type=Path, metavar="FILE", help="also check this jupyterhub_config.py")
    check.add_argument("--state", type=Path, default=DEFAULT_STATE, metavar="DIR", help="state directory to check")
    check.add_argument("--runtime", choices=RUNTIMES, default="process", help="what to check without --config")
    server = commands.add_parser("server-environment", help="make or refresh the environment of the Jupyter server")
    server.add_argument("directory", type=Path, metavar="DIR", help="where; c.Launcher.server_environment names it")
    _add_environments(commands.add_parser("environments", help="list environments, keep or remove some"))
    _add_base_image(commands.add_parser("base-image", help="make the image that containers start from"))
    commands.add_parser("serve", help="run the service; JupyterHub starts this by itself")
    commands.add_parser("dask-gateway", help="run Dask-Gateway; JupyterHub starts this by itself")
    return root


def _add_base_image(base: argparse.ArgumentParser) -> None:
    base.add_argument("--state", type=Path, default=DEFAULT_STATE, metavar="DIR", help="state directory of the hub")
    base.add_argument("--config", type=Path, metavar="FILE", help="use the settings of this jupyterhub_config.py")
    base.add_argument("--from", dest="base_from", metavar="IMAGE", help="start from this image of Debian or Ubuntu")
    base.add_argument("--mirror", metavar="URL", help="where Debian packages come from")
    base.add_argument(
        "--package", action="append", default=[], metavar="NAME", help="a Debian package for everybody; may be repeated"
    )


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "directories", nargs="*", type=Path, metavar="DIR", help="local directories to launch as repositories"
    )
    up.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="N", help="port of the hub; 0 picks a free one")
    up.add_argument("--state", type=Path, default=DEFAULT_STATE, metavar="DIR", help="everything that stays")
    up.add_argument("--config", type=Path, metavar="FILE", help="a jupyterhub_config.py on top of the defaults")
    up.add_argument(
        "--runtime", choices=RUNTIMES, default="process", help="where builds and sessions run; process by default"
    )
    up.add_argument(
        "--dask", action=argparse.BooleanOptionalAction, default=True, help="Dask-Gateway for sessions; on by default"
    )
    up.add_argument(
        "--trust", action="append", default=[], metavar="PATTERN", help="trust these repositories, e.g. 'gh/my-org/*'"
    )
    up.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST:PORT", help="allow http and a private address here"
    )
    up.add_argument("--json", action="store_true", help="when ready, print one JSON line with url, user and token")


def _add_environments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "action",
        nargs="?",
        choices=["list", "pin", "unpin", "remove", "collect"],
        default="list",
        metavar="ACTION",
        help="`list`, `pin` (never goes by age), `unpin`, `remove`, or `collect` (what is too old or too much)",
    )
    command.add_argument("keys", nargs="*", metavar="KEY", help="keys of environments, or how they begin")
    command.add_argument("--config", type=Path, metavar="FILE", help="the jupyterhub_config.py of the hub")
    command.add_argument("--state", type=Path, default=DEFAULT_STATE, metavar="DIR", help="without --config: the state")
    command.add_argument("--runtime", default="process", metavar="NAME", help="without --config: `c.Launcher.runtime`")
    command.add_argument("--search", default="", metavar="WORDS", help="list those of such a repository, recipe or key")
    command.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    command.add_argument("--json", action="store_true", help="list as JSON")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status. Errors are one or two lines on stderr, never a traceback."""
    arguments = parser().parse_args(argv)
    try:
        return _run(arguments)
    except LauncherError as error:
        print(f"launcher: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(arguments: argparse.Namespace) -> int:
    """Each command imports what it needs, so that none waits for the others."""
    if arguments.command == "up":
        from launcher.up import UpOptions, up

        return up(
            UpOptions(
                directories=tuple(arguments.directories),
                port=arguments.port,
                state=arguments.state,
                config=arguments.config,
                runtime=arguments.runtime,
                dask=arguments.dask,
                trust=tuple(arguments.trust),
                allow_hosts=tuple(arguments.allow_host),
                json=arguments.json,
            )
        )
    if arguments.command == "check":
        from launcher.check import check

        return check(config=arguments.config, state=arguments.state, runtime=arguments.runtime)
    if arguments.command == "base-image":
        from launcher.base_image import BaseImageOptions, base_image

        return base_image(
            BaseImageOptions(
                state=arguments.state,
                config=arguments.config,
                base_from=arguments.base_from,
                mirror=arguments.mirror,
                packages=tuple(arguments.package),
            )
        )
    if arguments.command == "server-environment":
        from launcher.server_environment import make_server_environment

        make_server_environment(arguments.directory)
        return 0
    if arguments.command == "environments":
        return _environments(arguments)
    return _serve(arguments.command)


def _serve(command: str) -> int:
    """Run a service of the Hub. It listens, and ends with the Hub, before the seconds that loading it takes."""
    from launcher.ports import listen_early
    from launcher.supervise import end_with_parent

    end_with_parent()
    listener = listen_early(os.environ.get("JUPYTERHUB_SERVICE_URL", ""))
    if command == "dask-gateway":
        from launcher.dask.gateway import serve as serve_gateway

        return serve_gateway(listener)
    from launcher.app import serve

    return serve(listener)


def _environments(arguments: argparse.Namespace) -> int:
    from launcher.environments_command import EnvironmentsOptions, environments

    options = EnvironmentsOptions(
        action=arguments.action,
        keys=tuple(arguments.keys),
        config=arguments.config,
        state=arguments.state,
        runtime=arguments.runtime,
        search=arguments.search,
        dry_run=arguments.dry_run,
        json=arguments.json,
    )
    return environments(options, print)
