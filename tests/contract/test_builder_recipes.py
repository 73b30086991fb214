"""Every kind of recipe, built for real from an index of tiny packages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from launcher.errors import BuildFailed, PythonUnavailable, RecipeInvalid
from launcher.models import BuiltEnvironment, RecipeKind, SessionMode
from tests.support.builds import Bench, git
from tests.support.container_builds import BOTH, bench_of, container_site, runtime
from tests.support.engine import base_image, container_engine
from tests.support.wheels import project, sdist, wheel

__all__ = ["base_image", "bench_of", "container_engine", "container_site", "runtime"]  # fixtures

PYTHON = "/srv/environment/bin/python"
REQUIREMENTS = (RecipeKind.REQUIREMENTS, "requirements.txt")


@pytest.fixture
def bench(bench_of: Callable[..., AbstractContextManager[Bench]]) -> Iterator[Bench]:
    with bench_of() as bench:
        wheel(bench.index.directory, "beta", requires=["alpha"])
        wheel(bench.index.directory, "beta", "2.0", requires=["alpha"])
        yield bench


def packages(bench: Bench, built: BuiltEnvironment) -> set[str]:
    """What is installed besides what every environment gets."""
    meta = bench.meta(built)
    assert meta is not None
    return {one for one in meta.packages if not one.startswith(("ipykernel==", "pip=="))}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@BOTH
async def test_no_recipe_gives_a_python_with_a_kernel(bench: Bench) -> None:
    built, _ = await bench.build({"README": "x"})
    assert packages(bench, built) == set()
    assert built.mode is SessionMode.KERNEL
    spec = json.loads(bench.run(built, "cat", "/srv/environment/share/jupyter/kernels/python3/kernel.json").stdout)
    assert spec["argv"] == [PYTHON, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    assert bench.run(built, *spec["argv"]).stdout == "a kernel\n"


async def test_an_environment_runs_from_where_it_is_mounted_and_cannot_be_changed(bench: Bench) -> None:
    built, _ = await bench.build({"requirements.txt": "beta\n"}, *REQUIREMENTS)
    answer = bench.run(built, PYTHON, "-c", "import sys, beta; print(sys.prefix, beta.__version__)")
    assert answer.stdout == "/srv/environment 2.0\n"
    assert bench.run(built, "/bin/sh", "-c", "echo x > /srv/environment/x").returncode != 0


async def test_nothing_of_the_machine_is_written_into_an_environment(bench: Bench) -> None:
    built, _ = await bench.build({"requirements.txt": "beta\n"}, *REQUIREMENTS)
    found = bench.run(built, "grep", "--recursive", "--files-with-matches", str(bench.directory), "/srv/environment")
    assert (found.returncode, found.stdout) == (1, "")


async def test_requirements_with_includes_and_constraints(bench: Bench) -> None:
    files = {"requirements.txt": "-r more.txt\n-c limits.txt\n", "more.txt": "beta\n", "limits.txt": "beta<2\n"}
    built, _ = await bench.build(files, *REQUIREMENTS)
    assert packages(bench, built) == {"alpha==1.0", "beta==1.0"}


async def test_requirements_in_a_binder_directory(bench: Bench) -> None:
    built, _ = await bench.build(
        {"binder/requirements.txt": "alpha\n"}, RecipeKind.REQUIREMENTS, "binder/requirements.txt", directory="binder"
    )
    assert packages(bench, built) == {"alpha==1.0"}


async def test_a_repositorys_own_kernel_version_wins(bench: Bench) -> None:
    wheel(bench.index.directory, "ipykernel", "6.0", files={"ipykernel_launcher.py": "print('an old kernel')\n"})
    built, _ = await bench.build({"requirements.txt": "ipykernel==6.0\n"}, *REQUIREMENTS)
    assert bench.run(built, PYTHON, "-m", "ipykernel_launcher").stdout == "an old kernel\n"


async def test_promised_hashes_are_kept(bench: Bench) -> None:
    right = digest(bench.index.directory / "alpha-1.0-py3-none-any.whl")
    built, _ = await bench.build({"requirements.txt": f"alpha==1.0 --hash=sha256:{right}\n"}, *REQUIREMENTS)
    assert packages(bench, built) == {"alpha==1.0"}
    with pytest.raises(BuildFailed, match="alpha does not have the hash"):
        await bench.build({"requirements.txt": f"alpha==1.0 \\\n  --hash=sha256:{'0' * 64}\n"}, *REQUIREMENTS)


async def test_a_package_that_brings_a_server_makes_a_full_environment(bench: Bench) -> None:
    wheel(bench.index.directory, "jupyter_server", "2.0")
    wheel(bench.index.directory, "some_extension", requires=["jupyter_server"])
    for name in ("jupyterlab", "nbgitpuller"):
        wheel(bench.index.directory, name, "4.0")
    wheel(bench.index.directory, "jupyterhub", "5.5")
    built, log = await bench.build({"requirements.txt": "some-extension\n"}, *REQUIREMENTS)
    assert built.mode is SessionMode.FULL
    assert {"jupyterhub==5.5", "jupyterlab==4.0", "nbgitpuller==4.0"} <= packages(bench, built)
    assert "inside them" in log.text


@BOTH
async def test_a_source_distribution_is_built(bench: Bench) -> None:
    sdist(bench.index.directory, "gamma", hook="print('building gamma')")
    built, _ = await bench.build({"requirements.txt": "gamma\nalpha\n"}, *REQUIREMENTS)
    assert packages(bench, built) == {"alpha==1.0", "gamma==1.0"}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_an_editable_project_is_read_from_the_repository(bench: Bench, *, dynamic: bool) -> None:
    files = {"requirements.txt": "-e .\n", **project("mine", requires=["alpha"], dynamic=dynamic)}
    if dynamic:
        files |= project("mine", requires=["alpha"])
    built, _ = await bench.build(files, *REQUIREMENTS, installs_project=True, editable=True)
    meta = bench.meta(built)
    assert meta is not None
    assert meta.editable
    assert packages(bench, built) == {"alpha==1.0", "mine==1.0"}
    assert bench.run(built, "find", "/srv/environment/lib", "-name", "mine.py").stdout == ""


async def test_an_editable_project_with_compiled_parts_is_installed_plainly(bench: Bench) -> None:
    files = {"requirements.txt": "-e .\n", **project("mine", hook="open('mine_native.so', 'w').close()")}
    built, log = await bench.build(files, *REQUIREMENTS, installs_project=True, editable=True)
    meta = bench.meta(built)
    assert meta is not None
    assert not meta.editable
    assert "plainly" in log.text
    assert bench.run(built, PYTHON, "-c", "import mine").returncode == 0


async def test_a_project_beside_requirements_is_installed_with_what_it_needs(bench: Bench) -> None:
    files = {"requirements.txt": "beta<2\n", **project("mine", requires=["alpha"])}
    built, _ = await bench.build(files, *REQUIREMENTS, installs_project=True, options={"implicit": "."})
    assert packages(bench, built) == {"alpha==1.0", "beta==1.0", "mine==1.0"}


async def test_a_pyproject_with_dependencies_and_a_group(bench: Bench) -> None:
    files = project("mine", requires=["alpha"])
    files["pyproject.toml"] += '[dependency-groups]\nbinder = ["beta"]\n'
    built, _ = await bench.build(
        files, RecipeKind.PYPROJECT, "pyproject.toml", installs_project=True, options={"groups": "binder"}
    )
    assert packages(bench, built) == {"alpha==1.0", "beta==2.0", "mine==1.0"}


async def test_a_dependency_group_without_a_project(bench: Bench) -> None:
    files = {"binder/pyproject.toml": '[dependency-groups]\nbinder = ["beta==1.0"]\n'}
    built, _ = await bench.build(
        files, RecipeKind.DEPENDENCY_GROUP, "binder/pyproject.toml", options={"groups": "binder"}
    )
    assert packages(bench, built) == {"alpha==1.0", "beta==1.0"}


async def test_two_projects_with_equal_requirements_do_not_share(bench: Bench) -> None:
    one, _ = await bench.build(project("mine"), RecipeKind.PYPROJECT, "pyproject.toml", installs_project=True)
    changed = {**project("mine"), "mine.py": "__version__ = 'changed'\n"}
    other, _ = await bench.build(changed, RecipeKind.PYPROJECT, "pyproject.toml", installs_project=True)
    assert one.lock == other.lock
    assert one.reference != other.reference


async def test_a_pipfile(bench: Bench) -> None:
    text = '[packages]\nalpha = "*"\n[dev-packages]\nbeta = {version = "<2", markers = "python_version > \'3\'"}\n'
    built, _ = await bench.build({"Pipfile": text}, RecipeKind.PIPFILE, "Pipfile")
    assert packages(bench, built) == {"alpha==1.0", "beta==1.0"}


async def test_a_pipfile_lock_with_its_hashes(bench: Bench) -> None:
    right = digest(bench.index.directory / "beta-1.0-py3-none-any.whl")
    alpha = digest(bench.index.directory / "alpha-1.0-py3-none-any.whl")

    def lock(beta: str) -> str:
        default = {"beta": {"version": "==1.0", "hashes": [f"sha256:{beta}"], "index": "pypi"}}
        develop = {
            "alpha": {"version": "==1.0", "hashes": [f"sha256:{alpha}"]},
            "gone": {"version": "==1", "markers": "python_version < '3'"},
        }
        return json.dumps({"_meta": {"sources": []}, "default": default, "develop": develop})

    built, _ = await bench.build({"Pipfile.lock": lock(right)}, RecipeKind.PIPFILE_LOCK, "Pipfile.lock")
    assert packages(bench, built) == {"alpha==1.0", "beta==1.0"}
    with pytest.raises(BuildFailed, match="beta does not have the hash"):
        await bench.build({"Pipfile.lock": lock("1" * 64)}, RecipeKind.PIPFILE_LOCK, "Pipfile.lock")


async def test_a_pylock(bench: Bench) -> None:
    name = "beta-1.0-py3-none-any.whl"
    text = (
        'lock-version = "1.0"\ncreated-by = "test"\n'
        f'[[packages]]\nname = "beta"\nversion = "1.0"\n'
        f'wheels = [{{name = "{name}", url = "{bench.index.url}../files/{name}", '
        f'hashes = {{sha256 = "{digest(bench.index.directory / name)}"}}}}]\n'
        '[[packages]]\nname = "gone"\nversion = "1"\nmarker = "python_version < \'3\'"\n'
    )
    built, _ = await bench.build({"pylock.toml": text}, RecipeKind.PYLOCK, "pylock.toml")
    assert packages(bench, built) == {"alpha==1.0", "beta==1.0"}


async def test_a_uv_lock_is_used_as_it_is_and_refused_when_it_is_stale(bench: Bench) -> None:
    pyproject = '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.8"\ndependencies = ["beta"]\n'
    pyproject += f'[[tool.uv.index]]\nurl = "{bench.index.url}"\ndefault = true\n'
    registry = bench.index.url

    def entry(name: str, depends: str) -> str:
        file = bench.index.directory / f"{name}-1.0-py3-none-any.whl"
        return (
            f'[[package]]\nname = "{name}"\nversion = "1.0"\nsource = {{ registry = "{registry}" }}\n{depends}'
            f'wheels = [{{ url = "http://{bench.index.host}/files/{file.name}", hash = "sha256:{digest(file)}" }}]\n'
        )

    lock = (
        'version = 1\nrevision = 3\nrequires-python = ">=3.8"\n'
        + entry("alpha", "")
        + entry("beta", 'dependencies = [{ name = "alpha" }]\n')
        + '[[package]]\nname = "mine"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "beta" }]\n[package.metadata]\nrequires-dist = [{ name = "beta" }]\n'
    )
    files = {"pyproject.toml": pyproject, "uv.lock": lock}
    built, _ = await bench.build(files, RecipeKind.UV_LOCK, "uv.lock")
    assert packages(bench, built) == {"alpha==1.0", "beta==1.0"}
    stale = {**files, "pyproject.toml": pyproject.replace('["beta"]', '["beta", "alpha>=2"]')}
    with pytest.raises(RecipeInvalid, match=r"uv\.lock") as refusal:
        await bench.build(stale, RecipeKind.UV_LOCK, "uv.lock")
    assert "uv lock" in refusal.value.hint


@BOTH
async def test_a_git_requirement_is_fetched_through_the_proxy(bench: Bench) -> None:
    """Over dumb http from the index's own host, which the operator allows."""
    from tests.support.builds import commit

    snapshot = commit(bench.directory / "delta", project("delta"))
    bare = bench.index.directory.parent / "served" / "delta.git"
    git(snapshot.cache.parent, "clone", "--quiet", "--bare", ".", str(bare))
    git(bare, "update-server-info")
    bench.index.static = bare.parent
    line = f"delta @ git+http://{bench.index.host}/static/delta.git@{snapshot.commit}\n"
    built, _ = await bench.build({"requirements.txt": line}, *REQUIREMENTS)
    assert bench.run(built, PYTHON, "-c", "import delta").returncode == 0


