"""Writes the parts of the reference that the code knows best, so that they cannot drift from it.

Every function returns Markdown; `write` puts all of them into a directory, which the pages include.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from traitlets import TraitType, Union

from launcher import errors
from launcher.cli import parser
from launcher.config import Launcher
from launcher.dask.config import LauncherDask
from launcher.engine.config import LauncherContainers
from launcher.environments import recipe
from launcher.web.application import make_application
from launcher.web.metrics import WebMetrics
from launcher.web.settings import WebParts, WebSettings

PREFIX = "/services/binder/"
"""The service prefix of a hub at the root of its address; paths in the reference are below it."""


def configuration() -> str:
    """Every trait of `launcher.config.Launcher`, in the order of the code."""
    return _traits(Launcher, "setting-")


def dask_configuration() -> str:
    """Every trait of `launcher.dask.config.LauncherDask`, in the order of the code."""
    return _traits(LauncherDask, "setting-dask-")


def containers_configuration() -> str:
    """Every trait of `launcher.engine.config.LauncherContainers`, in the order of the code."""
    return _traits(LauncherContainers, "setting-containers-")


def _traits(section: type[Any], label: str) -> str:
    traits = section.class_own_traits(config=True)
    return "\n".join(
        _trait(f"{section.__name__}.{name}", f"{label}{name}", traits[name]) for name in vars(section) if name in traits
    )


def _trait(name: str, label: str, trait: TraitType[Any, Any]) -> str:
    help_text = " ".join(str(trait.help).split())
    return f"""({label})=
### `c.{name}`

{help_text}

:Type: {_kind(trait)}
:Default: `{trait.default()!r}`{_readable(trait)}
"""


def _kind(trait: TraitType[Any, Any]) -> str:
    if choices := getattr(trait, "values", None):
        return " or ".join(f"`{value!r}`" for value in choices)
    kinds = trait.trait_types if isinstance(trait, Union) else [trait]
    return " or ".join(f"`{type(kind).__name__}`" for kind in kinds)


def _readable(trait: TraitType[Any, Any]) -> str:
    value = trait.default()
    if not (trait.name or "").endswith("_bytes") or not isinstance(value, int):
        return ""
    return f" ({value / 2**30:g} GiB)"


def command_line() -> str:
    """Every command and every option of ``launcher``."""
    return "\n".join(_command(name, command, about) for name, command, about in commands())


def commands() -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Name, parser and help of every command."""
    for action in parser()._actions:  # noqa: SLF001 - argparse has no public way to list its commands
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            about = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                yield name, command, about[name]


def _command(name: str, command: argparse.ArgumentParser, about: str) -> str:
    lines = [f"(command-{name})=", f"## `launcher {name}`", "", about[:1].upper() + about[1:] + ".", ""]
    actions = [action for action in command._actions if action.dest != "help"]  # noqa: SLF001
    for action in actions:
        lines += [f"`{_spelling(action)}`", f": {(action.help or '').rstrip('.')}.{_default(action)}", ""]
    return "\n".join(lines)


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"{action.metavar or action.dest}" + ("…" if action.nargs == "*" else "")
    takes = "" if action.nargs == 0 else f" {action.metavar or '|'.join(map(str, action.choices or [action.dest]))}"
    return ", ".join(action.option_strings) + takes + ("…" if isinstance(action.default, list) else "")


def _default(action: argparse.Action) -> str:
    if isinstance(action.default, list):
        return " May be given several times."
    if action.nargs == 0 or action.default is None:
        return ""
    return f" Default: `{action.default}`."


