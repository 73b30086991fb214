"""Nothing that people can set, call, read or meet is undocumented, and nothing documented is gone."""

import argparse
import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import launcher
from launcher import errors
from launcher.cli import parser
from launcher.config import Launcher, Settings
from launcher.dask import api, config, description
from launcher.dask.config import DaskSettings, LauncherDask
from launcher.engine.config import ContainerSettings, LauncherContainers
from launcher.models import RecipeKind
from launcher.sources.providers import SourcesConfig
from launcher.sources.registry import RepositorySources
from tests.docs.pages import PAGES, generator, name_of, page

PACKAGE = Path(launcher.__file__).parent
GENERATE = generator()
OUTSIDE_THE_TREE: set[str] = set()
"""Codes that no error class has; the reference tells them by hand."""


def sources_text() -> str:
    return "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))


# -- settings


@pytest.mark.parametrize("name", sorted(Launcher.class_own_traits(config=True)))
def test_a_setting_is_in_the_reference_and_says_what_it_is_for(name):
    section = GENERATE.configuration().partition(f"(setting-{name})=")[2].partition("(setting-")[0]
    help_text = section.split("\n\n")[1]
    assert help_text.endswith(".")
    assert ":Default:" in section


def test_traits_and_settings_are_the_same():
    assert {field.name for field in dataclasses.fields(Settings)} - {"containers", "cullers"} == set(
        Launcher.class_own_traits(config=True)
    )


def read_somewhere(name: str) -> bool:
    """Whether code reads the setting: anywhere outside the configuration, or in a property of `Settings`."""
    outside = (path.read_text() for path in PACKAGE.rglob("*.py") if path != PACKAGE / "config.py")
    in_settings = (PACKAGE / "config.py").read_text().partition("\nclass Launcher")[0]
    return any(re.search(rf"settings\w*\.{name}\b", text) for text in outside) or f"self.{name}" in in_settings


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings) if field.name != "runtime"])
def test_a_setting_does_something(name):
    assert read_somewhere(name)


@pytest.mark.parametrize("name", sorted(LauncherDask.class_own_traits(config=True)))
def test_a_setting_of_dask_is_in_the_reference_and_says_what_it_is_for(name):
    section = GENERATE.dask_configuration().partition(f"(setting-dask-{name})=")[2].partition("(setting-")[0]
    assert f"### `c.LauncherDask.{name}`" in section
    assert section.split("\n\n")[1].endswith(".")
    assert ":Default:" in section


def test_traits_and_settings_of_dask_are_the_same():
    assert {field.name for field in dataclasses.fields(DaskSettings)} == set(LauncherDask.class_own_traits(config=True))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(DaskSettings)])
def test_a_setting_of_dask_does_something(name):
    where = Path(inspect.getfile(config))
    outside = (path.read_text() for path in PACKAGE.rglob("*.py") if path != where)
    inside = inspect.getsource(DaskSettings)
    assert any(re.search(rf"(?:settings|dask)\.{name}\b", text) for text in outside) or f"self.{name}" in inside


def test_the_howto_for_operators_names_every_setting_of_dask():
    text = page("howto/dask-operators.md")
    missing = {name for name in LauncherDask.class_own_traits(config=True) if f"(#setting-dask-{name})" not in text}
    assert missing == set()


@pytest.mark.parametrize("name", sorted(LauncherContainers.class_own_traits(config=True)))
def test_a_setting_of_containers_is_in_the_reference_and_in_the_howto_and_does_something(name):
    section = (
        GENERATE.containers_configuration().partition(f"(setting-containers-{name})=")[2].partition("(setting-")[0]
    )
    assert section.split("\n\n")[1].endswith(".")
    assert f"(#setting-containers-{name})" in page("howto/containers.md")
    where = Path(inspect.getfile(LauncherContainers))
    outside = (path.read_text() for path in PACKAGE.rglob("*.py") if path != where)
    assert any(re.search(rf"(?:settings|containers)\.{name}\b", text) for text in outside)


def test_traits_and_settings_of_containers_are_the_same():
    traits = set(LauncherContainers.class_own_traits(config=True))
    assert {field.name for field in dataclasses.fields(ContainerSettings)} == traits


