"""Which commits of a real repository build again, and which do not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from launcher.environments import detect, environment_key, visible_files
from launcher.errors import RecipeInvalid
from launcher.models import Recipe
from launcher.sources.tree import GitTree

CONTENT = {"index.ipynb": "{}", "README.md": "hello", "data/x.csv": "1"}
SETUP = "from setuptools import setup, find_packages\nsetup(name='p', packages=find_packages())\n"
PROJECT = (
    '[project]\nname = "p"\nversion = "1"\nreadme = "README.md"\n'
    '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
)


class Repository:
    """A real git repository that takes commits of whole sets of files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._git("init", "-q", "-b", "main")

    def _git(self, *arguments: str) -> str:
        environment = {
            "PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(self.path), "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.test",
            "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.test",
        }  # fmt: skip
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    async def commit(self, files: dict[str, str]) -> GitTree:
        """A commit of exactly these files; a key ending in ``@`` is a symlink, one in ``*`` is executable."""
        for path in self._git("ls-files").splitlines():
            (self.path / path).unlink()
        for name, text in files.items():
            path = self.path / name.rstrip("@*")
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("@"):
                path.symlink_to(text)
                continue
            path.write_text(text)
            path.chmod(0o755 if name.endswith("*") else 0o644)
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "x")
        return await GitTree.load(self.path / ".git", self._git("rev-parse", "HEAD"))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


RECIPES: dict[str, dict[str, str]] = {
    "nothing": {},
    "requirements": {"requirements.txt": "numpy\n"},
    "binder": {"binder/requirements.txt": "numpy\n", "binder/apt.txt": "curl\n", "binder/start": "exec $@\n"},
    "included": {"requirements.txt": "-r more/dev.txt\n-c pins.txt\n", "more/dev.txt": "scipy\n", "pins.txt": "a==1\n"},
    "wheel": {"requirements.txt": "./wheels/foo-1-py3-none-any.whl\n", "wheels/foo-1-py3-none-any.whl": "w"},
    "links": {"requirements.txt": "--find-links wheels\nfoo\n", "wheels/foo-1-py3-none-any.whl": "w"},
    "runtime": {"runtime.txt": "python-3.11\n", "requirements.txt": "numpy\n"},
    "editable": {"requirements.txt": "-e .\n", "setup.py": SETUP, "p/__init__.py": "", "p/data.json": "1"},
    "plain": {"requirements.txt": ".\n", "pyproject.toml": PROJECT, "p/__init__.py": ""},
    "implicit": {"pyproject.toml": PROJECT, "src/p/__init__.py": ""},
    "subproject": {"requirements.txt": "-e ./pkg\n", "pkg/setup.py": SETUP, "pkg/p/__init__.py": ""},
    "post build": {"postBuild": "python tool.py\n", "tool.py": "1\n"},
    "uv": {"uv.lock": "version = 1\n", "pyproject.toml": '[project]\nname = "p"\nversion = "1"\n'},
    "pipfile": {"Pipfile": "", "Pipfile.lock": "{}"},
    "dockerfile": {"Dockerfile": "FROM x\nCOPY . .\n"},
}


async def key_of(repository: Repository, files: dict[str, str]) -> str:
    return environment_key(detect(await repository.commit({**CONTENT, **files})), "builder 1")


@pytest.mark.parametrize(
    "name",
    ["nothing", "requirements", "binder", "included", "wheel", "links", "runtime", "uv", "pipfile"],
)
@pytest.mark.parametrize(
    "change",
    [
        {"index.ipynb": '{"cells": []}'},
        {"README.md": "bye"},
        {"data/x.csv": "2"},
        {"analysis/new.ipynb": "{}", "helper.py": "x = 1"},
        {"link@": "/etc/passwd"},
    ],
)
async def test_a_commit_to_content_keeps_the_environment(repository, name, change):
    before = await key_of(repository, RECIPES[name])
    assert await key_of(repository, {**RECIPES[name], **change}) == before


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("nothing", {"requirements.txt": "numpy\n"}),
        ("requirements", {"requirements.txt": "numpy==2\n"}),
        ("requirements", {"postBuild": ""}),
        ("requirements", {"apt.txt": "curl"}),
        ("requirements", {"binder/requirements.txt": "numpy\n"}),
        ("requirements", {"pyproject.toml": '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.12"\n'}),
        ("binder", {"binder/requirements.txt": "scipy\n"}),
        ("binder", {"binder/apt.txt": "less\n"}),
        ("included", {"more/dev.txt": "pandas\n"}),
        ("included", {"pins.txt": "a==2\n"}),
        ("wheel", {"wheels/foo-1-py3-none-any.whl": "other"}),
        ("links", {"wheels/foo-1-py3-none-any.whl": "other"}),
        ("links", {"wheels/foo-2-py3-none-any.whl": "new"}),
        ("runtime", {"runtime.txt": "python-3.12\n"}),
        ("editable", {"p/__init__.py": "x = 1"}),
        ("editable", {"p/data.json": "2"}),
        ("editable", {"p/new.py": ""}),
        ("editable", {"p/data.json*": "1"}),
        ("editable", {"README.md": "setup.py may read it"}),
        ("plain", {"p/__init__.py": "x = 1"}),
        ("plain", {"README.md": "it is in the metadata"}),
        ("implicit", {"src/p/__init__.py": "x = 1"}),
        ("implicit", {"hatch_build.py": "x = 1"}),
        ("subproject", {"pkg/p/__init__.py": "x = 1"}),
        ("subproject", {"README.md": "../README.md is within reach"}),
        ("subproject", {"index.ipynb": "also within reach"}),
        ("post build", {"tool.py": "2\n"}),
        ("post build", {"index.ipynb": "postBuild may run it"}),
        ("post build", {"tool.py*": "1\n"}),
        ("uv", {"uv.lock": "version = 1\nrevision = 2\n"}),
        ("uv", {"uv.toml": "native-tls = true\n"}),
        ("pipfile", {"Pipfile.lock": '{"default": {}}'}),
        ("dockerfile", {"index.ipynb": "COPY may take it"}),
    ],
)
async def test_a_commit_within_reach_builds_again(repository, name, change):
    before = await key_of(repository, RECIPES[name])
    files = {**RECIPES[name], **change}
    for path in [path.rstrip("*") for path in change if path.endswith("*")]:
        del files[path]
    assert await key_of(repository, files) != before


