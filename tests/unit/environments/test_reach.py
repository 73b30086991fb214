"""What requirements files, projects and locks can reach."""

from __future__ import annotations

import pytest

from launcher.environments import detect, visible_files
from launcher.errors import RecipeInvalid, SourceTooLarge
from launcher.models import Recipe
from tests.unit.environments.trees import MemoryTree

SETUP = "from setuptools import setup\nsetup()\n"
AROUND = {
    "dev.txt": "pytest\n",
    "pins.txt": "numpy==2\n",
    "a b.txt": "scipy\n",
    "deep/base.txt": "-r more.txt\n-c ../pins.txt\n",
    "deep/more.txt": "pandas\n",
    "wheels/foo-1-py3-none-any.whl": "wheel",
    "foo-1.tar.gz": "sdist",
    "sub/setup.py": SETUP,
    "pkg/setup.py": SETUP,
}


def recipe_of(text: str, name: str = "requirements.txt", **more: str) -> Recipe:
    return detect(MemoryTree({**AROUND, **more, name: text}))


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("numpy", ()),
        ("numpy>=1.2,<3 ; python_version > '3.8'  # why", ()),
        ("pandas[excel]==2.* --hash=sha256:abc --hash=sha256:def", ()),
        ("pandas==2 \\\n  --hash=sha256:abc \\\n  --hash=sha256:def", ()),
        ("# -r gone.txt", ()),
        ("   ", ()),
        ("--index-url https://index.test/simple --extra-index-url=https://b.test", ()),
        ("--pre\n--no-binary :all:\n--only-binary=numpy\n--require-hashes\n--prefer-binary", ()),
        ("--find-links https://index.test/links.html", ()),
        ("https://index.test/foo-1.tar.gz", ()),
        ("foo @ https://index.test/foo-1.whl#sha256=abc", ()),
        ("git+https://git.test/a/b.git@main#egg=b&subdirectory=c", ()),
        ("-e git+https://git.test/a/b.git#egg=b", ()),
        ("-e git+https://${TOKEN}@git.test/a/b.git#egg=b", ()),
        ("-r https://index.test/requirements.txt", ()),
        ("-r dev.txt", ("dev.txt",)),
        ("-rdev.txt", ("dev.txt",)),
        ("-r=dev.txt", ("dev.txt",)),
        ("-r ./deep/../dev.txt", ("dev.txt",)),
        ("--requirement dev.txt", ("dev.txt",)),
        ("--requirement=dev.txt  # comment", ("dev.txt",)),
        ("-r \\\ndev.txt", ("dev.txt",)),
        ("-r 'a b.txt'", ("a b.txt",)),
        ("-c pins.txt", ("pins.txt",)),
        ("--constraint=pins.txt", ("pins.txt",)),
        ("-r deep/base.txt", ("deep/base.txt", "deep/more.txt", "pins.txt")),
        ("-r requirements.txt", ()),
        ("wheels/foo-1-py3-none-any.whl", ("wheels/foo-1-py3-none-any.whl",)),
        ("./wheels/foo-1-py3-none-any.whl ; sys_platform == 'linux'", ("wheels/foo-1-py3-none-any.whl",)),
        ("foo @ ./wheels/foo-1-py3-none-any.whl", ("wheels/foo-1-py3-none-any.whl",)),
        ("foo @ file:./wheels/foo-1-py3-none-any.whl", ("wheels/foo-1-py3-none-any.whl",)),
        ("foo-1.tar.gz", ("foo-1.tar.gz",)),
        ("--find-links wheels\nfoo", ("wheels/foo-1-py3-none-any.whl",)),
        ("-f ./wheels\nfoo", ("wheels/foo-1-py3-none-any.whl",)),
        ("--no-index --find-links=file:wheels\nfoo", ("wheels/foo-1-py3-none-any.whl",)),
    ],
)
def test_a_line_that_reaches_named_files_keys_exactly_those(line, files):
    recipe = recipe_of(line)
    assert recipe.tree is None
    assert set(recipe.files) == {"requirements.txt", *files}