def error_classes(root: type[errors.LauncherError] = errors.LauncherError) -> Iterator[type[errors.LauncherError]]:
    """The error and everything below it, in the order of the code."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def error_codes() -> str:
    """Every code with its HTTP status and meaning, as a table."""
    rows = [
        f"| [`{error.code}`](#error-{error.code}) | {error.http_status} | {_first_line(error)} |"
        for error in error_classes()
    ]
    return "\n".join(["| code | HTTP | meaning |", "|---|---|---|", *rows]) + "\n"


def routes() -> list[tuple[re.Pattern[str], type[Any]]]:
    """Pattern and handler of every route of the service, with `PREFIX`."""
    settings = WebSettings(build_token_secret=b"-" * 32, service_prefix=PREFIX)
    nobody: Any = object()  # no request is made, so nobody is asked
    parts = WebParts(
        launches=nobody,
        history=nobody,
        mine=nobody,
        new_session=nobody,
        sources=nobody,
        settings=settings,
        hub_auth=nobody,
    )
    application = make_application(parts)
    return [(rule.matcher.regex, rule.target) for rule in application.wildcard_router.rules]


def route_table() -> str:
    """Every route with its methods and what they do."""
    lines = ["| path | method | what it does |", "|---|---|---|"]
    for pattern, handler in routes():
        for method, about in _methods(handler):
            lines.append(f"| `{readable_path(pattern)}` | {method} | {about} |")
    return "\n".join(lines) + "\n"


_SPELLINGS = (
    (r"build/[^/]+/.+", "build/<provider>/<spec>"),
    (r"v2/[^/]+/.+", "v2/<provider>/<spec>"),
    (r"documents/[^/]+/.+", "documents/<provider>/<spec>"),
    (r"repo/[^/]+/[^/]+(?:/.*)?", "repo/<user>/<repository>[/<path>]"),
    (r"([A-Za-z0-9_-]{1,64})", "<build id>"),
    (r"([A-Za-z0-9._~@-]{0,64})", "<server>"),
    (r"([0-9a-f]{32})", "<cluster>"),
    (r"([0-9a-f]{64})", "<key>"),
    (r"([0-9a-z]{1,64})", "<process>"),
    (r"static/(.*)", "static/<file>"),
)


def readable_path(pattern: re.Pattern[str]) -> str:
    """A route's pattern as people write it: ``build/<provider>/<spec>``."""
    text = pattern.pattern.removesuffix("$").removeprefix(re.escape(PREFIX)).removeprefix(PREFIX)
    for expression, spelling in _SPELLINGS:
        text = text.replace(expression, spelling)
    return re.sub(r"\((.*?)\)", lambda group: group[1].replace("|", " or "), text).replace("\\", "") or "/"


def _methods(handler: type[Any]) -> Iterator[tuple[str, str]]:
    for method in ("get", "post", "delete"):
        function = getattr(handler, method)
        if "_unimplemented_method" not in function.__qualname__:
            about = _first_line(function)
            yield method.upper(), _first_line(handler) if about.startswith("Handle") or not about else about


def metrics() -> str:
    """Every metric with its type and labels."""
    web = WebMetrics()
    lines = ["| name | type | labels | meaning |", "|---|---|---|---|"]
    for metric in web.registry.collect():
        labels = _labels(web, metric.name)
        name = metric.name + ("_total" if metric.type == "counter" else "")
        lines.append(f"| `{name}` | {metric.type} | {labels} | {metric.documentation} |")
    return "\n".join(lines) + "\n"


def _labels(web: WebMetrics, name: str) -> str:
    names = next(part._labelnames for part in vars(web).values() if getattr(part, "_name", None) == name)  # noqa: SLF001
    return ", ".join(f"`{label}`" for label in names)


def recipe_files() -> str:
    """The decision table of `launcher.environments.recipe`, taken from its docstring."""
    lines = (inspect.getdoc(recipe) or "").splitlines()
    rules = [number for number, line in enumerate(lines) if re.fullmatch(r"=+( +=+)+", line)]
    columns = [match.start() for match in re.finditer(r"=+", lines[rules[0]])]
    rows = [_cells(line, columns) for line in lines[rules[1] + 1 : rules[2]]]
    table = ["| found | kind | what is installed |", "|---|---|---|"]
    for found, kind, installed in _joined(rows):
        code = "" if kind == "--" else f"`{kind}`"
        table.append(f"| {found.replace('``', '`')} | {code} | {installed.replace('``', '`')} |")
    return "\n".join(table) + "\n"


def _cells(line: str, columns: list[int]) -> list[str]:
    ends = [*columns[1:], None]
    return [line[start:end].strip() for start, end in zip(columns, ends, strict=True)]


def _joined(rows: list[list[str]]) -> Iterator[list[str]]:
    """Rows whose first cell is empty go on the row above."""
    whole: list[list[str]] = []
    for row in rows:
        if row[0]:
            whole.append(row)
        else:
            whole[-1] = [f"{above} {cell}".strip() for above, cell in zip(whole[-1], row, strict=True)]
    yield from whole


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0].replace("``", "`")


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "dask-configuration.md": dask_configuration,
    "containers-configuration.md": containers_configuration,
    "command-line.md": command_line,
    "error-codes.md": error_codes,
    "routes.md": route_table,
    "metrics.md": metrics,
    "recipe-files.md": recipe_files,
}


def write(directory: Path) -> None:
    """All parts, each in its file; files that would not change are left alone."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = directory / name, page()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "reference" / "generated")
