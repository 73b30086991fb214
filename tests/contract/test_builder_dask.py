"""Dask in environments: from the real packages where versions matter, from tiny ones where they must not work."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from uv import find_uv_bin

from launcher.builders.process.builder import ProcessBuilder
from launcher.builders.process.config import ProcessBuilderConfig
from launcher.errors import BuildFailed, ConfigurationInvalid
from launcher.models import BuiltEnvironment, RecipeKind, SessionMode
from tests.support.builds import Bench, MemoryLog, building, request
from tests.support.fixtures import WHEELHOUSE
from tests.support.package_index import PackageIndex, package_index
from tests.support.wheels import wheel

PACKAGES = ("dask", "distributed", "dask-gateway", "bokeh")
REQUIREMENTS = (RecipeKind.REQUIREMENTS, "requirements.txt")
PYTHON = "/srv/environment/bin/python"
CHOSEN = {"options": {"dask": "yes"}}
OLDER = "2024.8.0"


@pytest.fixture(scope="module")
def index() -> Iterator[PackageIndex]:
    if not list(WHEELHOUSE.glob(f"distributed-{OLDER}-*")):
        pytest.skip("the wheelhouse has no Dask: run scripts/setup-tests")
    with package_index(WHEELHOUSE) as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all builds, so that wheels are unpacked once."""
    return tmp_path_factory.mktemp("dask")


@pytest.fixture
def real(index: PackageIndex, shared: Path) -> Bench:
    """A builder with Dask on, and the real packages on its index."""
    config = ProcessBuilderConfig.from_environment(
        shared / "state", {}, index_url=index.url, allow_hosts=(index.host,), dask_requirements=PACKAGES
    )
    return Bench(shared, index, config, ProcessBuilder(config))


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Bench]:
    """A builder with Dask on, whose packages are made by the test."""
    with building(tmp_path, dask_requirements=("dask", "distributed", "dask-gateway")) as bench:
        dask_wheels(bench.index.directory)
        yield bench


@pytest.fixture
def uv_project(index: PackageIndex, tmp_path: Path) -> dict[str, str]:
    """A project with a lock that uv made: it has dask and distributed, and nothing else that clusters need."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    pyproject = (
        f'[project]\nname = "mine"\nversion = "1"\nrequires-python = "=={python}.*"\n'
        f'dependencies = ["distributed=={OLDER}"]\n[tool.uv]\nenvironments = ["sys_platform == \'linux\'"]\n'
        f'[[tool.uv.index]]\nurl = "{index.url}"\ndefault = true\n'
    )
    (tmp_path / "pyproject.toml").write_text(pyproject)
    command = [find_uv_bin(), "lock", "--quiet", "--no-cache", "--python", sys.executable, "--project", str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, env={"UV_PYTHON_DOWNLOADS": "never", "HOME": str(tmp_path)})
    return {"pyproject.toml": pyproject, "uv.lock": (tmp_path / "uv.lock").read_text()}


def dask_wheels(directory: Path, *, preload: str = "", requires: Sequence[str] = ()) -> None:
    """Stand-ins whose modules are where the real ones are; ``preload`` is the code of the gateway's preload module."""
    wheel(directory, "dask", requires=requires)
    clusters = {f"distributed/cli/{name}.py": "" for name in ("__init__", "dask_scheduler", "dask_worker")}
    wheel(directory, "distributed", requires=["dask==1.0"], files={"distributed/__init__.py": "", **clusters})
    gateway = {"dask_gateway/__init__.py": "", "dask_gateway/scheduler_preload.py": preload}
    wheel(directory, "dask_gateway", "5.0", requires=["dask", "distributed"], files=gateway)


def versions(bench: Bench, built: BuiltEnvironment) -> dict[str, str]:
    """Name -> version of everything installed."""
    meta = bench.meta(built)
    assert meta is not None
    return {canonicalize_name(name): version for name, _, version in (one.partition("==") for one in meta.packages)}


def digest(name: str) -> str:
    (path,) = WHEELHOUSE.glob(f"{name}-*")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def complete(bench: Bench, built: BuiltEnvironment, version: str = OLDER) -> bool:
    """Whether everything of Dask is there, in this version."""
    found = versions(bench, built)
    return found["dask"] == found["distributed"] == version and {"dask-gateway", "bokeh"} <= found.keys()