@pytest.mark.parametrize(
    ("line", "project"),
    [
        ("./pkg", "pkg"),
        ("pkg/", "pkg"),
        ("./pkg[extra]", "pkg"),
        ("-e ./pkg", "pkg"),
        ("-e pkg", "pkg"),
        ("-e./pkg", "pkg"),
        ("-e=./pkg", "pkg"),
        ("--editable=./pkg[dev,test]", "pkg"),
        ("--editable ./pkg ; python_version > '3'", "pkg"),
        ("thing @ pkg", "pkg"),
        ("thing@pkg", "pkg"),
        ("thing @ ./sub/../pkg", "pkg"),
        ("thing[x] @ file:./pkg", "pkg"),
        ("thing @ file://./pkg ; python_version > '3'", "pkg"),
        ("-r deep/local.txt", "pkg"),
    ],
)
def test_a_local_project_puts_the_whole_repository_into_the_key(line, project):
    recipe = recipe_of(line, **{"deep/local.txt": "-e ./pkg"})
    assert recipe.tree is not None
    assert recipe.options["projects"] == project
    assert not recipe.installs_project


@pytest.mark.parametrize(
    ("line", "editable"),
    [("-e .", True), (".", False), ("./", False), ("-e .[dev]", True), (".[dev]", False), ("-e ./", True)],
)
@pytest.mark.parametrize("name", ["requirements.txt", "binder/requirements.txt"])
def test_the_root_project_is_told_from_others(line, editable, name):
    recipe = recipe_of(line, name, **{"setup.py": SETUP})
    assert recipe.installs_project
    assert recipe.editable is editable
    assert "implicit" not in recipe.options
    assert recipe.tree is not None


@pytest.mark.parametrize(
    "line",
    [
        "foo @ file:///${PROJECT_ROOT}/pkg",
        "${HOME}/pkg",
        "-e ${PWD}/pkg",
        "-r ${NAME}.txt",
        "--find-links ${WHEELS}",
        "--find-links .",
        "--index-url ./simple",
        "--extra-index-url file:simple",
        "--find-links dev.txt",
    ],
)
def test_what_cannot_be_decided_is_keyed_by_the_whole_repository(line):
    assert recipe_of(line).tree is not None


@pytest.mark.parametrize(
    "line",
    [
        "-r gone.txt", "-c gone.txt", "-r deep/gone.txt", "--requirement=gone.txt", "./gone", "gone/gone.whl",
        "-e ./gone", "x @ ./gone", "gone-1-py3-none-any.whl", "--find-links gone", "-r wheels", "-r ''",
    ],
)  # fmt: skip
def test_a_missing_file_is_named_with_the_line_that_names_it(line):
    with pytest.raises(RecipeInvalid) as caught:
        recipe_of(f"numpy\n{line}", "binder/requirements.txt")
    assert "Line 2 of binder/requirements.txt" in caught.value.message


@pytest.mark.parametrize(
    "line",
    [
        "-r ../secret.txt", "-r /etc/passwd", "-c deep/../../x", "../pkg", "-e ..", "/srv/pkg", "~/pkg", "-e /",
        "x @ file:///etc", "x @ file://localhost/etc", "x @ ../x", "-r file:///etc/passwd", "-f ../wheels", "-f /",
        "git+file:///srv/x", "-e git+file:./x", "x @ /etc/x.whl", "-r ~/x", "./pkg/../../x", "file:..",
        "FILE:///etc", "x @ File:/etc/x.whl",
    ],
)  # fmt: skip
def test_a_path_that_leaves_the_repository_is_refused_without_repeating_it(line):
    with pytest.raises(RecipeInvalid) as caught:
        recipe_of(line)
    assert "outside the repository" in caught.value.message
    assert "etc" not in caught.value.message