async def test_what_start_holds_is_not_part_of_the_environment(repository):
    before = await key_of(repository, {**RECIPES["binder"]})
    assert await key_of(repository, {**RECIPES["binder"], "binder/start": "export X=1; exec $@"}) == before


# -- notebooks beside a local project


@pytest.mark.parametrize("name", ["editable", "plain", "implicit"])
@pytest.mark.parametrize("path", ["index.ipynb", "analysis/deep/a.ipynb"])
async def test_a_notebook_no_packaging_could_take_keeps_the_environment_and_is_kept_from_the_build(
    repository, name, path
):
    before = await key_of(repository, RECIPES[name])
    tree = await repository.commit({**CONTENT, **RECIPES[name], path: '{"cells": []}'})
    recipe = detect(tree)
    assert environment_key(recipe, "builder 1") == before
    assert set(visible_files(recipe, tree)) == {path for path in tree.files() if not path.endswith(".ipynb")}


HATCH = PROJECT + "[tool.hatch.build]\n"


@pytest.mark.parametrize(
    "files",
    [
        {"p/tutorial.ipynb": "{}"},
        {"p/sub/tutorial.ipynb": "{}"},
        {"tools/run.py": "", "tools/a.ipynb": "{}"},
        {"pyproject.toml": PROJECT.replace("README.md", "a.ipynb"), "a.ipynb": "{}"},
        {"pyproject.toml": PROJECT + "# data/ is shipped\n", "data/a.ipynb": "{}"},
        {"pyproject.toml": HATCH + 'include = ["*"]\n', "a.ipynb": "{}"},
        {"pyproject.toml": HATCH + 'artifacts = ["*"]\n', "a.ipynb": "{}"},
        {"pyproject.toml": HATCH + '[tool.hatch.build.targets.wheel.force-include]\n"." = "x"\n', "a.ipynb": "{}"},
        {"pyproject.toml": HATCH + "[tool.hatch.build.hooks.custom]\n", "a.ipynb": "{}"},
        {"pyproject.toml": PROJECT.replace('["hatchling"]', '["hatchling", "plugin"]'), "a.ipynb": "{}"},
        {"pyproject.toml": PROJECT.replace("hatchling.build", "own_backend"), "a.ipynb": "{}"},
        {"pyproject.toml": PROJECT + 'backend-path = ["."]\n', "a.ipynb": "{}"},
        {"setup.py": "import glob\n" + SETUP, "a.ipynb": "{}"},
        {"setup.py": SETUP + "# a.ipynb\n", "a.ipynb": "{}"},
        {"setup.py": SETUP.replace("name=", "package_data={'p': ['*']}, name="), "a.ipynb": "{}"},
        {"setup.py": SETUP, "MANIFEST.in": "recursive-include . *\n", "a.ipynb": "{}"},
        {"setup.py": SETUP, "setup.cfg": "[options.data_files]\n", "a.ipynb": "{}"},
        {"__init__.py": "", "a.ipynb": "{}"},
        {"postBuild": "", "a.ipynb": "{}"},
        {"link@": "p", "a.ipynb": "{}"},
    ],
)
async def test_a_notebook_some_packaging_could_take_builds_again(repository, files):
    base = {"requirements.txt": "-e .\n", "pyproject.toml": PROJECT, "p/__init__.py": "", **files}
    (notebook,) = [path for path in files if path.endswith(".ipynb")]
    before = await key_of(repository, base)
    assert await key_of(repository, {**base, notebook: '{"cells": []}'}) != before


# -- links


@pytest.mark.parametrize(
    "name", ["requirements.txt", "binder/requirements.txt", "postBuild", "apt.txt", "pyproject.toml"]
)
async def test_a_recipe_file_that_is_a_symlink_is_refused_by_name(repository, name):
    tree = await repository.commit({f"{name}@": "/etc/passwd"})
    with pytest.raises(RecipeInvalid, match="is a symlink") as caught:
        detect(tree)
    assert name in caught.value.message
    assert "passwd" not in caught.value.message


async def test_an_include_through_a_symlinked_directory_is_refused(repository):
    tree = await repository.commit({"requirements.txt": "-r deps/x.txt", "real/x.txt": "a", "deps@": "real"})
    with pytest.raises(RecipeInvalid, match="deps is a symlink"):
        detect(tree)


async def test_a_symlink_named_binder_is_not_followed(repository):
    recipe: Recipe = detect(await repository.commit({"binder@": "../..", "requirements.txt": "numpy"}))
    assert recipe.directory == ""
