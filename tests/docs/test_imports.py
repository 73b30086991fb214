"""Imports point one way, and only the edges know tornado: ARCHITECTURE.md, checked."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import launcher

PACKAGE = Path(launcher.__file__).parent
SHARED = {
    "models",
    "errors",
    "config",
    "config_files",
    "control_groups",
    "traits",
    "sealed",
    "tickets",
    "log",
    "crashpoints",
    "findings",
    "ports",
    "server_recipe",
    "translations",
}
"""Modules of the package's root that any part may use. `config` knows the policies that check what operators write."""
SETTINGS_OF_PARTS = {"launcher.dask.config", "launcher.engine.config"}
"""Settings that stand beside what they are about, and count as `config`."""
SERVICES = {"launcher.dask.gateway"}
"""Where a second service is wired together, as `app` is the first."""
ROOT = {
    "app",
    "base_image",
    "check",
    "cli",
    "environments_command",
    "runtimes",
    "server_environment",
    "supervise",
    "up",
    "__init__",
    "__main__",
}
"""Where everything is wired together: these may import anything, and nothing below may import them."""
MAY_IMPORT = {
    "store": set(),
    "policy": set(),
    "engine": set(),
    "sources": {"store"},
    "environments": {"sources", "store"},
    "builders": {"engine", "environments", "sources", "store"},
    "builds": {"builders", "environments", "sources", "store"},
    "retention": {"builds", "builders", "store"},
    "sessions": {"builds", "builders", "environments", "sources", "policy", "store"},
    "publish": {"sources"},
    "web": {"publish", "retention", "sessions", "sources", "environments", "policy"},
    "dask": {"web", "builders", "engine", "hub", "store"},
}
"""`dask` is the gateway's service, beside the launcher's own. What exactly it takes from others is below."""
DASK_MAY_IMPORT = {
    "launcher.dask.middleware": {"launcher.store.problems"},  # a database's complaints in words
    "launcher.dask.preflight": {"launcher.store.problems"},
    "launcher.dask.dashboard": {"launcher.web.base", "launcher.web.headers"},  # answers as the launcher's pages do
    "launcher.dask.nurseries.": {  # clusters live beside sessions
        "launcher.builders.process.sandbox",
        "launcher.builders.removal",
        "launcher.hub.records",
        "launcher.hub.session",
    },
    "launcher.dask.container.": {
        "launcher.builders.process.sandbox",
        "launcher.engine.base",
        "launcher.engine.client",
        "launcher.engine.config",
        "launcher.engine.labels",
        "launcher.hub.container.egress",
        "launcher.hub.container.engine",
        "launcher.hub.container.order",
        "launcher.hub.container.relays",
    },
    "launcher.dask.process.": {  # and are isolated as they are
        "launcher.builders.process.runner",
        "launcher.builders.process.sandbox",
        "launcher.builders.process.store",
        "launcher.hub.records",
        "launcher.hub.session",
    },
}
"""Beginning of a module's name -> modules of other parts. The rest of `dask` takes nothing from any part."""
HUB_MAY_IMPORT = {
    "launcher",
    "launcher.config",
    "launcher.config_files",
    "launcher.control_groups",
    "launcher.dask.config",
    "launcher.errors",
    "launcher.models",
    "launcher.policy.sizes",
    "launcher.ports",
    "launcher.policy.culling",
    "launcher.sealed",
    "launcher.tickets",
    "launcher.sessions.names",
    "launcher.sessions.session_choices",
    "launcher.builders.process.sandbox",
    "launcher.builders.process.store",
    "launcher.builders.uv.config",
    "launcher.builders.uv.egress",
    "launcher.engine.base",
    "launcher.engine.base_image",
    "launcher.engine.client",
    "launcher.engine.config",
    "launcher.engine.find",
    "launcher.engine.identity",
    "launcher.engine.labels",
}
TORNADO = (
    "web/",
    "hub/",
    "app.py",
    "dask/dashboard",
    "dask/reverse_proxy.py",
    "dask/gateway.py",
    "sessions/hub.py",
    "sessions/gateway.py",
    "sources/http.py",
    "sources/addresses.py",
)


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module, the scripts that run inside sessions and sandboxes too."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(("launcher", *parts)).removesuffix(".__init__")] = path
    return found