@pytest.mark.parametrize(
    "line",
    ["numpy ==", "two words", "<b>", "numpy>=1.*", "--upgrade x", "-x", "--config /etc", "-e", "'", "-r 'x", "@", "=1"],
)
def test_a_line_that_is_no_requirement_is_refused_by_number(line):
    with pytest.raises(RecipeInvalid, match=r"Line 3 of requirements\.txt"):
        recipe_of(f"numpy\n# comment\n{line}\nscipy")


def test_included_files_may_go_in_circles():
    recipe = recipe_of("-r a.txt", **{"a.txt": "-r b.txt\n-c requirements.txt", "b.txt": "-r a.txt"})
    assert set(recipe.files) == {"requirements.txt", "a.txt", "b.txt"}


def test_absurdly_many_included_files_are_refused():
    more = {f"{number}.txt": f"-r {number + 1}.txt" for number in range(300)}
    with pytest.raises(SourceTooLarge, match="includes more than 100"):
        recipe_of("-r 0.txt", **more)


def test_a_missing_line_behind_two_includes_is_found():
    with pytest.raises(RecipeInvalid, match=r"Line 1 of deep/a\.txt names gone\.txt"):
        recipe_of("-r deep/a.txt", **{"deep/a.txt": "-c gone.txt"})


# -- projects and locks

PROJECT = '[project]\nname = "p"\nversion = "1"\n'


@pytest.mark.parametrize(
    "more",
    [
        'dependencies = ["thing @ file:pkg"]\n',
        '[dependency-groups]\nbinder = ["thing @ ./pkg"]\n',
        '[dependency-groups]\nbinder = [{include-group = "x"}]\nx = ["thing @ ./pkg"]\n',
        '[tool.uv.sources]\nthing = { path = "pkg" }\n',
        "[tool.uv.sources]\nthing = { workspace = true }\n",
        '[tool.uv.sources]\nthing = [{ git = "https://x.test" }, { path = "pkg" }]\n',
    ],
)
def test_local_places_in_a_pyproject_are_reached(more):
    assert recipe_of(PROJECT + more, "pyproject.toml").tree is not None


@pytest.mark.parametrize(
    "more",
    [
        'dependencies = ["numpy", "x @ https://x.test/x.whl"]\n',
        '[dependency-groups]\nbinder = ["numpy", {include-group = "x"}]\nx = ["scipy"]\n',
        '[tool.uv.sources]\nthing = { git = "https://x.test" }\n',
    ],
)
def test_remote_places_in_a_pyproject_reach_nothing_else(more):
    assert set(recipe_of(PROJECT + more, "pyproject.toml").files) == {"pyproject.toml"}


@pytest.mark.parametrize(
    ("source", "whole", "files"),
    [
        ('{ registry = "https://index.test/simple" }', False, set()),
        ('{ git = "https://git.test/a?rev=1#abc" }', False, set()),
        ('{ virtual = "." }', False, set()),
        ('{ path = "wheels/foo-1-py3-none-any.whl" }', False, {"wheels/foo-1-py3-none-any.whl"}),
        ('{ registry = "wheels" }', True, set()),
        ('{ editable = "pkg" }', True, set()),
        ('{ directory = "pkg" }', True, set()),
        ('{ virtual = "pkg" }', True, set()),
        ('{ editable = "." }', True, set()),
    ],
)
def test_the_sources_of_a_uv_lock_decide_its_reach(source, whole, files):
    lock = f'version = 1\n[[package]]\nname = "foo"\nsource = {source}\n'
    recipe = recipe_of(lock, "uv.lock", **{"pyproject.toml": PROJECT})
    assert (recipe.tree is not None) is whole
    assert set(recipe.files) == {"uv.lock", "pyproject.toml", *files}


