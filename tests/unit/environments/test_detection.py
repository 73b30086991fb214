"""Which file decides a recipe, table by table."""

from __future__ import annotations

import pytest

from launcher.environments import detect
from launcher.errors import RecipeInvalid
from launcher.models import Recipe, RecipeKind
from tests.unit.environments.trees import MemoryTree

PROJECT = '[project]\nname = "p"\nversion = "1"\n'
BUILDABLE = PROJECT + '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
UV_LOCK = 'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "p"\nsource = { virtual = "." }\n'
PYLOCK = 'lock-version = "1.0"\ncreated-by = "t"\npackages = []\n'
PIPFILE_LOCK = '{"_meta": {}, "default": {}, "develop": {}}'

EXAMPLES = {
    "Dockerfile": "FROM x\n",
    "Project.toml": "",
    "JuliaProject.toml": "",
    "default.nix": "",
    "runtime.txt": "r-4.4-2025-01-31\n",
    "DESCRIPTION": "Package: x\n",
    "environment.yml": "dependencies:\n- numpy\n",
    "environment.yaml": "dependencies:\n- numpy\n",
    "Pipfile.lock": PIPFILE_LOCK,
    "Pipfile": "",
    "requirements.txt": "numpy\n",
    "pylock.toml": PYLOCK,
    "setup.py": "import setuptools; setuptools.setup()\n",
    "pyproject.toml": PROJECT,
}
IN_ORDER = [
    ("Dockerfile", RecipeKind.DOCKERFILE),
    ("JuliaProject.toml", RecipeKind.JULIA),
    ("Project.toml", RecipeKind.JULIA),
    ("default.nix", RecipeKind.NIX),
    ("runtime.txt", RecipeKind.R),
    ("DESCRIPTION", RecipeKind.R),
    ("environment.yml", RecipeKind.CONDA),
    ("environment.yaml", RecipeKind.CONDA),
    ("Pipfile.lock", RecipeKind.PIPFILE_LOCK),
    ("Pipfile", RecipeKind.PIPFILE),
    ("requirements.txt", RecipeKind.REQUIREMENTS),
    ("pylock.toml", RecipeKind.PYLOCK),
    ("setup.py", RecipeKind.SETUP_PY),
    ("pyproject.toml", RecipeKind.PYPROJECT),
]
ONLY_IN_ROOT = {"DESCRIPTION", "setup.py"}


def recipe_of(entries: dict[str, str | bytes]) -> Recipe:
    return detect(MemoryTree(entries))


@pytest.mark.parametrize("directory", ["", "binder", ".binder"])
@pytest.mark.parametrize(("name", "kind"), IN_ORDER)
def test_each_file_alone_decides_its_kind_wherever_it_may_lie(name, kind, directory):
    path = f"{directory}/{name}" if directory else name
    recipe = recipe_of({path: EXAMPLES[name], "index.ipynb": "{}"})
    if directory and name in ONLY_IN_ROOT:
        assert (recipe.kind, recipe.main) == (RecipeKind.NONE, None)
    else:
        assert (recipe.kind, recipe.main, recipe.directory) == (kind, path, directory)


@pytest.mark.parametrize(
    ("winner", "loser"),
    [(IN_ORDER[a], IN_ORDER[b]) for a in range(len(IN_ORDER)) for b in range(a + 1, len(IN_ORDER))],
)
def test_of_two_files_the_one_repo2docker_tries_first_wins(winner, loser):
    recipe = recipe_of({winner[0]: EXAMPLES[winner[0]], loser[0]: EXAMPLES[loser[0]]})
    assert (recipe.main, recipe.kind) == winner


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_a_binder_directory_switches_the_root_off(name):
    recipe = recipe_of({name: EXAMPLES[name], "binder/start": "exec $@"})
    assert (recipe.kind, recipe.directory, recipe.start) == (RecipeKind.NONE, "binder", "binder/start")


def test_both_binder_directories_are_refused():
    with pytest.raises(RecipeInvalid, match=r"both a binder and a \.binder"):
        recipe_of({"binder/x": "", ".binder/x": ""})


@pytest.mark.parametrize("name", ["binder", ".binder", "binder@", ".binder@"])
def test_a_file_or_symlink_named_binder_is_no_binder_directory(name):
    recipe = recipe_of({name: "../..", "requirements.txt": "numpy"})
    assert (recipe.directory, recipe.main) == ("", "requirements.txt")


def test_a_uv_lock_decides_when_its_pyproject_is_beside_it():
    recipe = recipe_of({"uv.lock": UV_LOCK, "pyproject.toml": PROJECT, "setup.py": ""})
    assert recipe.kind is RecipeKind.UV_LOCK
    assert set(recipe.files) == {"uv.lock", "pyproject.toml"}
    assert recipe.tree is None
    assert not recipe.installs_project


@pytest.mark.parametrize("name", ["environment.yml", "Pipfile", "Pipfile.lock", "requirements.txt"])
def test_files_mybinder_reads_keep_their_meaning_beside_a_uv_lock(name):
    recipe = recipe_of({"uv.lock": UV_LOCK, "pyproject.toml": PROJECT, name: EXAMPLES[name]})
    assert recipe.main == name