class TestAskedByTheRecipe:
    @pytest.mark.parametrize("line", [f"dask=={OLDER}", f"distributed=={OLDER}"])
    async def test_what_is_missing_is_added_in_the_version_of_what_is_there(self, real: Bench, line: str) -> None:
        built, log = await real.build({"requirements.txt": f"{line}\n"}, *REQUIREMENTS)
        assert complete(real, built)
        assert "The packages ask for Dask" in log.text
        answer = real.run(built, PYTHON, "-c", "import dask_gateway, distributed; print(distributed.__version__)")
        assert answer.stdout == f"{OLDER}\n"

    async def test_a_package_that_needs_dask_asks_for_it_too(self, tiny: Bench) -> None:
        wheel(tiny.index.directory, "arrays", requires=["dask"])
        built, _ = await tiny.build({"requirements.txt": "arrays\n"}, *REQUIREMENTS)
        assert {"arrays", "dask", "distributed", "dask-gateway"} <= versions(tiny, built).keys()

    async def test_a_recipe_with_everything_is_resolved_once(self, tiny: Bench) -> None:
        _, log = await tiny.build({"requirements.txt": "dask-gateway\n"}, *REQUIREMENTS)
        assert "The packages ask for Dask" not in log.text

    async def test_other_recipes_get_nothing(self, tiny: Bench) -> None:
        built, _ = await tiny.build({"requirements.txt": "alpha\n"}, *REQUIREMENTS)
        assert versions(tiny, built).keys() == {"alpha", "ipykernel", "pip"}

    async def test_an_environment_with_its_own_server_gets_both(self, tiny: Bench) -> None:
        for name in ("jupyterlab", "nbgitpuller"):
            wheel(tiny.index.directory, name, "4.0")
        wheel(tiny.index.directory, "jupyterhub", "5.5")
        config = replace(tiny.config, full_requirements=("jupyterhub", "jupyterlab", "nbgitpuller"))
        bench = replace(tiny, config=config, builder=ProcessBuilder(config))
        built, _ = await bench.build({"requirements.txt": "jupyterlab\ndask\n"}, *REQUIREMENTS)
        assert built.mode is SessionMode.FULL
        assert {"jupyterhub", "nbgitpuller", "distributed", "dask-gateway"} <= versions(bench, built).keys()


class TestLocks:
    """What a repository locked stays as it is, hashes too; what Dask needs comes beside it."""

    async def test_requirements_with_hashes(self, real: Bench) -> None:
        text = f"dask=={OLDER} \\\n    --hash=sha256:{digest(f'dask-{OLDER}')}\n"
        built, _ = await real.build({"requirements.txt": text}, *REQUIREMENTS)
        assert complete(real, built)
        with pytest.raises(BuildFailed, match="dask does not have the hash"):
            await real.build({"requirements.txt": text.replace(digest(f"dask-{OLDER}"), "1" * 64)}, *REQUIREMENTS)

    async def test_a_pipfile_lock(self, real: Bench) -> None:
        entry = {"version": f"=={OLDER}", "hashes": [f"sha256:{digest(f'dask-{OLDER}')}"]}
        text = json.dumps({"_meta": {"sources": []}, "default": {"dask": entry}, "develop": {}})
        built, _ = await real.build({"Pipfile.lock": text}, RecipeKind.PIPFILE_LOCK, "Pipfile.lock")
        assert complete(real, built)

    async def test_a_pylock(self, real: Bench) -> None:
        name = f"dask-{OLDER}-py3-none-any.whl"
        text = (
            'lock-version = "1.0"\ncreated-by = "test"\n'
            f'[[packages]]\nname = "dask"\nversion = "{OLDER}"\nwheels = [{{name = "{name}", '
            f'url = "{real.index.url}../files/{name}", hashes = {{sha256 = "{digest(f"dask-{OLDER}")}"}}}}]\n'
        )
        built, _ = await real.build({"pylock.toml": text}, RecipeKind.PYLOCK, "pylock.toml")
        assert complete(real, built)

    async def test_a_uv_lock(self, real: Bench, uv_project: dict[str, str]) -> None:
        built, _ = await real.build(uv_project, RecipeKind.UV_LOCK, "uv.lock")
        assert complete(real, built)


class TestChosen:
    async def test_an_empty_recipe_gets_everything(self, real: Bench) -> None:
        built, _ = await real.build({"README": "x"}, **CHOSEN)
        assert set(PACKAGES) <= versions(real, built).keys()

    async def test_what_the_recipe_pins_stays_pinned(self, real: Bench) -> None:
        built, _ = await real.build({"requirements.txt": f"dask=={OLDER}\n"}, *REQUIREMENTS, **CHOSEN)
        assert complete(real, built)

    async def test_a_person_and_a_recipe_that_ask_for_the_same_share_an_environment(self, tiny: Bench) -> None:
        asked, _ = await tiny.build({"requirements.txt": "dask\n"}, *REQUIREMENTS)
        chosen, _ = await tiny.build({"requirements.txt": "dask\n"}, *REQUIREMENTS, **CHOSEN)
        assert asked.reference == chosen.reference