def imports(name: str, path: Path) -> set[str]:
    """Every module an import statement of the file names, also inside functions; not those for types only."""
    tree = ast.parse(path.read_text())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                outer = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*outer, base]).rstrip(".")
            submodules = {f"{base}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= submodules or {base}
    return found


MODULES = modules()
OURS = {name: {i for i in imports(name, path) if i.split(".")[0] == "launcher"} for name, path in MODULES.items()}


def part(module: str) -> str:
    """``launcher.web.base`` -> ``web``; a module of the root -> its name; the package itself -> ``__init__``."""
    if module in SETTINGS_OF_PARTS:
        return "config"
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) in MAY_IMPORT and name not in SERVICES])
def test_a_part_imports_only_the_parts_below_it(name):
    allowed = MAY_IMPORT[part(name)] | SHARED | {part(name)}
    assert {module for module in OURS[name] if part(module) not in allowed} == set()


RUNTIMES = ("launcher.builders.process", "launcher.builders.container")


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("launcher.builders.")])
def test_a_builder_knows_no_runtime_but_its_own(name):
    own = tuple(runtime for runtime in RUNTIMES if name.startswith(runtime))
    assert {module for module in OURS[name] if module.startswith(RUNTIMES) and not module.startswith(own)} == set()


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) == "dask" and name not in SERVICES])
def test_a_module_of_dask_takes_from_other_parts_only_what_it_must(name):
    allowed = {module for start, found in DASK_MAY_IMPORT.items() if name.startswith(start) for module in found}
    assert {module for module in OURS[name] if part(module) not in SHARED | {"dask"}} - allowed == set()


def test_the_table_of_dask_names_no_module_that_nobody_takes():
    taken = {module for name, found in OURS.items() if part(name) == "dask" for module in found}
    assert {module for found in DASK_MAY_IMPORT.values() for module in found} - taken == set()


def test_dask_decides_without_knowing_how_clusters_run():
    runs = ("launcher.dask.nurseries", "launcher.dask.process", "launcher.dask.container")
    knows = {name for name, found in OURS.items() if any(one.startswith(runs) for one in found)}
    assert {name for name in knows if not name.startswith(runs)} == {"launcher.runtimes"}


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) == "hub" and ".inside" not in name])
def test_what_runs_in_the_hub_stays_light(name):
    foreign = {module for module in OURS[name] if part(module) != "hub"}
    assert foreign - HUB_MAY_IMPORT == set()


def test_the_list_of_the_hub_names_no_module_that_it_does_not_take():
    taken = {module for name, found in OURS.items() if part(name) == "hub" for module in found}
    assert HUB_MAY_IMPORT - taken == set()


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("launcher.hub.inside")])
def test_what_runs_in_a_session_imports_nothing_of_the_launcher(name):
    assert {module for module in OURS[name] if not module.startswith("launcher.hub.inside")} == set()


@pytest.mark.parametrize("name", sorted(f"launcher.{shared}" for shared in SHARED))
def test_a_shared_module_imports_no_part(name):
    known = (
        {
            "launcher.policy.culling",
            "launcher.policy.environments",
            "launcher.policy.sizes",
            "launcher.policy.trust",
            *SETTINGS_OF_PARTS,
        }
        if name == "launcher.config"
        else set()
    )
    assert {module for module in OURS[name] if part(module) not in SHARED} - known == set()


def test_nothing_imports_what_wires_everything_together():
    wiring = {f"launcher.{module}" for module in ROOT - {"__init__"}}
    importers = {
        name for name, found in OURS.items() if found & wiring and part(name) not in ROOT and name not in SERVICES
    }
    assert importers == set()


@pytest.mark.parametrize("name", MODULES)
def test_only_the_edges_know_tornado(name):
    path = str(MODULES[name].relative_to(PACKAGE))
    knows = any(module.split(".")[0] in {"tornado", "jupyterhub"} for module in imports(name, MODULES[name]))
    assert not knows or path.startswith(TORNADO)


def test_every_part_is_known_to_this_test():
    assert {part(name) for name in MODULES} <= MAY_IMPORT.keys() | SHARED | ROOT | {"hub", "examples"}


def test_no_two_packages_import_each_other_in_a_circle():
    below = {name: set() for name in MAY_IMPORT}
    for name, found in OURS.items():
        if part(name) in below:
            below[part(name)] |= {part(module) for module in found} & below.keys() - {part(name)}
    done: set[str] = set()
    while ready := {name for name, needs in below.items() if name not in done and needs <= done}:
        done |= ready
    assert below.keys() - done == set()


def test_loading_the_feature_flag_loads_no_part_that_only_the_service_needs():
    program = "import launcher.hub.preset, launcher.hub.process, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {part(module) for module in done.stdout.split() if module.startswith("launcher.")}
    assert "hub" in loaded
    assert loaded & {"web", "builds", "sources", "environments", "store"} == set()