def test_a_uv_lock_goes_before_the_pylock_exported_from_it():
    recipe = recipe_of({"uv.lock": UV_LOCK, "pyproject.toml": PROJECT, "pylock.toml": PYLOCK})
    assert recipe.kind is RecipeKind.UV_LOCK


def test_a_uv_lock_alone_says_what_is_missing():
    with pytest.raises(RecipeInvalid, match=r"uv\.lock has no pyproject\.toml"):
        recipe_of({"uv.lock": UV_LOCK})


def test_a_root_project_of_a_uv_lock_is_installed_and_keyed():
    lock = UV_LOCK.replace("virtual", "editable")
    recipe = recipe_of({"uv.lock": lock, "pyproject.toml": BUILDABLE, "p/__init__.py": ""})
    assert recipe.installs_project
    assert recipe.tree is not None
    assert not recipe.editable


def test_the_root_project_is_installed_after_requirements_as_on_mybinder():
    recipe = recipe_of({"requirements.txt": "numpy", "pyproject.toml": BUILDABLE})
    assert recipe.kind is RecipeKind.REQUIREMENTS
    assert recipe.installs_project
    assert recipe.options["implicit"] == "."
    assert recipe.tree is not None


def test_a_pyproject_that_only_configures_tools_is_no_recipe():
    assert recipe_of({"pyproject.toml": "[tool.ruff]\nline-length = 3\n"}).kind is RecipeKind.NONE


def test_dependencies_without_build_system_are_installed_and_the_project_is_not():
    recipe = recipe_of({"pyproject.toml": PROJECT + 'dependencies = ["numpy"]\n', "README.md": "x"})
    assert recipe.kind is RecipeKind.PYPROJECT
    assert not recipe.installs_project
    assert recipe.tree is None
    assert set(recipe.files) == {"pyproject.toml"}


def test_dynamic_dependencies_need_the_project_built():
    recipe = recipe_of({"pyproject.toml": PROJECT + 'dynamic = ["dependencies"]\n'})
    assert recipe.installs_project


@pytest.mark.parametrize(
    ("groups", "chosen"),
    [
        ('binder = ["a"]\nnotebook = ["b"]', "binder"),
        ('notebook = ["b"]\ndev = ["c"]', "notebook"),
        ('Binder = ["a"]', "Binder"),
        ('dev = ["c"]', None),
    ],
)
def test_the_session_group_is_binder_else_notebook(groups, chosen):
    recipe = recipe_of({"pyproject.toml": f"{PROJECT}[dependency-groups]\n{groups}\n"})
    assert recipe.options.get("groups") == chosen


def test_a_group_without_project_is_a_recipe_of_its_own():
    recipe = recipe_of({"pyproject.toml": '[dependency-groups]\nbinder = ["numpy"]\n'})
    assert recipe.kind is RecipeKind.DEPENDENCY_GROUP
    assert recipe.main == "pyproject.toml"


def test_a_lock_gets_uvs_default_groups_and_the_session_group():
    project = PROJECT + '[dependency-groups]\nbinder = ["a"]\ndev = ["b"]\ndocs = ["c"]\n'
    recipe = recipe_of({"uv.lock": UV_LOCK, "pyproject.toml": project})
    assert recipe.options["groups"] == "dev,binder"
    chosen = project + '[tool.uv]\ndefault-groups = ["docs"]\n'
    assert recipe_of({"uv.lock": UV_LOCK, "pyproject.toml": chosen}).options["groups"] == "docs,binder"


def test_a_dockerfile_silences_every_other_file():
    recipe = recipe_of({"Dockerfile": "", "apt.txt": "curl", "postBuild": "", "start": "", "runtime.txt": "???"})
    assert (recipe.apt, recipe.post_build, recipe.start, recipe.python) == (None, None, None, None)
    assert recipe.tree is not None


@pytest.mark.parametrize("directory", ["", "binder/"])
def test_apt_post_build_and_start_are_named(directory):
    names = {f"{directory}{name}": "x" for name in ("apt.txt", "postBuild", "start", "requirements.txt")}
    recipe = recipe_of(names)
    assert (recipe.apt, recipe.post_build, recipe.start) == tuple(
        f"{directory}{name}" for name in ("apt.txt", "postBuild", "start")
    )
    assert recipe.tree is not None
    assert f"{directory}start" not in recipe.files


def test_julias_old_format_is_refused_with_the_new_one_named():
    with pytest.raises(RecipeInvalid) as caught:
        recipe_of({"REQUIRE": "IJulia"})
    assert "Project.toml" in caught.value.hint


def test_r_without_a_date_gives_way_to_conda_only():
    assert recipe_of({"runtime.txt": "r-4.4", "environment.yml": ""}).kind is RecipeKind.CONDA
    assert recipe_of({"runtime.txt": "r-4.4", "requirements.txt": ""}).kind is RecipeKind.R


def test_install_r_alone_asks_for_nothing():
    assert recipe_of({"install.R": "x"}).kind is RecipeKind.NONE
    assert "install.R" in recipe_of({"install.R": "x", "DESCRIPTION": ""}).files


def test_the_summary_names_the_files_that_count():
    assert recipe_of({"README.md": ""}).summary == "no recipe: Python only"
    assert recipe_of({"requirements.txt": "", "apt.txt": ""}).summary == "requirements.txt, apt.txt"