@pytest.mark.parametrize(
    ("package", "whole", "files"),
    [
        ('wheels = [{ url = "https://x.test/x.whl" }]', False, set()),
        ('wheels = [{ path = "wheels/foo-1-py3-none-any.whl" }]', False, {"wheels/foo-1-py3-none-any.whl"}),
        ('archive = { path = "foo-1.tar.gz" }', False, {"foo-1.tar.gz"}),
        ('directory = { path = "pkg", editable = true }', True, set()),
        ('vcs = { type = "git", url = "https://x.test", commit-id = "a" }', False, set()),
    ],
)
def test_the_places_of_a_pylock_decide_its_reach(package, whole, files):
    recipe = recipe_of(f'lock-version = "1.0"\n[[packages]]\nname = "foo"\n{package}\n', "pylock.toml")
    assert (recipe.tree is not None) is whole
    assert set(recipe.files) == {"pylock.toml", *files}


@pytest.mark.parametrize(
    ("name", "text", "project"),
    [
        ("Pipfile", '[packages]\nthing = {path = "./pkg", editable = true}\n', "pkg"),
        ("Pipfile", '[dev-packages]\nthing = {path = "."}\n', "."),
        ("Pipfile", '[docs]\nthing = {path = "pkg"}\n', "pkg"),
        ("Pipfile.lock", '{"_meta": {}, "default": {"thing": {"path": "./pkg"}}}', "pkg"),
        ("Pipfile.lock", '{"_meta": {}, "develop": {"thing": {"file": "./pkg"}}}', "pkg"),
        ("Pipfile", '[packages]\nnumpy = "*"\nx = {git = "https://x.test"}\n', None),
    ],
)
def test_paths_in_a_pipfile_are_reached(name, text, project):
    recipe = recipe_of(text, name)
    assert recipe.options.get("projects") == project
    assert (recipe.tree is not None) is (project is not None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Pipfile", '[packages]\nthing = {path = "../pkg"}\n'),
        ("pylock.toml", 'lock-version = "1.0"\n[[packages]]\nname = "x"\ndirectory = {path = "/etc"}\n'),
        ("pyproject.toml", PROJECT + 'dependencies = ["x @ file:///etc"]\n'),
    ],
)
def test_locks_and_projects_may_not_leave_the_repository_either(name, text):
    with pytest.raises(RecipeInvalid, match="outside the repository"):
        recipe_of(text, name)


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.11\n  - numpy>=1.2,<3  # why\n",
        "dependencies:\n- conda-forge::numpy\n- pip\n- pip:\n  - dask[complete]==2.*\n",
        "channels:\n- https://conda.test/x\n",
        "",
    ],
)
def test_an_ordinary_environment_yml_reaches_nothing_else(text):
    recipe = recipe_of(text, "environment.yml")
    assert recipe.tree is None
    assert set(recipe.files) == {"environment.yml"}


@pytest.mark.parametrize(
    "item",
    [
        ".", "-e .", "'-e .'", "-r requirements.txt", "./pkg", "x @ file:pkg", "wheels/x.whl", "x.whl",
        "${HOME}/x", "&a x", "*a", "!!python/object/apply:os.system [id]", ">\n      -e .",
        "|\n      ./x", '"\\x2e"', "{a: .}",
        "[.]", "git+file:///x", "--find-links wheels", "file:x",
    ],
)  # fmt: skip
def test_an_environment_yml_with_anything_else_is_keyed_by_the_whole_repository(item):
    recipe = recipe_of(f"dependencies:\n  - pip:\n    - {item}\n", "environment.yml")
    assert recipe.tree is not None


# -- what a build sees


def test_a_build_sees_the_files_of_its_key_and_no_others():
    tree = MemoryTree({**AROUND, "requirements.txt": "-r dev.txt", "index.ipynb": "{}", "start": "x"})
    recipe = detect(tree)
    assert visible_files(recipe, tree) == {path: tree.files()[path] for path in ("requirements.txt", "dev.txt")}


def test_a_build_with_post_build_sees_everything():
    tree = MemoryTree({**AROUND, "postBuild": "x", "index.ipynb": "{}"})
    assert visible_files(detect(tree), tree) == tree.files()