class TestVersionsThatCannotWork:
    @pytest.mark.parametrize("chosen", [{}, CHOSEN], ids=["asked", "chosen"])
    async def test_pins_that_exclude_each_other_are_named_with_their_lines(self, real: Bench, chosen: dict) -> None:
        text = f"humanize\ndistributed==2026.8.0\n# dask==1\ndask=={OLDER}\n"
        with pytest.raises(BuildFailed) as failure:
            await real.build({"requirements.txt": text}, *REQUIREMENTS, **chosen)
        told = failure.value
        assert told.message.startswith("These requirements do not fit together with Dask: ")
        assert {f"dask=={OLDER}", "distributed==2026.8.0"} == set(told.message[:-1].partition(": ")[2].split(", "))
        assert "requirements.txt line 2 or requirements.txt line 4" in told.hint
        assert "/srv" not in told.message + told.hint

    async def test_a_pin_of_something_else_that_dask_cannot_live_with_is_named(self, tiny: Bench) -> None:
        wheel(tiny.index.directory, "alpha", "2.0")
        dask_wheels(tiny.index.directory, requires=["alpha>=2"])
        with pytest.raises(BuildFailed) as failure:
            await tiny.build({"requirements.txt": "alpha<2\n"}, *REQUIREMENTS, **CHOSEN)
        assert failure.value.message.startswith("These requirements do not fit together with Dask: ")
        assert "alpha<2" in failure.value.message

    async def test_packages_that_fit_and_cannot_be_imported_are_refused(self, tiny: Bench) -> None:
        dask_wheels(tiny.index.directory, preload="from distributed import what_went_away\n")
        with pytest.raises(BuildFailed) as failure:
            await tiny.build({"requirements.txt": "dask==1.0\n"}, *REQUIREMENTS)
        assert failure.value.message == (
            "The packages of this environment cannot run Dask together: distributed 1.0 and dask-gateway 5.0."
        )
        assert "requirements.txt line 1" in failure.value.hint
        assert await tiny.builder.references() == frozenset()

    async def test_the_log_of_such_a_build_says_what_could_not_be_imported(self, tiny: Bench) -> None:
        dask_wheels(tiny.index.directory, preload="from distributed import what_went_away\n")
        log = MemoryLog()
        made = request(tiny.directory, {"README": "x"}, RecipeKind.NONE, None, **CHOSEN)
        with pytest.raises(BuildFailed) as failure:
            await tiny.builder.build(made, log)
        assert "what_went_away" in log.text
        assert failure.value.hint

    async def test_the_hint_for_a_lock_is_to_make_it_anew(self, tiny: Bench) -> None:
        dask_wheels(tiny.index.directory, preload="import what_is_not_there\n")
        lock = json.dumps({"_meta": {}, "default": {"dask": {"version": "==1.0"}}, "develop": {}})
        files = {"Pipfile": '[packages]\ndask = "==1.0"\n', "Pipfile.lock": lock}
        with pytest.raises(BuildFailed) as failure:
            await tiny.build(files, RecipeKind.PIPFILE_LOCK, "Pipfile.lock")
        assert "Pipfile line 2, then make Pipfile.lock anew" in failure.value.hint

    async def test_the_repository_cannot_answer_the_proof(self, tiny: Bench) -> None:
        """A module of the repository with the name of one of Dask's is not what gets imported."""
        dask_wheels(tiny.index.directory, preload="import what_is_not_there\n")
        files = {"requirements.txt": "dask\n", "dask_gateway/scheduler_preload.py": "", "dask_gateway/__init__.py": ""}
        with pytest.raises(BuildFailed, match="cannot run Dask together"):
            await tiny.build(files, *REQUIREMENTS, tree="0" * 40)


class TestOff:
    async def test_a_recipe_that_asks_for_dask_gets_what_it_says_and_no_proof(self, tiny: Bench) -> None:
        dask_wheels(tiny.index.directory, preload="import what_is_not_there\n")
        config = replace(tiny.config, dask_requirements=())
        bench = replace(tiny, config=config, builder=ProcessBuilder(config))
        built, _ = await bench.build({"requirements.txt": "dask\n"}, *REQUIREMENTS)
        assert versions(bench, built).keys() == {"dask", "ipykernel", "pip"}
        whole, _ = await bench.build({"requirements.txt": "dask-gateway\n"}, *REQUIREMENTS)
        assert "dask-gateway" in versions(bench, whole)

    def test_the_fingerprint_is_as_it_was_before_there_was_dask(self, tmp_path: Path) -> None:
        config = ProcessBuilderConfig.from_environment(tmp_path, {}, full_requirements=("jupyterhub", "jupyterlab"))
        assert ProcessBuilder(config).fingerprint == "process-1-e2455ed6459eddb5"


def test_the_packages_are_part_of_the_fingerprint(tmp_path: Path) -> None:
    def fingerprint(*packages: str) -> str:
        config = ProcessBuilderConfig.from_environment(tmp_path, {}, dask_requirements=packages)
        return ProcessBuilder(config).fingerprint

    assert len({fingerprint(), fingerprint("dask"), fingerprint("dask", "bokeh"), fingerprint("bokeh")}) == 4


def test_a_package_that_is_no_requirement_is_refused_at_start(tmp_path: Path) -> None:
    config = ProcessBuilderConfig.from_environment(tmp_path, {}, dask_requirements=("dask", "--index-url x"))
    with pytest.raises(ConfigurationInvalid, match=r"LauncherDask\.packages"):
        ProcessBuilder(config)