def test_the_variables_that_reach_the_service_are_in_the_reference():
    tree = ast.parse((PACKAGE / "hub" / "preset.py").read_text())
    function = next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "_add_service"
    )
    words = {
        node.value for node in ast.walk(function) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    variables = {word for word in words if re.fullmatch(r"[A-Z][A-Z_]+", word)} - {"PYTHONUNBUFFERED", "LAUNCHER_CRASH"}
    assert {name for name in variables if f"`{name}`" not in page("reference/configuration.md")} == set()


# -- commands


def commands() -> dict[str, argparse.ArgumentParser]:
    return {name: command for name, command, _ in GENERATE.commands()}


def options_of(name: str) -> set[str]:
    return {
        option for action in commands()[name]._actions for option in action.option_strings if option.startswith("--")
    }


@pytest.mark.parametrize("name", sorted(commands()))
def test_a_command_and_its_options_are_in_the_reference(name):
    section = GENERATE.command_line().partition(f"## `launcher {name}`\n")[2].partition("\n## ")[0]
    for option in options_of(name) - {"--help"}:
        assert re.search(rf"^`(?:[^`]*, )?{option}\b[^`]*`\n: \S", section, re.MULTILINE), option


def test_the_reference_lists_the_commands_of_the_parser():
    listed = re.findall(r"^## `launcher ([a-z-]+)`", GENERATE.command_line(), re.MULTILINE)
    shown = re.findall(r"^    ([a-z][a-z-]*)(?: |$)", parser().format_help(), re.MULTILINE)
    assert shown
    assert set(shown) == set(listed)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_mentions_only_commands_and_options_that_exist(path):
    for name, rest in re.findall(r"(?<![\w/.-])launcher ([a-z][a-z-]+)((?: [^`\n]*)?)(?=[`\n])", path.read_text()):
        if name in commands():
            assert set(re.findall(r"(?<= )--[a-z-]+", rest)) <= options_of(name)
    for name in re.findall(r"`launcher ([a-z][a-z-]*)", path.read_text()):
        assert name in commands()


def test_the_hints_of_the_code_name_only_commands_that_exist():
    for name in re.findall(r"`launcher ([a-z][a-z-]*)", sources_text()):
        assert name in commands()


def test_the_readme_lists_the_options_of_up_and_no_others():
    table = (PAGES[0]).read_text().partition("| argument | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(--[a-z-]+)", table)) == options_of("up") - {"--help"}


# -- errors


def error_classes() -> list[type[errors.LauncherError]]:
    members = [value for value in vars(errors).values() if isinstance(value, type)]
    return [member for member in members if issubclass(member, errors.LauncherError)]


def test_every_error_has_a_code_of_its_own():
    codes = [error.code for error in error_classes()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.code)
def test_an_error_is_in_the_reference_and_says_what_to_do(error):
    row = f"| [`{error.code}`](#error-{error.code}) | {error.http_status} | "
    assert row in GENERATE.error_codes()
    section = page("howto/troubleshooting.md").partition(f"(error-{error.code})=\n## `{error.code}`\n")[2]
    assert section.partition("(error-")[0].strip()


@pytest.mark.parametrize("error", error_classes(), ids=lambda error: error.__name__)
def test_an_error_is_in_the_tree_of_the_docstring(error):
    assert re.search(rf"^[\s│├└─]*{error.__name__}\b", str(errors.__doc__), re.MULTILINE)


def test_troubleshooting_tells_no_code_that_is_gone():
    told = set(re.findall(r"^\(error-(\w+)\)=", page("howto/troubleshooting.md"), re.MULTILINE))
    assert told == {error.code for error in error_classes()}


def test_a_code_that_is_written_out_is_documented():
    written = re.findall(r'"code": "(\w+)"|Problem\(\s*"(\w+)"', sources_text())
    known = {error.code for error in error_classes()} | OUTSIDE_THE_TREE
    assert {code for pair in written for code in pair if code} <= known
    assert all(f"`{code}`" in page("reference/error-codes.md") for code in OUTSIDE_THE_TREE)


# -- addresses


FILLED = {
    "<provider>/<spec>": "gh/org/repo/main",
    "<user>/<repository>[/<path>]": "org/repo",
    "<build id>": "a1b2",
    "<server>": "repository-abc",
    "<cluster>": "0" * 32,
    "<key>": "0" * 64,
    "<process>": "scheduler",
    "<file>": "icon.svg",
}
PRIVATE = {"api/v1/tickets/redeem"}