@BOTH
async def test_post_build_files_are_kept_for_sessions_and_others_are_not(bench: Bench) -> None:
    built, log = await bench.post_build(
        "pwd; echo $PATH | cut -d: -f1; which python; mkdir -p data ~/.config .git; echo 1 > data/made; "
        "echo 2 > ~/.config/made; echo 3 > given; echo 4 > .git/made; mkdir -p ~/.cache; echo 5 > ~/.cache/x",
        given="0",
    )
    assert "/srv/repository\n/srv/environment/bin\n/srv/environment/bin/python\n" in log.text
    assert bench.kept(built) == {"repository/data/made", "home/.config/made"}


@BOTH
async def test_a_failing_post_build_fails_the_build_with_its_words_in_the_log(bench: Bench) -> None:
    with pytest.raises(BuildFailed, match="postBuild failed") as failure:
        await bench.post_build("echo the reason; exit 7")
    assert failure.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no-such-thing\n", "No package named no-such-thing"),
        ("alpha==9.9\n", "no version alpha==9.9"),
        ("alpha\n\nfoo bar\n", "requirements.txt line 3"),
        ("alpha<1\nalpha>=1\n", "contradict|no version"),
    ],
)
async def test_what_is_wrong_with_requirements_is_said_in_a_sentence(bench: Bench, text: str, words: str) -> None:
    with pytest.raises(BuildFailed, match=words) as failure:
        await bench.build({"requirements.txt": text}, *REQUIREMENTS)
    assert str(bench.directory) not in failure.value.message + failure.value.hint
    assert "/srv" not in failure.value.message + failure.value.hint


@BOTH
async def test_a_python_that_is_not_here_is_refused_with_those_that_are(bench: Bench) -> None:
    with pytest.raises(PythonUnavailable, match=r"3\.99") as refusal:
        await bench.build({"README": "x"}, python="3.99")
    assert "It has Python 3." in refusal.value.hint


async def test_the_own_python_is_taken_when_it_fits(bench: Bench) -> None:
    import sys

    built, _ = await bench.build({"README": "x"}, python=f">={sys.version_info.major}.{sys.version_info.minor}")
    assert built.python == ".".join(map(str, sys.version_info[:3]))