def documented_routes() -> dict[tuple[str, str], str]:
    """(method, heading path) -> an address of that form."""
    found = {}
    for method, path in re.findall(r"^### `([A-Z]+) (\S.*)`$", page("reference/http-api.md"), re.MULTILINE):
        address = path
        for placeholder, value in FILLED.items():
            address = address.replace(placeholder, value)
        found[method, path] = GENERATE.PREFIX + address.removeprefix("/")
    return found


def test_every_documented_address_is_a_route_with_that_method():
    for (method, path), address in documented_routes().items():
        handlers = [handler for pattern, handler in GENERATE.routes() if pattern.fullmatch(address)]
        assert handlers, path
        assert method in {name for name, _ in methods(handlers[0])}, (method, path)


def methods(handler) -> set[tuple[str, str]]:
    return set(GENERATE._methods(handler))


@pytest.mark.parametrize(("pattern", "handler"), GENERATE.routes(), ids=lambda value: getattr(value, "pattern", None))
def test_every_route_is_documented_with_its_methods(pattern, handler):
    text = page("reference/http-api.md")
    if GENERATE.readable_path(pattern).startswith(("badge.svg", "assets/")):
        assert all(f"`{name}" in text for name in ("badge_logo.svg", "logo_social.png", "assets/images/badge.svg"))
        return
    documented = {method for (method, _), address in documented_routes().items() if pattern.fullmatch(address)}
    assert documented >= {method for method, _ in methods(handler)}
    assert all(about for _, about in methods(handler))


# -- the gateway's own addresses


def test_every_address_that_the_gateway_has_beyond_upstream_is_documented_and_no_other():
    routes = {(route.method, route.path.removeprefix("/").replace("_name", "")) for route in api.routes()}
    documented = re.findall(r"^### `([A-Z]+) (api/v1/launcher/\S+)`$", page("reference/gateway-api.md"), re.MULTILINE)
    assert {(method, path.replace("<", "{").replace(">", "}")) for method, path in documented} == routes


@pytest.mark.parametrize("name", ["reference/gateway-api.md", "reference/http-api.md"])
def test_every_field_of_a_cluster_is_documented(name):
    tree = ast.parse(inspect.getsource(description.describe))
    body = next(node for node in ast.walk(tree) if isinstance(node, ast.Return)).value
    fields = {key.value for key in body.keys}
    assert {"name", "dashboard", "keep_hours"} <= fields
    assert {field for field in fields if f"`{field}`" not in page(name)} == set()


# -- events, recipes, metrics, links


def test_every_phase_is_documented():
    phases = set(re.findall(r'LaunchEvent\(\s*"(\w+)"', sources_text()))
    phases |= set(re.findall(r'\.stage\("(\w+)"\)', sources_text()))
    assert {"waiting", "built", "launching", "ready", "failed", "fetching", "building"} <= phases
    for phase in phases:
        assert f"| `{phase}` |" in page("reference/event-stream.md")


def test_every_field_of_the_ready_event_is_documented():
    tree = ast.parse((PACKAGE / "sessions" / "service.py").read_text())
    ready = next(node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef) and node.name == "_ready")
    keys = {
        key.value for d in ast.walk(ready) if isinstance(d, ast.Dict) for key in d.keys if isinstance(key, ast.Constant)
    }
    assert {"url", "repo_url"} <= keys
    assert {key for key in keys if f"`{key}`" not in page("reference/event-stream.md")} == set()


@pytest.mark.parametrize("kind", RecipeKind, ids=lambda kind: kind.name)
def test_a_kind_of_recipe_is_documented_with_whether_it_works_here(kind):
    support = page("reference/recipe-files.md").partition("## What the runtimes can do")[2]
    assert f"`{kind.name}`" in support
    assert kind.name in GENERATE.recipe_files() or kind is RecipeKind.PIPFILE


def test_every_metric_is_documented():
    names = set(re.findall(r'"(launcher_[a-z_]+)"', (PACKAGE / "web" / "metrics.py").read_text()))
    assert names
    assert all(f"`{name}`" in GENERATE.metrics() for name in names)


def test_every_provider_is_documented(tmp_path):
    sources = RepositorySources(SourcesConfig(tmp_path, local_directories=(tmp_path,)))
    for provider in sources.describe():
        assert f"| `{provider['id']}/" in page("howto/badge.md")


@pytest.mark.parametrize("name", sorted(GENERATE.PAGES))
def test_a_generated_part_is_shown_on_a_page(name):
    assert any(f"```{{include}} generated/{name}" in path.read_text() for path in PAGES)
